"""A machine's clock that steps back: the city's own time never does, and that it waits is said instead of hidden."""

from __future__ import annotations

import pytest

from citypulse.health import CLOCK_BACK_S, behind

NOW = 1_795_312_800_000


@pytest.mark.parametrize("back_s", [-3600, 0, 1, CLOCK_BACK_S - 1])
def test_a_clock_that_runs_on_or_is_slewed_is_no_problem(back_s: float) -> None:
    assert behind(NOW, NOW + round(back_s * 1000)) is None


def test_a_clock_set_back_by_an_hour_is_said_in_both_languages() -> None:
    said = behind(NOW, NOW + 3_600_000)
    assert said is not None
    zh, en = said
    assert "3600 秒" in zh
    assert "请校准时钟" in zh
    assert "3600 s behind" in en
    assert "set the clock right" in en
