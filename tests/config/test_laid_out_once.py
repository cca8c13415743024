"""Rules are laid out once at a start, and a rule that cannot be is still told at its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from citypulse import vocabulary
from citypulse.backtest.trial import Trial
from citypulse.config import load_city
from citypulse.errors import ConfigError
from rules.compile import compile_rules
from tests.support import small_city


class Refusal(ValueError):
    """What a detector says of what it is bound to."""


def laid_out(*paths: Path) -> None:
    with vocabulary.laid_out_once(*paths) as known:
        for path in paths:
            Trial(load_city(path, known))


def test_the_block_is_given_what_the_whole_city_knows_but_for_the_trial() -> None:
    known = vocabulary.extensions()
    with vocabulary.laid_out_once() as given:
        assert given.trial is None
        assert (given.detectors, given.channels, given.codecs) == (known.detectors, known.channels, known.codecs)


def test_a_rule_that_a_detector_refuses_is_told_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_city.write(tmp_path)
    line = next(k for k, text in enumerate(path.read_text().splitlines(), 1) if text.strip() == "threshold: {}")

    def picky(rules, *rest):  # type: ignore[no-untyped-def]
        if any(rule.id == "depth" for rule in rules):
            raise Refusal("looks at 1 to 16 channels, not 17")
        return compile_rules(rules, *rest)

    monkeypatch.setattr("rules.sound.compile_rules", picky)
    monkeypatch.setattr("rules.engine.compile_rules", picky)
    with pytest.raises(ConfigError) as refused:
        laid_out(path)
    (told,) = refused.value.diagnostics
    assert (Path(told.file).name, told.line) == (path.name, line)
    assert "not 17" in str(refused.value)


def test_every_file_of_the_block_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good").mkdir()
    good, bad = small_city.write(tmp_path / "good"), small_city.write(tmp_path)
    bad.write_text(bad.read_text().replace("id: depth", "id: deep"), encoding="utf-8")

    def picky(rules, *rest):  # type: ignore[no-untyped-def]
        if any(rule.id == "deep" for rule in rules):
            raise Refusal("no")
        return compile_rules(rules, *rest)

    monkeypatch.setattr("rules.sound.compile_rules", picky)
    monkeypatch.setattr("rules.engine.compile_rules", picky)
    with pytest.raises(ConfigError) as refused:
        laid_out(good, bad)
    assert {Path(told.file).name for told in refused.value.diagnostics} == {bad.name}


def test_a_refusal_that_is_not_the_rules_comes_through_as_it_is(tmp_path: Path) -> None:
    path = small_city.write(tmp_path)

    def fail() -> None:
        with vocabulary.laid_out_once(path) as known:
            assert load_city(path, known).sensors
            raise LookupError("another matter")

    with pytest.raises(LookupError, match="another matter"):
        fail()


def test_rules_are_laid_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_city.write(tmp_path)
    times = []

    def counted(*parts):  # type: ignore[no-untyped-def]
        times.append(len(parts[0]))
        return compile_rules(*parts)

    monkeypatch.setattr("rules.sound.compile_rules", counted)
    monkeypatch.setattr("rules.engine.compile_rules", counted)
    laid_out(path)
    assert times == [1]
