"""Pictures as evidence: kept by content, found again, refused when they are none, too large, or too many."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citypulse.evidence.photos import EvidenceError, EvidenceStore, kind_of, references

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_picture_is_found_by_its_hash_and_kept_once(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    name = store.put(PNG + b"a")
    assert store.put(PNG + b"a") == name == f"sha256:{hashlib.sha256(PNG + b'a').hexdigest()}"
    assert EvidenceStore(tmp_path).get(name.removeprefix("sha256:")) == PNG + b"a"
    (kept,) = tmp_path.glob("evidence/??/*")
    assert kept.stat().st_mode & 0o077 == 0


def test_a_picture_that_was_changed_on_the_disk_is_no_evidence(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path)
    digest = store.put(PNG + b"a").removeprefix("sha256:")
    (tmp_path / "evidence" / digest[:2] / digest).write_bytes(PNG + b"b")
    assert store.get(digest) is None


@pytest.mark.parametrize("content", [b"", b"<svg onload=alert(1)>", b"%PDF-1.7", b"GIF89a", b"RIFFxxxxWAVE"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EvidenceError) as refused:
        EvidenceStore(tmp_path).put(content)
    assert refused.value.code == "not_a_picture"
    assert not (tmp_path / "evidence").exists()


def test_size_and_room_are_bounded_also_after_a_restart(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, bytes_max=20, total_bytes_max=40)
    with pytest.raises(EvidenceError) as refused:
        store.put(PNG + bytes(20))
    assert refused.value.code == "too_large"
    store.put(PNG + b"1" * 10)
    store.put(PNG + b"2" * 10)
    again = EvidenceStore(tmp_path, bytes_max=20, total_bytes_max=40)
    with pytest.raises(EvidenceError) as full:
        again.put(PNG + b"3" * 10)
    assert full.value.code == "no_room"
    again.put(PNG + b"1" * 10)  # it is there already


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "..", "A" * 64, "a" * 63, "a" * 65, "a" * 32 + "/" * 32])
def test_a_name_that_is_no_digest_reaches_no_file(tmp_path: Path, digest: str) -> None:
    store = EvidenceStore(tmp_path)
    store.put(PNG)
    assert store.get(digest) is None
    assert store.lacks([digest]) == [digest]


@given(content=st.binary(max_size=64))
def test_only_the_three_kinds_are_pictures(content: bytes) -> None:
    is_picture = content[:3] == b"\xff\xd8\xff" or content[:8] == PNG or content[:4] + content[8:12] == b"RIFFWEBP"
    assert bool(kind_of(content)) == is_picture


def test_references_are_found_wherever_they_stand() -> None:
    data = {
        "photo_before": "sha256:a",
        "proof": {"photo": "sha256:b", "lat": 1.0},
        "more": ["sha256:c", 3],
        "note": "x",
    }
    assert list(references(data)) == ["a", "b", "c"]
