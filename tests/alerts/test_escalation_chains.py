"""Chains: who is called when nobody acknowledges, and that nobody is once somebody has (I15)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.lifecycle import letter
from alerts.people.escalation import WAITS_S, Escalation
from citypulse.model import Command, NoticeKind, Priority, TransitionKind
from tests.alerts.cast import ADA, DUTY, LEAD, ORANGE, RED, T0, YELLOW, World, city
from tests.alerts.people_cast import MILD_CHAIN, RED_CHAIN, peopled

KEY = "flood-depth|mill.depth"


def told(effects: Any) -> set[tuple[int, str]]:
    return {(n.step, n.target) for n in effects.notices if n.kind is NoticeKind.REMINDER and n.subject_kind == "alarm"}


def test_the_first_call_goes_to_those_on_duty_as_well():
    world = World(peopled())
    effects = world.raises()
    calls = {(n.channel, n.target) for n in effects.notices if n.kind is NoticeKind.RAISED}
    assert calls == {("board", "desk"), ("phone", "dan"), ("phone", "lea")}


def test_the_chain_climbs_until_somebody_acknowledges():
    world = World(peopled())
    world.raises()
    assert told(world.wait(119)) == set()
    assert told(world.wait(1)) == {(1, "dan"), (1, "lea")}
    assert told(world.wait(180)) == {(2, "lea")}
    assert told(world.wait(300)) == {(3, "sun"), (3, "bao")}
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    assert told(world.wait(7200)) == set()


def test_the_chain_comes_round_again():
    world = World(peopled())
    world.raises()
    world.wait(600)
    assert told(world.wait(1200)) == {(4, "dan"), (4, "lea")}  # after: 0 s of the second round
    assert told(world.wait(120)) == {(5, "dan"), (5, "lea")}


def test_the_reason_says_chain_step_file_and_line():
    world = World(peopled())
    world.raises()
    (notice,) = [n for n in world.wait(120).notices if n.target == "dan"]
    assert notice.reason == "chain red step 1 (city.yaml:52): on-duty at desk"


def test_a_night_alarm_wakes_the_night_watch():
    world = World(peopled())
    world.now_ms += 11 * 3_600_000  # 21:00
    world.raises()
    assert told(world.wait(120)) == {(1, "dee")}


def test_where_the_watch_has_no_lead_the_fallback_is_called():
    world = World(peopled())
    world.now_ms += 11 * 3_600_000
    world.raises()
    world.wait(120)
    effects = world.wait(180)
    assert told(effects) == {(2, "lea")}
    (called,) = [n for n in effects.notices if n.target == "lea"]
    assert "nobody, so its fallback" in called.reason


def test_a_rise_begins_the_chain_of_the_new_level():
    world = World(peopled())
    world.raises(level=ORANGE)
    assert told(world.wait(600)) == {(1, "desk")}
    world.levels(RED)
    assert told(world.wait(120)) == {(1, "dan"), (1, "lea")}


def test_after_an_outage_everybody_missed_is_called_once():
    world = World(peopled())
    world.raises()
    world.now_ms += 900_000
    world.restart()
    effects = world.tick()
    assert told(effects) == {(3, "dan"), (3, "lea"), (3, "sun"), (3, "bao")}


def test_the_chain_begins_again_when_the_shelf_ends():
    world = World(peopled())
    world.raises()
    world.wait(600)
    world.does(DUTY, "alarm.shelve", world.alarm().id, reason="works", until_ms=world.now_ms + 1_200_000)
    assert told(world.wait(1199)) == set()
    world.wait(1)
    assert told(world.wait(120)) == {(1, "dan"), (1, "lea")}


def test_those_who_were_called_hear_of_the_end():
    world = World(peopled())
    world.raises()
    world.wait(600)
    ends = {(n.channel, n.target) for n in world.clears().notices if n.kind is NoticeKind.CLEARED}
    assert ends == {("board", "desk"), ("phone", "dan"), ("phone", "lea"), ("phone", "sun"), ("phone", "bao")}


@pytest.mark.parametrize("level", list(Priority))
def test_without_a_chain_the_waits_are_the_built_in_ones(level):
    plan = Escalation(city()).plan_for("flood", "north", level)
    assert plan.waits_ms == tuple(w * 1000 for w in WAITS_S[level])
    assert plan.is_built_in
    assert plan.calls == ()


def test_a_lamp_after_the_red_one_climbs_the_responsibility_chain():
    world = World(peopled())
    world.raises()
    order = world.order()
    climbs = []
    for _ in range(60):
        climbs += [
            (n.step, n.target) for n in world.wait(30).notices if n.subject == order.id and "responsibility" in n.reason
        ]
    # T3 of a red order is 5 min: its lamps light at 7.5, 10, 12.5, 15 and 17.5 min. Nobody is of the unit, so the
    # street is called in its stead; nobody is of the city, so the last step finds nobody above.
    found = list(dict.fromkeys(climbs))
    assert [t for s, t in found] == ["ada", "sun", "sun", "bao"]
    assert [s for s, t in found] == [3, 4, 5, 6]


# ── stand-ins and hand-overs ────────────────────────────────────────────────────────────────────


def test_the_next_notice_goes_to_whoever_stands_in():
    world = World(peopled())
    world.raises()
    world.does(LEAD, "rota.override", "desk", instead_of="dan", person="dee", reason="ill",
               until_ms=world.now_ms + 3_600_000)  # fmt: skip
    assert told(world.wait(120)) == {(1, "dee"), (1, "lea")}


def test_a_stand_in_survives_a_restart_and_can_be_withdrawn():
    world = World(peopled())
    world.does(LEAD, "rota.override", "desk", instead_of="dan", person="dee", reason="ill",
               until_ms=world.now_ms + 3_600_000)  # fmt: skip
    world.restart()
    world.raises()
    assert told(world.wait(120)) == {(1, "dee"), (1, "lea")}
    made = world.ledger.events[0].data["stand_in"]["id"]
    world.does(LEAD, "rota.withdraw", "desk", id=made, reason="well again")
    world.restart()
    assert told(world.wait(180)) == {(2, "lea")}
    assert told(world.wait(300 + 1200)) >= {(4, "dan")}


def test_a_hand_over_lets_the_other_be_on_until_the_watch_ends():
    world = World(peopled())
    world.does(DUTY, "rota.handover", "desk", **{"from": "dan"}, to="dee", note="pump 3 is out")
    world.raises()
    assert told(world.wait(120)) == {(1, "dee"), (1, "lea")}
    (event,) = [e for e in world.ledger.events if e.kind == "handed_over"]
    assert event.subject == "rota:desk"
    assert event.because == "pump 3 is out"
    assert event.data["on_duty"] == ["dan", "lea"]
    assert event.data["stand_in"]["ends_ms"] == T0 + 10 * 3_600_000


@pytest.mark.parametrize(
    ("actor", "verb", "target", "data", "code"),
    [
        (ADA, "rota.override", "desk", {}, "forbidden"),
        (LEAD, "rota.override", "pumps", {}, "not_found"),
        (LEAD, "rota.override", "desk", {"person": "dee", "until_ms": T0 + 1000}, "bad_data"),
        (LEAD, "rota.override", "desk", {"person": "nobody", "reason": "r", "until_ms": T0 + 1000}, "bad_data"),
        (LEAD, "rota.override", "desk", {"reason": "r", "until_ms": T0 + 1000}, "bad_data"),
        (LEAD, "rota.override", "desk", {"person": "dee", "reason": "r", "until_ms": T0 - 1000}, "bad_data"),
        (LEAD, "rota.override", "desk", {"person": ["dee"], "reason": "r", "until_ms": T0 + 1000}, "bad_data"),
        (LEAD, "rota.withdraw", "desk", {"id": ["x"], "reason": "r"}, "not_found"),
        (DUTY, "rota.handover", "desk", {"to": "dee"}, "bad_data"),
        (DUTY, "rota.handover", "desk", {"to": "dee", "from": "sun", "note": "n"}, "bad_data"),
        (DUTY, "rota.sing", "desk", {}, "bad_data"),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(actor, verb, target, data, code):
    world = World(peopled())
    answer = world.asks(actor, verb, target, **data)
    assert (answer.ok, answer.code) == (False, code)
    assert answer.message
    assert world.ledger.events == []


# ── any history ─────────────────────────────────────────────────────────────────────────────────

OPS = st.sampled_from(("raise", "worse", "ease", "clear", "ack", "unack", "shelve", "unshelve", "stand_in", "none"))
HISTORIES = st.lists(st.tuples(st.integers(0, 40).map(lambda m: m * 60), OPS), min_size=1, max_size=14)


class Life:
    """A world that lives a history; what an op does not fit is left out, in every way of living it alike."""

    def __init__(self) -> None:
        self.world = World(peopled())
        self.notices: list[Any] = []
        self._ids = itertools.count()

    def take(self, *changes: Any, commands: Any = ()) -> None:
        effects = self.world.tick(*changes, commands=commands)
        for n in effects.notices:
            if n.kind is NoticeKind.REMINDER and n.subject_kind == "alarm":
                alarm = effects.alarms[n.subject]
                assert letter(alarm) == "B", "I15: only what is active and not acknowledged is escalated"
        self.notices += effects.notices

    def live(self, wait_s: int, op: str) -> None:
        world = self.world
        world.now_ms += wait_s * 1000
        levels = {"raise": (TransitionKind.RAISE, YELLOW), "worse": (TransitionKind.LEVEL, RED),
                  "ease": (TransitionKind.LEVEL, ORANGE), "clear": (TransitionKind.CLEAR, None)}  # fmt: skip
        live = world.desk.live(KEY)
        verbs = {"ack": "alarm.acknowledge", "unack": "alarm.unacknowledge", "shelve": "alarm.shelve",
                 "unshelve": "alarm.unshelve"}  # fmt: skip
        if op in levels:
            kind, level = levels[op]
            self.take(world.change(kind, level=level))
        elif op in verbs and live is not None:
            data = {"reason": "r", "until_ms": world.now_ms + 1_500_000}
            self.ask(DUTY, verbs[op], live.id, data)
        elif op == "stand_in":
            data = {"instead_of": "dan", "person": "dee", "reason": "r", "until_ms": world.now_ms + 3_600_000}
            self.ask(LEAD, "rota.override", "desk", data)
        else:
            self.take()

    def ask(self, actor: Any, verb: str, target: str, data: dict[str, Any]) -> None:
        command = Command(id=f"h{next(self._ids)}", verb=verb, target=target, actor=actor, at_ms=self.world.now_ms,
                          data=data)  # fmt: skip
        self.take(commands=[command])


@settings(max_examples=60, deadline=None)
@given(history=st.lists(st.tuples(st.integers(0, 40), OPS, OPS, OPS), min_size=1, max_size=10))
def test_how_input_falls_into_ticks_changes_no_notice(history):
    whole, cut = World(peopled()), World(peopled())
    seen: tuple[list[Any], list[Any]] = ([], [])
    ids = itertools.count()
    for minutes, *ops in history:
        for world, said in zip((whole, cut), seen, strict=True):
            said.extend(world.wait(minutes * 60).notices)
        scopes = ("mill.depth", "mill.depth2", "weir.do")
        changes, asked = [], []
        for scope, op in zip(scopes, ops, strict=True):
            change, command = _op(whole, scope, op, next(ids))
            changes += [change] if change else []
            asked += [command] if command else []
        seen[0].extend(whole.tick(*changes, commands=asked).notices)
        for change in changes:
            seen[1].extend(cut.tick(change).notices)
            cut.restart()
        for command in asked:
            seen[1].extend(cut.tick(commands=[command]).notices)
            cut.restart()
    of_chains = [[n for n in said if n.subject_kind == "alarm"] for said in seen]
    assert of_chains[0] == of_chains[1]


def _op(world: World, scope: str, op: str, number: int) -> tuple[Any, Command | None]:
    rule = "low-oxygen" if scope == "weir.do" else "flood-depth"
    levels = {"raise": (TransitionKind.RAISE, YELLOW), "worse": (TransitionKind.LEVEL, RED),
              "ease": (TransitionKind.LEVEL, ORANGE), "clear": (TransitionKind.CLEAR, None)}  # fmt: skip
    verbs = {"ack": "alarm.acknowledge", "unack": "alarm.unacknowledge", "shelve": "alarm.shelve",
             "unshelve": "alarm.unshelve"}  # fmt: skip
    if op in levels:
        kind, level = levels[op]
        return world.change(kind, rule, scope, level), None
    live = world.desk.live(f"{rule}|{scope}")
    if op in verbs and live is not None:
        data = {"reason": "r", "until_ms": world.now_ms + 1_500_000}
        return None, Command(id=f"h{number}", verb=verbs[op], target=live.id, actor=DUTY, at_ms=world.now_ms, data=data)
    return None, None


@settings(max_examples=60, deadline=None)
@given(history=HISTORIES)
def test_in_any_history_only_unseen_alarms_are_escalated_and_restarts_change_nothing(history):
    one, two = Life(), Life()
    for wait_s, op in history:
        one.live(wait_s, op)
        two.live(wait_s, op)
        two.world.restart()
    assert one.notices == two.notices
    assert {a.id: (a.called_ms, a.reminded) for a in one.world.desk.alarms.values()} == {
        a.id: (a.called_ms, a.reminded) for a in two.world.desk.alarms.values()
    }


@settings(max_examples=60, deadline=None)
@given(waits=st.lists(st.integers(1, 900), min_size=1, max_size=12))
def test_however_often_the_clock_is_looked_at_every_step_is_taken_once(waits):
    world = World(peopled())
    world.raises()
    taken: dict[str, list[int]] = {}
    for wait_s in waits:
        for n in world.wait(wait_s).notices:
            if n.kind is NoticeKind.REMINDER and n.subject_kind == "alarm":
                taken.setdefault(n.target, []).append(n.step)
    passed_s = sum(waits)
    expected = {t for s in RED_CHAIN.steps for t in _whom(s.to) for lap in (0, 1)
                if 0 < lap * 1800 + s.after_s <= passed_s}  # fmt: skip
    assert set(taken) == expected
    for steps in taken.values():
        assert steps == sorted(set(steps))
    due = [lap * 1800 + s.after_s for lap in (0, 1) for s in RED_CHAIN.steps]
    assert world.alarm().reminded == sum(0 < at <= passed_s for at in due)


def _whom(words: tuple[str, ...]) -> tuple[str, ...]:
    names = {"on-duty": ("dan", "lea"), "lead-on-duty": ("lea",), "level:street": ("sun",), "level:district": ("bao",)}
    return tuple(p for word in words for p in names[word])


def test_a_mild_chain_is_gone_through_once():
    assert MILD_CHAIN.rounds == 1
    world = World(peopled())
    world.raises(level=YELLOW)
    assert told(world.wait(600)) == {(1, "desk")}
    assert told(world.wait(600)) == {(2, "desk"), (2, "pumps")}
    assert told(world.wait(86_400)) == set()
