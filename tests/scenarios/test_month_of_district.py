"""Thirty days of a district: every row of the table is taken, and every clock agrees with a second opinion."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.kpi import report
from alerts.orders.replay import replay
from alerts.orders.table import ENDS, NOTICE_ROWS, ORDER_ROWS
from citypulse.ledger import Ledger
from citypulse.model import OrderState
from citypulse.reading_room import ReadingRoom
from tests.scenarios.brute_clocks import Minutes, Order
from tests.scenarios.district_month import DAYS, START, Month

PUT_OFF = {OrderState.DEFERRED, OrderState.SUSPENDED}
CLOSED = {s.value for s in ENDS}


def exported(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """The record of every order in the form that `GET /api/v1/events` gives, through JSON and back."""
    room, found, after = ReadingRoom(ledger), defaultdict(list), 0
    while rows := json.loads(json.dumps(room.events(subject="", after_seq=after, limit=10_000))):
        for row in rows:
            if row["subject_kind"] == "order":
                found[row["subject"]].append(row)
        after = rows[-1]["seq"]
    return found


def check_clocks(record: dict[str, list[dict[str, Any]]]) -> int:
    minutes, checked = Minutes(), 0
    for number, events in record.items():
        mine = Order(minutes)
        for event in events:
            wanted = sorted(mine.take(event), key=str)
            kinds = {True: "work", False: "wall"}
            got = sorted(
                ((m["clock"], m["did"], kinds[m["is_work"]], m["limit_s"], m["due_ms"], m["elapsed_s"])
                 for m in event["data"].get("clocks", ())), key=str)  # fmt: skip
            assert [g[:5] for g in got] == [w[:5] for w in wanted], (number, event["kind"], event["seq"])
            assert [g[5] for g in got] == pytest.approx([w[5] for w in wanted], abs=1e-6), (number, event["kind"])
            checked += len(got)
            if event["kind"] == "fed_back":
                due = event["data"]["original_due_ms"]
                assert mine.original is not None
                assert due == mine.due("T4", mine.original), (number, event["seq"])
                assert event["data"]["is_on_time"] == (event["wall_ms"] <= due)
    return checked


def check_invariants(month: Month, record: dict[str, list[dict[str, Any]]]) -> None:
    open_causes: set[tuple[str, ...]] = set()
    for number, events in record.items():
        order = month.ledger.order(number)
        assert order is not None
        lines = [r.event for r in month.ledger.events(subject=number, limit=10_000)]
        course = replay(lines)
        assert [e["rev"] for e in events] == list(range(1, order.rev + 1)), "one line of the record a revision"
        for event in events:
            if event["from_state"] in CLOSED:
                assert event["kind"] == "reopened"
                assert event["from_state"] == "closed"
        lived = (month.now if order.state not in ENDS else order.state_ms) - order.opened_ms
        stays = [((s.until_ms if s.until_ms is not None else month.now) - s.from_ms) for s in course.stages]
        assert all(s >= 0 for s in stays)
        assert sum(stays) == lived, "the stages are the life"
        put_off = sum(
            t for t, s in zip(stays, course.stages, strict=True) if s.state.value in {"deferred", "suspended"}
        )
        since = order.paused_since_ms
        assert order.paused_s >= 0
        assert order.paused_s + (0 if since is None else (month.now - since) / 1000) == pytest.approx(put_off / 1000)
        for run in course.runs:  # I23
            assert 0 <= run.elapsed_s <= (run.as_of_ms - run.start_ms) / 1000 + 1e-9
        level = ""
        for event in events:
            level = event["data"].get("order_level") or event["data"].get("level", level)
            if event["kind"] == "closed" and event["actor"] == "citypulse":
                assert level in {"yellow", "blue"}, "a serious order is closed by a person"
        for closing in order.data.get("closings", ()):
            if order.kind == "dispatch":
                assert closing["checked_by"]
                assert closing["checked_by"] not in order.data["hands"]
        if order.state not in ENDS and order.kind == "dispatch":  # I24
            key = (order.template or order.cause, order.asset)
            assert key not in open_causes
            open_causes.add(key)


def live_a_month(folder: Path, *, orders: int, slot_s: int, places: int) -> Month:
    month = Month(folder, orders=orders, slot_s=slot_s, places=places)
    month.run()
    record = exported(month.ledger)
    assert len(record) >= orders * 0.95
    wanted = {("dispatch", r.number, r.done) for r in ORDER_ROWS} | {("notice", r.number, r.done) for r in NOTICE_ROWS}
    assert set(month.rows) >= wanted, wanted - set(month.rows)
    assert {OrderState(e["to_state"]) for events in record.values() for e in events} == set(OrderState)
    assert month.restarts == 5
    assert month.now == START + DAYS * 86_400_000
    assert check_clocks(record) > 10 * orders
    check_invariants(month, record)
    assert month.ledger.verify().first_broken is None
    return month


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    return live_a_month(tmp_path_factory.mktemp("month"), orders=600, slot_s=3600, places=90)


def test_a_month_of_six_hundred_orders_takes_every_row_and_every_clock_agrees(month):
    assert sum(month.rows.values()) > 3000


def test_the_indicators_call_on_time_what_the_second_opinion_calls_on_time(month):
    minutes, wanted, sent = Minutes(), set(), set()
    for number, events in exported(month.ledger).items():
        mine, is_on_time = Order(minutes), False
        for event in events:
            mine.take(event)
            if event["kind"] == "fed_back":
                assert mine.original is not None
                due = mine.due("T4", mine.original)
                assert due is not None
                is_on_time = event["wall_ms"] <= due
        is_out = events[-1]["to_state"] in {"cancelled", "rejected"}
        if any(e["kind"] == "dispatched" for e in events) and not is_out:
            sent.add(number)
            wanted |= {number} if is_on_time else set()
    orders = [o for number in exported(month.ledger) if (o := month.ledger.order(number)) is not None]
    figures = report([], orders, (row.event for row in month.ledger.events(limit=1_000_000)), 0, month.now + 1)
    by_id = {i.id: i for i in figures["orders"]}
    assert set(by_id["handled_on_time"].denominator) == sent
    assert set(by_id["handled_on_time"].numerator) == wanted
    assert 0 < len(wanted) < len(sent)
    strict = set(by_id["handled_on_time_strict"].numerator)
    assert strict < wanted, "some were excused by a pause, and nobody is on time strictly only"


def test_any_byte_of_any_line_of_the_record_that_is_changed_is_found(month, tmp_path_factory):
    month.ledger.checkpoint()
    source = sqlite3.connect(month.folder / "city.db")
    folder = tmp_path_factory.mktemp("forged")
    with sqlite3.connect(folder / "city.db") as copy:
        source.backup(copy)
    source.close()
    forger = sqlite3.connect(folder / "city.db", isolation_level=None)
    for (name,) in forger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        forger.execute(f"DROP TRIGGER {name}")  # who can write the file can take its locks away
    columns = [r[1] for r in forger.execute("PRAGMA table_info(event)")]
    count = forger.execute("SELECT count(*) FROM event").fetchone()[0]
    with_ledger = Ledger.open(folder, read_only=True)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(1, count), st.sampled_from(columns), st.integers(0, 10_000), st.integers(1, 255))
    def forge(seq: int, column: str, place: int, flip: int) -> None:
        (old,) = forger.execute(f"SELECT {column} FROM event WHERE seq = ?", (seq,)).fetchone()
        if isinstance(old, int):
            new: Any = old ^ flip if column != "seq" else count + flip
        else:
            raw = bytearray((old or "").encode() or b" ")
            raw[place % len(raw)] = (raw[place % len(raw)] ^ flip) % 128
            new = raw.decode("utf-8", "replace")
        if new == old:
            return
        forger.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", (new, seq))
        try:
            low = max(1, seq - 2)
            verdict = with_ledger.verify(low, None if column == "seq" else min(count, seq + 2))
            assert verdict.first_broken is not None, (seq, column, old, new)
        finally:
            where = count + flip if column == "seq" else seq
            forger.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", (old, where))

    forge()
    assert with_ledger.verify().first_broken is None
    with_ledger.close()
    forger.close()


@pytest.mark.slow
def test_a_month_of_ten_thousand_orders(tmp_path):
    began = time.process_time()
    done = live_a_month(tmp_path, orders=10_000, slot_s=600, places=900)
    print(f"{len(done.orders)} orders, {sum(done.rows.values())} steps, {time.process_time() - began:.0f} s CPU")
