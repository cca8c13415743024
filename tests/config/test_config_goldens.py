"""Every kind of bad configuration shows exactly the diagnostics written beside it.

`UPDATE_GOLDENS=1 pytest tests/config/test_config_goldens.py` rewrites them; read the difference before keeping it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from citypulse.config import Extensions, inspect_city
from citypulse.config.codes import CODES

GOLDEN = Path(__file__).parent.parent / "golden" / "config"
KINDS = sorted(p.stem for p in GOLDEN.glob("*.yaml"))
IS_UPDATING = os.environ.get("UPDATE_GOLDENS") == "1"


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_configuration_shows_its_diagnostics(
    kind: str, extensions: Extensions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN)
    loaded = inspect_city(Path(f"{kind}.yaml"), extensions)
    shown = "\n".join(d.render() for d in loaded.diagnostics) + "\n"
    golden = GOLDEN / f"{kind}.txt"
    if IS_UPDATING:
        golden.write_text(shown, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == shown
    assert (loaded.city is None) == (not kind.startswith("warn-"))


def test_every_golden_has_its_file() -> None:
    assert sorted(p.stem for p in GOLDEN.glob("*.txt")) == KINDS


def test_there_are_at_least_thirty_kinds() -> None:
    assert len(KINDS) >= 30


def test_every_code_is_shown_by_some_golden() -> None:
    shown = "".join((GOLDEN / f"{kind}.txt").read_text(encoding="utf-8") for kind in KINDS)
    unseen = {code for code in CODES if f" {code} " not in shown}
    # E001, a file that exists and cannot be read: tested with a folder in its place. E401 to E403 are of files of rule
    # tests, W214 and W230 are the command's own: their goldens are with tests/rules/test_ruletest_goldens.py.
    assert unseen == {"E001", "E401", "E402", "E403", "W214", "W230"}


def test_the_sound_base_has_no_findings(extensions: Extensions) -> None:
    loaded = inspect_city(GOLDEN / "base" / "city.yaml", extensions)
    assert loaded.diagnostics == ()
    assert loaded.city is not None
