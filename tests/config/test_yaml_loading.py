"""The strict YAML reader: what it accepts means one thing, and nothing makes it stumble."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.config.load import FILE_BYTES_MAX, is_refused, parse, read_source
from citypulse.config.nodes import Node, Report, Scalar, Source, Table, walk


def read(text: str) -> tuple[Node | None, Report]:
    report = Report()
    return parse(Source(name="t.yaml", lines=tuple(text.splitlines())), report), report


def data(text: str) -> Any:
    node, report = read(text)
    assert report.found == []
    assert node is not None
    return node.data()


def codes(text: str) -> list[str]:
    return [d.code for d in read(text)[1].found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 15 cm", "15 cm"),
        ("a: 3 * cadence", "3 * cadence"),
        ("a: 12", 12),
        ("a: -0.5", -0.5),
        ("a: 1.5e+3", 1500.0),
        ("a: true", True),
        ("a: ~", None),
        ("a: 2026-11-22", "2026-11-22"),
        ('a: "yes"', "yes"),
        ("a: '0777'", "0777"),
        ("a: gw-01", "gw-01"),
        ("a: 0", 0),
        ("a: 5 cm/5 min", "5 cm/5 min"),
        ("a: 积水", "积水"),
        ("a: |\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_a_plain_value_means_what_it_says(text: str, value: Any) -> None:
    assert data(text) == {"a": value}


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO", "On", "OFF"])
def test_yes_and_no_are_refused_as_value_and_as_key(word: str) -> None:
    assert codes(f"a: {word}") == ["E010"]
    assert codes(f"{word}: 1") == ["E010"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: 12:30", "E011"),
        ("a: 1:30:00", "E011"),
        ("a: 0777", "E012"),
        ("a: 0o17", "E012"),
        ("a: 007", "E012"),
        ("a: 1e3", "E013"),
        ("a: 1.5e3", "E013"),
        ("a: 1_000", "E013"),
        ("a: 0x1F", "E013"),
        ("a: .nan", "E013"),
        ("a: -.inf", "E013"),
        ("1: x", "E014"),
        ("[a]: x", "E014"),
        ("a: &x 1", "E007"),
        ("a: !!str 1", "E008"),
        ("a: 1\na: 2", "E006"),
    ],
)
def test_a_trap_is_named(text: str, code: str) -> None:
    assert codes(text) == [code]


def test_every_node_knows_its_place() -> None:
    root, _ = read("a:\n  - {b: 1, c: 十二}\n")
    assert isinstance(root, Table)
    node = walk(root, ["a", 0, "c"])
    assert (node.line, node.col, node.width) == (2, 15, 2)


def test_an_alias_bomb_is_refused_in_no_time() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    began = time.perf_counter()
    node, report = read("\n".join(lines))
    assert time.perf_counter() - began < 1.0
    assert node is not None
    assert {d.code for d in report.found} == {"E007"}


def test_deep_nesting_stops_at_the_bound() -> None:
    assert codes("[" * 10_000) == ["E005"]


def test_a_file_beyond_the_bound_is_not_even_parsed(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    report = Report()
    assert read_source(big, "big.yaml", report) is None
    assert [d.code for d in report.found] == ["E005"]


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    report = Report()
    assert read_source(tmp_path, "folder", report) is None
    assert [d.code for d in report.found] == ["E001"]


@pytest.mark.parametrize(("encoding", "guess"), [("gb18030", "GB18030"), ("utf-16", "UTF-16")])
def test_another_encoding_is_recognised(tmp_path: Path, encoding: str, guess: str) -> None:
    file = tmp_path / "old.yaml"
    file.write_bytes("name: 杭州市西湖区\n".encode(encoding))
    report = Report()
    assert read_source(file, "old.yaml", report) is None
    assert guess in report.found[0].message


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "win.yaml"
    file.write_bytes("\ufeffversion: 1\r\nname: 西湖\r\n".encode())
    report = Report()
    source = read_source(file, "win.yaml", report)
    assert source is not None
    node = parse(source, report)
    assert node is not None
    assert node.data() == {"version": 1, "name": "西湖"}


def test_a_refused_value_is_not_taken_for_a_text() -> None:
    root, _ = read("a: no")
    assert isinstance(root, Table)
    node = root.get("a")
    assert isinstance(node, Scalar)
    assert is_refused(node.value)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(10**15), 10**15) | WORDS
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(WORDS, TREES, min_size=1, max_size=4))
@settings(deadline=None)
def test_what_pyyaml_writes_we_read_alike(tree: dict[str, Any]) -> None:
    """PyYAML quotes what would be ambiguous, so nothing it writes may be refused or read otherwise."""
    text = yaml.safe_dump(tree, allow_unicode=True)
    if "&" in text or "*" in text or any(ord(c) in (0x85, 0x2028, 0x2029, 0xFEFF) for c in text):
        return  # anchors are refused on purpose; exotic line ends fold differently
    node, report = read(text)
    refused = {d.code for d in report.found}
    if refused:
        assert refused <= {"E011", "E012", "E013"}  # we are stricter than PyYAML: 0:0, 0o17, 08
    else:
        assert node is not None
        assert node.data() == tree


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    node, report = read(text)
    assert node is not None or report.found
    for diagnostic in report.found:
        assert diagnostic.render()
