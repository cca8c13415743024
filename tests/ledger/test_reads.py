"""What pages, the CLI and a restart read."""

import threading

import pytest

from citypulse.ledger import Ledger, LedgerError, Tick
from citypulse.model import Condition, OrderState, Priority
from tests.ledger.ledger_cast import T0, an_alarm, an_event, an_order, effects_of

HOUR_MS = 3_600_000


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()


def commit(ledger, now_ms=T0, **effects):
    ledger.commit(Tick(number=ledger.last_tick + 1, now_ms=now_ms, effects=effects_of(**effects)))


def ids(found):
    return [one.id for one in found]


NORMAL = {"condition": Condition.NORMAL}


def test_alarms_are_found_by_state(ledger):
    commit(
        ledger,
        alarms=[
            an_alarm(1),
            an_alarm(2, is_acked=True),
            an_alarm(3, **NORMAL),
            an_alarm(4, **NORMAL, is_acked=True),
            an_alarm(5, **NORMAL, is_acked=True, is_confirmed=False, order_id="WO-20251122-0001"),
            an_alarm(6, condition=Condition.LATCHED, is_acked=True, stale_ms=T0),
            an_alarm(7, **NORMAL, is_acked=True, is_historical=True),
        ],
    )
    assert ids(ledger.alarms(state="open")) == ["alarm-6", "alarm-2", "alarm-1"]
    assert ids(ledger.alarms()) == ["alarm-6", "alarm-5", "alarm-3", "alarm-2", "alarm-1"]
    assert ids(ledger.alarms(state="unacked")) == ["alarm-3", "alarm-1"]
    assert ids(ledger.alarms(state="stale")) == ["alarm-6"]
    assert ids(ledger.alarms(state="historical")) == ["alarm-7"]
    assert len(ledger.alarms(state="all")) == 7
    with pytest.raises(ValueError, match="use one of open, retained"):
        ledger.alarms(state="opened")


def test_alarms_are_found_by_place_rule_level_and_time(ledger):
    commit(
        ledger,
        alarms=[an_alarm(1), an_alarm(2, site="harbour", domain="water", rule="do-low", level=Priority.P4)],
    )
    assert ids(ledger.alarms(site="harbour")) == ["alarm-2"]
    assert ids(ledger.alarms(domain="flood")) == ["alarm-1"]
    assert ids(ledger.alarms(rule="do-low")) == ["alarm-2"]
    assert ids(ledger.alarms(scope="mill-bridge-1.depth")) == ["alarm-1"]
    assert ids(ledger.alarms(at_least=Priority.P3)) == ["alarm-1"]
    assert ids(ledger.alarms(since_ms=T0 + 2)) == ["alarm-2"]
    assert ids(ledger.alarms(until_ms=T0 + 2)) == ["alarm-1"]


def test_pages_of_alarms_and_orders_follow_on_without_gaps_or_repeats(ledger):
    commit(
        ledger,
        alarms=[an_alarm(i, raised_wall_ms=T0 + i // 3) for i in range(1, 20)],
        orders=[an_order(i, opened_ms=T0 + i // 3) for i in range(1, 20)],
    )
    for read in (ledger.alarms, ledger.orders):
        seen, before = [], ""
        while page := read(limit=4, before=before):
            seen += ids(page)
            before = page[-1].id
        assert seen == ids(read(limit=100))
        assert len(seen) == len(set(seen)) == 19


def test_the_most_serious_can_come_first(ledger):
    levels = (Priority.P3, Priority.P1, Priority.P2)
    commit(
        ledger,
        alarms=[an_alarm(i, level=level) for i, level in enumerate(levels)],
        orders=[an_order(i, level=level) for i, level in enumerate(levels)],
    )
    assert [a.level for a in ledger.alarms(serious_first=True)] == [1, 2, 3]
    assert [o.level for o in ledger.orders(serious_first=True)] == [1, 2, 3]


def test_orders_are_found_by_state_team_and_place(ledger):
    commit(
        ledger,
        orders=[
            an_order(1),
            an_order(2, state=OrderState.CLOSED, team="crew-bo"),
            an_order(3, state=OrderState.CANCELLED, area="mill", asset="harbour-pump", domain="water"),
        ],
    )
    assert ids(ledger.orders(is_open=True)) == ["WO-20251122-0001"]
    assert ids(ledger.orders(is_open=False)) == ["WO-20251122-0003", "WO-20251122-0002"]
    assert ids(ledger.orders(state=OrderState.CLOSED)) == ["WO-20251122-0002"]
    assert ids(ledger.orders(team="crew-bo")) == ["WO-20251122-0002"]
    assert ids(ledger.orders(area="mill", asset="harbour-pump", domain="water")) == ["WO-20251122-0003"]
    assert ledger.order("WO-20251122-0001") == an_order(1)
    assert ledger.order("WO-1") is None
    assert ledger.alarm("nobody") is None


def test_the_record_is_read_forwards_and_its_newest_lines_too(ledger):
    for number in range(1, 6):
        commit(ledger, events=[an_event(f"alarm-{number % 2}", rev=number)])
    assert [row.seq for row in ledger.events()] == [1, 2, 3, 4, 5]
    assert [row.seq for row in ledger.events(since_seq=2, limit=2)] == [3, 4]
    assert [row.seq for row in ledger.events(subject="alarm-1")] == [1, 3, 5]
    assert [row.seq for row in ledger.events(newest=True, limit=2)] == [4, 5]
    assert ledger.events()[1].prev_hash == ledger.events()[0].hash


def test_a_restart_finds_what_still_needs_somebody(ledger):
    closed = {"state": OrderState.CLOSED}
    commit(
        ledger,
        alarms=[
            an_alarm(1),
            an_alarm(2, **NORMAL, is_acked=True),
            an_alarm(3, dedup_key="flood-depth|mill-bridge-1.depth", occurrence=7, **NORMAL),
        ],
        orders=[
            an_order(1),
            an_order(2, **closed, state_ms=T0 - 72 * HOUR_MS),
            an_order(41, **closed, state_ms=T0 - 72 * HOUR_MS - 1),
            an_order(9, day="20251121", state=OrderState.REJECTED),
            an_order(10_001, day="20251120", **closed, state_ms=0),
        ],
    )
    found = ledger.load_open()
    assert ids(found.alarms) == ["alarm-1", "alarm-3"]
    assert ids(found.orders) == ["WO-20251122-0001", "WO-20251122-0002"]
    assert found.occurrences == {"flood-depth|mill-bridge-1.depth": 7, "flood-depth|mill-bridge-2.depth": 1}
    assert found.order_serials == {"20251122": 41, "20251121": 9, "20251120": 10_001}
    assert (found.last_tick, found.last_now_ms) == (1, T0)
    assert len(ledger.load_open(now_ms=T0 + 1).orders) == 1


def test_an_empty_ledger_opens_empty(ledger):
    found = ledger.load_open()
    assert (found.alarms, found.orders, dict(found.occurrences), found.last_tick) == ((), (), {}, 0)
    counts = ledger.counts()
    assert (counts.alarms_open, counts.events, counts.last_tick) == (0, 0, 0)


def test_counts_add_up(ledger):
    commit(
        ledger,
        alarms=[an_alarm(1), an_alarm(2, level=Priority.P1, is_acked=True), an_alarm(3, **NORMAL)],
        orders=[an_order(1), an_order(2, state=OrderState.CLOSED)],
        events=[an_event(), an_event(rev=2)],
    )
    counts = ledger.counts()
    assert counts.alarms_open == 2
    assert counts.alarms_unacked == 2
    assert counts.alarms_open_by_level == {Priority.P2: 1, Priority.P1: 1}
    assert counts.orders_by_state == {OrderState.DISPATCHED: 1, OrderState.CLOSED: 1}
    assert (counts.events, counts.last_tick, counts.last_now_ms) == (2, 1, T0)


def test_many_threads_read_while_the_heart_commits(ledger):
    stop, problems = threading.Event(), []

    def read():
        try:
            while not stop.is_set():
                alarms, events = ledger.alarms(state="all", limit=1000), ledger.events(limit=1000)
                assert len(events) >= len(alarms)  # an alarm is never visible without its line of the record
        except (AssertionError, LedgerError) as problem:
            problems.append(problem)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 60):
        commit(ledger, alarms=[an_alarm(number)], events=[an_event(f"alarm-{number}")])
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(ledger.alarms(state="all")) == 59
