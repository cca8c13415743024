"""Anchors: a record that was rewritten from its first line on is whole again, and an anchor still tells."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from citypulse.cli.audit import command
from citypulse.ledger import Ledger, Tick
from citypulse.ledger.anchors import Anchor, AnchorError, append, load
from citypulse.ledger.chain import GENESIS, Head, link
from citypulse.model import Effects, Event

EVENTS = 40


def _event(number: int) -> Event:
    return Event(
        subject="a", subject_kind="alarm", rev=number, kind="commented", event_ms=number, wall_ms=number, actor="Alice",
        actor_role="duty", from_state="B", to_state="B", because=f"line {number}",
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    ledger = Ledger.open(tmp_path)
    for tick in range(1, EVENTS + 1):
        effects = Effects(events=[_event(tick)])
        ledger.commit(Tick(number=tick, now_ms=tick, effects=effects))
        if tick in {10, EVENTS}:
            append(tmp_path / "kept.jsonl", ledger.anchor(tick))
    ledger.close()
    return tmp_path


def _run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, list(args))
    return result.exit_code, result.output


def test_anchors_of_an_untouched_record_fit(data: Path) -> None:
    code, said = _run("verify", "--data", str(data), "--anchors", str(data / "kept.jsonl"))
    assert (code, "whole" in said) == (0, True)


def test_a_record_rewritten_whole_passes_the_chain_but_not_the_anchors(data: Path) -> None:
    _rewrite(data / "city.db", changed=20)
    assert _run("verify", "--data", str(data))[0] == 0  # the forger recomputed every hash
    code, said = _run("verify", "--data", str(data), "--anchors", str(data / "kept.jsonl"))
    assert code == 1
    assert f"line {EVENTS}" in said
    assert "line 10 " not in said  # what lies before the edit still fits


def test_a_record_cut_off_or_of_another_ledger_does_not_fit(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    Ledger.open(other).close()
    code, said = _run("verify", "--data", str(other), "--anchors", str(data / "kept.jsonl"))
    assert (code, "another record" in said) == (1, True)


def test_a_line_that_is_no_anchor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append(path, Anchor(seq=1, hash="x", at_ms=2, record="r"))
    path.write_text(path.read_text() + "rubbish\n")
    with pytest.raises(AnchorError, match=r"a\.jsonl:2"):
        load(path)


def _rewrite(path: Path, *, changed: int) -> None:
    """Change one line and recompute every hash after it, as somebody with the file and this program could."""
    connection = sqlite3.connect(path)
    for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{trigger}"')
    rows = connection.execute("SELECT * FROM event ORDER BY seq").fetchall()
    names = [d[0] for d in connection.execute("SELECT * FROM event LIMIT 1").description]
    because = names.index("because")
    head = Head(0, GENESIS)
    for row in rows:
        columns = list(row)
        if columns[0] == changed:
            columns[because] = "nothing happened"
        digest = link(columns[0], head.hash, columns[1:-2])
        connection.execute(
            "UPDATE event SET because = ?, prev_hash = ?, hash = ? WHERE seq = ?",
            (columns[because], head.hash, digest, columns[0]),
        )
        head = Head(columns[0], digest)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'record_head'", (str(head),))
    connection.commit()
    connection.close()
