"""What is said when sensors cannot prove a repair: true figures, in both languages, that never promise too much."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.orders.proof import _unseen, percent, percent_needed
from citypulse.model import OrderState
from tests.alerts.cast import YELLOW, World


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (0.001, "<1 %"), (0.5, "50 %"), (0.799, "79 %"), (0.995, "99 %"), (0.99999, "99 %"), (1.0, "100 %")],
)
def test_a_hundred_percent_is_said_only_of_all(share, said):
    assert percent(share) == said


@given(st.floats(0, 1), st.floats(0.011, 1))
def test_a_share_that_is_too_small_is_never_written_as_large_as_the_one_needed(share, needed):
    said = _unseen(share, needed, 1800, is_active=False)
    if share + 1e-9 >= needed:
        assert "expected readings" not in said
        return
    got, asked = (int(n) for n in re.findall(r"<?(\d+) %", said)[:2])
    assert got < asked
    assert "only" not in said
    assert " | " in said


@given(st.floats(0, 1))
def test_what_is_shown_as_enough_is_enough(needed):
    assert int(percent_needed(needed)[:-2]) / 100 + 1e-9 >= needed


def test_an_order_whose_sensor_fell_silent_says_how_many_readings_came_and_how_many_are_needed():
    world = World()
    world.raises(level=YELLOW)
    order = world.order().id
    world.wait(60)
    world.repaired(order)
    world.clears()
    world.readings("mill.depth", 5)
    world.wait(3 * 3600)
    assert world.order().state in {OrderState.FED_BACK, OrderState.CHECKING}
    asked = [e for e in world.ledger.events if e.kind == "proof_wanted"]
    assert len(asked) == 1
    assert "of the expected readings came" in asked[0].because
    assert "缺数据不能作为恢复证明" in asked[0].because
    assert "100 % of" not in asked[0].because
