"""The page of invariants names tests that exist, and leaves no invariant out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/invariants.md"


def test_every_invariant_is_shown_by_tests_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert named
    lost = [f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text("utf-8")]
    assert not lost
    assert re.findall(r"^\| I(\d+) \|", page, re.MULTILINE) == [str(n) for n in range(1, 28)]
