"""What `citypulse test` says of files it cannot run, and `citypulse check` of its own two findings, exactly as shown.

`UPDATE_GOLDENS=1 pytest tests/rules/test_ruletest_goldens.py` rewrites them; read the difference before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from citypulse.cli import check
from citypulse.cli import test as test_command

GOLDEN = Path(__file__).parent.parent / "golden"
FILES = sorted(p.name.removesuffix(".tests.yaml") for p in (GOLDEN / "ruletests").glob("*.tests.yaml"))
FOLDERS = sorted(p.name for p in (GOLDEN / "check").iterdir() if p.is_dir())
IS_UPDATING = os.environ.get("UPDATE_GOLDENS") == "1"


def compared(golden: Path, shown: str) -> None:
    if IS_UPDATING:
        golden.write_text(shown, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == shown


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_tests_that_cannot_be_run_shows_why(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "ruletests")
    done = CliRunner().invoke(test_command.command, [f"{name}.tests.yaml"])
    assert done.exit_code == 1
    compared(GOLDEN / "ruletests" / f"{name}.txt", done.stderr)


@pytest.mark.parametrize("name", FOLDERS)
def test_what_only_the_command_finds_is_shown_at_its_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "check" / name)
    readings = ["--readings", "readings.csv"] if Path("readings.csv").exists() else []
    done = CliRunner().invoke(check.command, ["city.yaml", *readings])
    assert done.exit_code == 0, done.stderr
    compared(GOLDEN / "check" / name / "expected.txt", done.stdout)


def test_every_golden_has_its_file() -> None:
    assert sorted(p.stem for p in (GOLDEN / "ruletests").glob("*.txt")) == FILES
    assert "W214 " in (GOLDEN / "check" / "untested" / "expected.txt").read_text("utf-8")
    assert "W230 " in (GOLDEN / "check" / "over-budget" / "expected.txt").read_text("utf-8")
    shown = "".join((GOLDEN / "ruletests" / f"{name}.txt").read_text("utf-8") for name in FILES)
    assert all(f" {code} " in shown for code in ("E401", "E402", "E403"))
