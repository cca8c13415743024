"""The tables themselves: exhaustive over every state, verb, role and level, and over every combination of regions."""

from __future__ import annotations

import itertools

import pytest

from alerts.guards import FIELDS, GUARDS
from alerts.lifecycle import ALARM_EVENTS, LETTERS, Regions, is_retained, letter, step_alarm
from alerts.orders.sla import LIMITS
from alerts.orders.steps import CHANGES
from alerts.orders.table import (
    ENDS,
    NOTICE_ROWS,
    ORDER_ROLES,
    ORDER_ROWS,
    ORDER_VERBS,
    STATE_NAMES,
    find_row,
    order_verbs,
    refusal,
)
from citypulse.model import AlarmQuality, Condition, OrderState, Priority

EVERY_REGION = [
    Regions(
        condition=c,
        is_acked=a,
        is_confirmed=k,
        is_shelved=e,
        is_suppressed=f,
        is_out_of_service=g,
        quality=q,
        is_chattering=h,
    )
    for c, a, k, e, f, g, q, h in itertools.product(Condition, *([(False, True)] * 5), AlarmQuality, (False, True))
]
FACTS = [{"latches": latches, "has_order": order} for latches in (False, True) for order in (False, True)]


def test_every_alarm_has_one_isa_letter_and_overlays_come_first():
    for r in EVERY_REGION:
        at = letter(r)
        assert at in LETTERS
        if r.is_out_of_service:
            assert at == "G"
        elif r.is_suppressed:
            assert at == "F"
        elif r.is_shelved:
            assert at == "E"
        else:
            assert at in "ABCD"
            assert (at in "BC") == r.is_in_alarm
            assert (at in "AC") == r.is_acked


def test_every_step_of_the_alarm_table_leads_to_a_state_of_the_table():
    for r, event, facts in itertools.product(EVERY_REGION, ALARM_EVENTS, FACTS):
        after = step_alarm(r, event, **facts)
        assert after is None or letter(after) in LETTERS


def test_only_a_clear_a_reset_or_the_end_of_its_rule_ends_a_condition():
    for r, event, facts in itertools.product(EVERY_REGION, ALARM_EVENTS, FACTS):
        after = step_alarm(r, event, **facts)
        if after is not None and r.is_in_alarm and not after.is_in_alarm:
            assert event in {"clear", "reset", "withdraw", "supersede"}


def test_a_latched_alarm_is_reset_only_after_it_was_acknowledged():
    for r, facts in itertools.product(EVERY_REGION, FACTS):
        after = step_alarm(r, "reset", **facts)
        assert (after is not None) == (r.condition is Condition.LATCHED and r.is_acked and r.overlays == 0)


def test_chatter_and_asking_again_change_only_what_they_are_about():
    for r, facts in itertools.product(EVERY_REGION, FACTS):
        overlays = (r.is_shelved, r.is_suppressed, r.is_out_of_service)
        for event in ("chatter", "again", "flutter", "settle", "realarm"):
            after = step_alarm(r, event, **facts)
            if after is None:
                continue
            assert (after.is_shelved, after.is_suppressed, after.is_out_of_service) == overlays
            assert is_retained(after) or event == "settle"
            assert after.is_acked == (r.is_acked and event != "realarm")
            assert after.is_chattering == {"chatter": True, "settle": False}.get(event, r.is_chattering)
        assert (step_alarm(r, "settle", **facts) is not None) == r.is_chattering
        asks = r.condition is Condition.ACTIVE and r.is_acked and not r.overlays and not r.is_chattering
        assert (step_alarm(r, "realarm", **facts) is not None) == asks


def test_nobody_acknowledges_what_is_hidden():
    for r, facts in itertools.product(EVERY_REGION, FACTS):
        if r.overlays:
            assert step_alarm(r, "acknowledge", **facts) is None


def test_leaving_the_last_overlay_reannounces_what_is_active_and_settles_what_is_not():
    ways = (("unshelve", "is_shelved"), ("release", "is_suppressed"), ("in_service", "is_out_of_service"))
    for r, facts, (event, region) in itertools.product(EVERY_REGION, FACTS, ways):
        after = step_alarm(r, event, **facts)
        assert (after is not None) == getattr(r, region)
        if after is None:
            continue
        assert not getattr(after, region)
        if after.overlays == 0:
            assert letter(after) == ("B" if r.is_in_alarm else "A")
        else:
            assert after.is_acked == r.is_acked


def test_losing_sight_changes_nothing_but_the_quality():
    for r, facts in itertools.product(EVERY_REGION, FACTS):
        after = step_alarm(r, "lose_sight", **facts)
        assert after is not None
        assert (after.condition, after.is_acked, after.is_confirmed, after.overlays) == (
            r.condition, r.is_acked, r.is_confirmed, r.overlays,
        )  # fmt: skip


def test_opc_ua_part_9_table_b_1():
    """OPC 10000-9 Annex B.1: Active, Acked, Confirmed, Retain after each step of its example."""
    rows = [
        ("raise", "TFTT"), ("acknowledge", "TTFT"), ("clear", "FTFT"), ("confirm", "FTTF"),
        ("raise", "TFTT"), ("clear", "FFTT"), ("acknowledge", "FTFT"), ("confirm", "FTTF"),
    ]  # fmt: skip
    at = Regions()
    for event, expected in rows:
        after = step_alarm(at, event, has_order=True)
        assert after is not None
        at = after
        shown = (at.condition is Condition.ACTIVE, at.is_acked, at.is_confirmed, is_retained(at))
        assert "".join("FT"[b] for b in shown) == expected, event


@pytest.mark.parametrize(
    ("events", "letters"),
    [
        (("raise", "acknowledge", "clear"), "BCA"),
        (("raise", "clear", "acknowledge"), "BDA"),
        (("raise", "acknowledge", "worsen"), "BCB"),
        (("raise", "clear", "raise"), "BDB"),
        (("raise", "shelve", "unshelve"), "BEB"),
        (("raise", "shelve", "clear", "unshelve"), "BEEA"),
        (("raise", "suppress", "release"), "BFB"),
        (("raise", "suppress", "clear", "release"), "BFFA"),
        (("raise", "out_of_service", "in_service"), "BGB"),
        (("raise", "shelve", "suppress", "out_of_service", "in_service", "release", "unshelve"), "BEFGFEB"),
    ],
)
def test_the_sequences_of_isa_18_2(events, letters):
    """The sequences that alerta's ISA-18.2 tests play, and the overlays on top of each other."""
    at, seen = Regions(), ""
    for event in events:
        after = step_alarm(at, event)
        assert after is not None, event
        at = after
        seen += letter(at)
    assert seen == letters


# ── work orders ─────────────────────────────────────────────────────────────────────────────────

STEPS = list(itertools.product(OrderState, ORDER_VERBS, ORDER_ROLES, Priority))


def test_the_table_has_the_fourteen_states_and_twenty_transitions():
    assert len(OrderState) == 14 == len(STATE_NAMES)
    assert sorted({row.number for row in ORDER_ROWS}) == list(range(1, 21))
    named = {s for row in ORDER_ROWS for s in row.sources} | {row.to for row in ORDER_ROWS if row.to is not None}
    assert named == set(OrderState)


def test_a_step_is_decided_by_exactly_one_row():
    for state, verb, role, level in STEPS:
        rows = [
            row
            for row in ORDER_ROWS
            if state in row.sources and row.verb == verb and role in row.roles
            and (row.levels == "any" or (row.levels == "serious") == (level <= Priority.P2))
        ]  # fmt: skip
        assert len(rows) <= 1, (state, verb, role, level)
        assert find_row(state, verb, role, level) is (rows[0] if rows else None)


def test_every_step_without_a_row_is_refused_in_a_sentence_that_helps():
    for state, verb, role, level in STEPS:
        if find_row(state, verb, role, level) is None:
            code, said = refusal("WO-1", state, verb, role, level)
            assert code in {"not_allowed", "forbidden", "bad_data"}
            assert said.startswith("工单 WorkOrder WO-1")
            assert "llowed" in said or "no verb" in said, said


def test_no_end_is_left_except_by_reopening():
    for row in ORDER_ROWS:
        if ENDS & set(row.sources):
            assert (row.number, row.sources) == (19, (OrderState.CLOSED,))


def test_every_open_state_can_end_and_every_state_is_reached():
    reached, todo = set(), [OrderState.REPORTED]
    while todo:
        state = todo.pop()
        if state in reached:
            continue
        reached.add(state)
        todo += [row.to for row in ORDER_ROWS if state in row.sources and row.to is not None]
    assert reached == set(OrderState)
    for state in set(OrderState) - ENDS:
        assert "cancel" in order_verbs(state, Priority.P1)


def test_no_red_or_orange_order_closes_without_the_leads_hand():
    closers = {
        role
        for level in (Priority.P1, Priority.P2)
        for role in ORDER_ROLES
        if (row := find_row(OrderState.CHECKING, "close", role, level)) is not None and row.to is OrderState.CLOSED
    }
    assert closers == {"lead"}


def test_every_way_to_closed_asks_for_both_witnesses():
    for row in ORDER_ROWS:
        if row.to is OrderState.CLOSED:
            assert "sensor_witness" in row.guards
            assert "evidence" in row.guards
            assert "person_witness" in row.guards or ("checker" in row.roles and "not_the_fixer" in row.guards)


def test_who_fixes_never_checks():
    for row in ORDER_ROWS:
        if row.number in {15, 16, 17} and "checker" in row.roles:
            assert "not_the_fixer" in row.guards
        if row.number in {15, 16, 17}:
            assert not {"crew", "unit"} & set(row.roles)


def test_every_name_in_the_table_exists():
    for row in (*ORDER_ROWS, *NOTICE_ROWS):
        assert set(row.guards) <= set(GUARDS), row
        assert set(row.needs) <= set(FIELDS), row
        assert set(row.starts) | set(row.stops) <= set(LIMITS[Priority.P1]), row
    assert set(CHANGES) <= {row.done for row in (*ORDER_ROWS, *NOTICE_ROWS)}


def test_buttons_are_the_table():
    for state, role, level in itertools.product(OrderState, ORDER_ROLES, Priority):
        assert set(order_verbs(state, level, role)) == {
            verb for verb in ORDER_VERBS if find_row(state, verb, role, level) is not None
        }
