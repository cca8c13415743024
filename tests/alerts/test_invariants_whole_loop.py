"""The invariants over random histories through the whole loop: real intake, engine, desk, ledger and deliverer.

A history is what six sensors say and what people ask, at steps of ten seconds to ten minutes. It is lived three times:
undisturbed, with restarts from the file, and with every message delivered twice. The other tests of the invariants are
listed in docs/reference/invariants.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.lifecycle import is_retained, letter
from alerts.orders.table import ENDS
from citypulse.config import load_city
from citypulse.model import Actor, CityConfig
from citypulse.vocabulary import extensions
from tests.support.crash_city import (
    ADA,
    BASE_MS,
    CHEN,
    DUTY,
    LEAD,
    REPAIR,
    SITES,
    Ask,
    Life,
    Moment,
    Outside,
    config_text,
    differences,
    key,
    standing,
)

EXAMPLES = 6
CALLS = {"raised", "worsened", "reminder"}
DAY_MS = 86_400_000


def asked(verb: str, actor: Actor, site: int, minutes: int) -> Ask:
    kind = verb.partition(".")[0]
    target = {"alarm": key(site), "order": f"order:{site}"}.get(kind, "")
    end_ms = BASE_MS + minutes * 60_000
    data: dict[str, Any] = {"reason": "r", "note": "n"}
    if verb == "alarm.shelve":
        data["until_ms"] = end_ms
    if verb == "order.report":
        data = REPAIR
    if verb == "mute.new":
        data = {"reason": "r", "ends_ms": end_ms, "sites": [f"u-{site:06d}"]}
    return Ask(verb, actor, target, data)


ASK = st.builds(
    asked,
    st.sampled_from(
        ["alarm.acknowledge", "alarm.acknowledge", "alarm.shelve", "alarm.unshelve", "alarm.out_of_service",
         "alarm.in_service", "mute.new", "order.accept", "order.arrive", "order.report", "order.check", "order.close"]
    ),
    st.sampled_from([DUTY, LEAD, ADA, CHEN]),
    st.integers(1, SITES),
    st.integers(1, 60),
)  # fmt: skip
DEPTH = st.sampled_from([0.0, 0.0, 7.0, 9.9, 12.0, 25.0, 40.0])
STEP = st.tuples(
    st.sampled_from([10, 10, 20, 60, 600]),
    st.tuples(*[DEPTH] * SITES),
    st.lists(ASK, max_size=2),
)
HISTORY = st.lists(STEP, min_size=3, max_size=14)


def moments_of(history: Sequence[tuple[int, tuple[float, ...], list[Ask]]]) -> list[Moment]:
    at_s, found = 0, []
    for step_s, depths, asks in history:
        found.append(Moment(at_s, depths, tuple(asks)))
        at_s += step_s
    return found


@dataclass
class Stage:
    folder: Path
    config: CityConfig
    number: int = 0

    def life(self, moments: Sequence[Moment], outside: Outside, folder: Path | None = None) -> Life:
        self.number += folder is None
        return Life(folder or self.folder / f"life-{self.number}", self.config, moments, outside, lambda _name: None)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        (folder / "city.yaml").write_text(config_text(), encoding="utf-8")
        yield Stage(folder, load_city(folder / "city.yaml", extensions()))


MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def check(life: Life) -> None:
    """Check what must hold in every ledger, however it came about."""
    ledger = life.ledger
    alarms = {a.id: a for a in ledger.alarms(state="all", limit=10_000)}
    events = [row.event for row in ledger.events(limit=100_000)]
    by_subject, turns, numbers = defaultdict(list), defaultdict(list), defaultdict(list)
    for event in events:
        by_subject[event.subject].append(event)
        if event.subject in alarms and event.kind in {"raised", "raised_again", "cleared"}:
            turns[alarms[event.subject].dedup_key].append(event.kind.removesuffix("_again"))
    for alarm in alarms.values():
        if not alarm.is_point:
            numbers[alarm.dedup_key].append(alarm.occurrence)
        assert letter(alarm) in "ABCDEFG"  # I1
        assert is_retained(alarm) == (alarm.id in life.city._desk.alarms)  # I11
        assert [e.rev for e in by_subject[alarm.id]] == list(range(1, alarm.rev + 1)), "every change has its line"
        if alarm.shelved_until_ms is not None:
            assert alarm.shelved_until_ms <= events[-1].wall_ms + DAY_MS  # I9
    for name, kinds in turns.items():
        assert kinds == ["raised", "cleared"] * (len(kinds) // 2) + ["raised"] * (len(kinds) % 2), name  # I2, I4
        assert sorted(numbers[name]) == list(range(1, len(numbers[name]) + 1))  # I3
    assert all(e.from_state in "BD" for e in events if e.kind == "acknowledged")  # I12
    heard: dict[Any, list[str]] = defaultdict(list)
    rows = sorted(ledger.outbox_rows(limit=100_000), key=lambda row: row.id)
    assert len({r.notice.idem_key for r in rows}) == len(rows)
    messages = life.outside.took
    assert len(set(messages)) == len(messages)  # I16: nothing was taken twice, as nothing crashed in a send
    for row in rows:
        if row.state == "delivered" and row.notice.subject in alarms:
            heard[row.notice.subject, row.notice.channel, row.notice.target].append(row.notice.kind.value)
            if row.notice.kind.value in CALLS and row.delivered_ms is not None:
                since = [e for e in by_subject[row.notice.subject] if e.rev > row.notice.rev]
                acked = [e.wall_ms for e in since if e.kind == "acknowledged"]
                assert not acked or row.delivered_ms <= min(acked)  # I15
    waiting = {(r.notice.subject, r.notice.channel, r.notice.target) for r in rows if r.state in {"pending", "leased"}}
    for whom, kinds in heard.items():
        assert kinds[0] != "cleared"  # I14
        alarm = alarms[whom[0]]
        if alarm.condition.value == "normal" and not alarm.is_chattering and whom not in waiting:
            assert "cleared" in kinds, whom  # I13
    open_ones = [(o.cause, o.asset) for o in ledger.orders(limit=10_000) if o.state not in ENDS and not o.is_exercise]
    assert len(open_ones) == len(set(open_ones))  # I24
    assert ledger.verify().first_broken is None  # I25


@MANY
@given(HISTORY, st.sets(st.integers(0, 13), max_size=6))
def test_every_history_keeps_them_and_restarts_leave_the_same_log(
    stage: Stage, history: Any, restarts: set[int]
) -> None:
    moments = moments_of(history)
    calm = stage.life(moments, Outside.of(moments))
    calm.live(0)
    check(calm)
    folder, outside = stage.folder / f"shaken-{stage.number}", Outside.of(moments)
    shaken = stage.life(moments, outside, folder)
    at = 0
    for last in sorted(r for r in restarts if r < len(moments) - 1):
        shaken.live(at, last)
        shaken.end()
        shaken, at = stage.life(moments, outside, folder), last + 1
    shaken.live(at)
    check(shaken)
    wrong = differences(standing(shaken), standing(calm))  # I17
    calm.end()
    shaken.end()
    assert not wrong, "\n".join(wrong)


@MANY
@given(HISTORY)
def test_every_message_once_more_is_no_news(stage: Stage, history: Any) -> None:
    moments = moments_of(history)
    calm = stage.life(moments, Outside.of(moments))
    calm.live(0)
    outside = Outside.of(moments)
    twice = stage.life(moments, outside)

    def again(number: int) -> None:
        twice.inbox.put(Outside.of(moments).waiting[number])
        twice.city.tick(BASE_MS + moments[number].at_s * 1000)

    twice.live(0, after=again)
    one, other = standing(calm), standing(twice)
    for part in ("alarms", "orders", "record", "notices", "heard"):
        assert getattr(one, part) == getattr(other, part), part  # I5
    calm.end()
    twice.end()
