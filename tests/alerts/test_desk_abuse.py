"""Whatever people and their programs send, the desk answers; it never raises, and what it keeps is JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.guards import FIELDS, KEPT
from alerts.lifecycle import ALARM_VERBS, EVERYONE
from alerts.orders.table import ORDER_VERBS
from citypulse.forms import BYTES_MAX
from citypulse.model import Actor, Command, OrderState
from tests.alerts.cast import ADA, RED, REPAIR, YELLOW, World
from tests.alerts.test_order_scenarios import closed, fed_back

ODD_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)  # lone surrogates too: JSON can carry them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = sorted({*FIELDS, *KEPT, "note", "level", "template", "acted_ms", "proof"})
FIT = st.fixed_dictionaries({}, optional={**dict.fromkeys(NAMES, JSON), "until_ms": st.integers(), "team": st.text()})
USUAL = st.sampled_from(
    [{}, {"reason": "r", "note": "n"}, REPAIR, {"reason": "r", "team": "pumps"}, {"code": "test"},
     {"site": "mill", "cause": "c"}, {"reason": "r", "plan": "p", "interim": "i"}]
)  # fmt: skip
VERB = st.one_of(
    st.sampled_from([f"alarm.{v}" for v in ALARM_VERBS]),
    st.sampled_from([f"order.{v}" for v in (*ORDER_VERBS, "comment")]),
    st.sampled_from(["", ".", "order.", "acknowledge", "new", "comment", "alarm.order.new"]),
    st.text(max_size=12),
)
ROLE = st.sampled_from([*EVERYONE, "system", "public", "", "nobody"])
COMMAND = st.tuples(VERB, ROLE, st.sampled_from(["alarm", "order", "", "x"]), st.tuples(USUAL, FIT))


def stages() -> list[World]:
    """One world per stage of the loop."""
    raised, waiting = World(), World()
    raised.raises(level=RED)
    waiting.raises("weir.do", YELLOW, "low-oxygen")
    handling = World()
    handling.raises(level=YELLOW)
    for verb in ("accept", "arrive"):
        handling.does(ADA, f"order.{verb}", handling.order().id, position=[30.2, 120.1])
    return [raised, waiting, handling, fed_back()[0], closed()[0]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 4), st.lists(COMMAND, max_size=12))
def test_the_desk_answers_everything_and_keeps_only_json(stage, commands):
    world = stages()[stage]
    for number, (verb, role, kind, (usual, odd)) in enumerate(commands):
        targets = {"alarm": next(iter(world.ledger.alarms)), "order": world.order().id, "": "", "x": "x"}
        command = Command(id=f"f{number}", verb=verb, target=targets[kind], actor=Actor(name="Mallory", role=role),
                          at_ms=world.now_ms, data={**usual, **odd})  # fmt: skip
        answer = world.tick(commands=[command]).answers[0]
        assert answer.command == command.id
        assert answer.message
        assert answer.ok == (answer.code == "")
    for event in world.ledger.events:
        json.dumps(event.data, allow_nan=False)
    for order in world.ledger.orders.values():
        json.dumps(order.data, allow_nan=False)
    world.restart()
    world.wait(90_000)


def test_a_form_is_not_a_store_for_files():
    world = World()
    world.raises(level=YELLOW)
    answer = world.asks(Actor(name="Ada", role="crew"), "order.accept", world.order().id, note="x" * BYTES_MAX)
    assert (answer.ok, answer.code) == (False, "bad_data")
    assert world.order().state is OrderState.DISPATCHED


@pytest.mark.parametrize(
    "odd", [10**400, float("nan"), float("inf"), "\ud800", ["\udfff"], [[[[[[[[1]]]]]]]], {"\ud800": 1}, {1: object()}]
)
def test_what_cannot_be_kept_is_refused_before_anything_happens(odd):
    world = World()
    world.raises(level=YELLOW)
    before = len(world.ledger.events)
    answer = world.asks(ADA, "order.accept", world.order().id, materials=odd)
    assert (answer.ok, answer.code) == (False, "bad_data")
    assert len(world.ledger.events) == before
