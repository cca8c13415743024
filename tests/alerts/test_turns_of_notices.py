"""With too little room first calls of red and gas alarms go first, then worse, again, orders, ends; none starves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.delivery.digest import plan
from alerts.delivery.turns import LATE_MS, LATE_SHARE, Turn, counted, turn_of
from citypulse.model import NoticeKind, Priority
from tests.support.posting import BLUE, ORANGE, RED, YELLOW, PostRoom

DESK = ("desk", "duty")
EVERY_MS = 3_000
KINDS = [NoticeKind.RAISED, NoticeKind.WORSENED, NoticeKind.REMINDER, NoticeKind.ORDER, NoticeKind.CLEARED]


@dataclass(frozen=True)
class Waits:
    id: int
    level: Priority = RED
    kind: NoticeKind = NoticeKind.RAISED
    target: str = "desk"
    created_ms: int = 0
    may_wait: bool = False
    digest: str = ""
    domain: str = ""
    drill: str = ""


def chosen(rows: list[Waits], room: int = 100, *, now_ms: int = 0, served: int = 0) -> list[tuple[int, ...]]:
    ordered = sorted(rows, key=lambda r: (r.level, r.id))
    return [s.ids for s in plan(ordered, room, 100, now_ms, is_probing=False, served=served)]


def test_what_says_it_first_goes_first_whatever_was_written_first() -> None:
    rows = [Waits(id=n, kind=kind) for n, kind in enumerate(reversed(KINDS))]
    assert chosen(rows) == [(4,), (3,), (2,), (1,), (0,)]


def test_a_first_call_of_orange_gas_goes_before_the_end_of_a_red_alarm_and_a_drill_before_nobody() -> None:
    rows = [
        Waits(id=1, kind=NoticeKind.CLEARED),
        Waits(id=2, level=ORANGE, domain="gas"),
        Waits(id=3, drill='["log"]'),
        Waits(id=4),
    ]
    assert chosen(rows) == [(4,), (2,), (1,), (3,)]
    assert counted(rows) == {"first_call": 2, "worse": 0, "call_again": 0, "order": 0, "end": 1, "rest": 1}


def test_a_channel_that_is_probed_is_tried_with_a_first_call() -> None:
    rows = [Waits(id=1, kind=NoticeKind.CLEARED), Waits(id=2)]
    assert [s.ids for s in plan(rows, 9, 100, 0, is_probing=True)] == [(2,)]


def test_what_is_late_has_one_message_in_four_and_all_of_one_target_are_one_message() -> None:
    old = [Waits(id=n, level=BLUE, created_ms=n) for n in range(3)]
    new = [Waits(id=10 + n, created_ms=LATE_MS) for n in range(8)]
    got = chosen([*old, *new], 5, now_ms=LATE_MS + 10)
    assert got == [(10,), (11,), (12,), (0, 1, 2), (13,)]
    assert chosen([*old, *new], 1, now_ms=LATE_MS + 10, served=3) == [(0, 1, 2)]
    assert chosen([*old, *new], 1, now_ms=LATE_MS, served=3) == [(10,)], "not late yet"


@dataclass
class Channel:
    """A channel of so much room a step, and everything that came of what waited for it."""

    waiting: list[Waits] = field(default_factory=list)
    served: int = 0
    now_ms: int = 0
    sent: dict[int, int] = field(default_factory=dict)  # id → when

    def step(self, room: int) -> list[tuple[int, ...]]:
        self.now_ms += EVERY_MS
        ordered = sorted(self.waiting, key=lambda r: (r.level, r.id))
        sendings = [s.ids for s in plan(ordered, room, 18, self.now_ms, is_probing=False, served=self.served)]
        self.served += len(sendings)
        gone = {i for ids in sendings for i in ids}
        self.sent |= dict.fromkeys(gone, self.now_ms)
        self.waiting = [w for w in self.waiting if w.id not in gone]
        return sendings


ARRIVALS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(list(Priority)), st.sampled_from(["gas", "flood"]), st.booleans(),
              st.sampled_from(["desk", "lead"])),
    max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(ARRIVALS, min_size=5, max_size=60))
def test_nothing_starves_and_only_the_late_go_before_a_first_call(steps: list[list[tuple]]) -> None:
    """More first calls than the channel has room for keep coming; everything else still goes, in bounded time."""
    channel, number, all_of = Channel(), 0, {}
    for arrivals in steps:
        for kind, level, domain, may_wait, target in [*arrivals, (NoticeKind.RAISED, RED, "flood", False, "desk")]:
            one = Waits(id=number, kind=kind, level=level, domain=domain, target=target, created_ms=channel.now_ms,
                        may_wait=may_wait and level > Priority.P2)  # fmt: skip
            all_of[number] = one
            number += 1
            channel.waiting.append(one)
        before = list(channel.waiting)
        served = channel.served
        for place, ids in enumerate(channel.step(1)):
            turns = [turn_of(all_of[i]) for i in ids]
            if (served + place) % LATE_SHARE != LATE_SHARE - 1:
                assert min(turns) == min(map(turn_of, before)), "the most urgent class has its turn"
    # From now on the channel is flooded with first calls only; what waited is out within its share of the room.
    rest = [w.id for w in channel.waiting]
    groups = len({(w.target, w.drill) for w in channel.waiting if turn_of(w) is Turn.REST})
    alone = sum(turn_of(w) is not Turn.REST for w in channel.waiting)
    bound = LATE_MS // EVERY_MS + 1 + LATE_SHARE * (alone + groups + 1)
    for _ in range(bound):
        channel.waiting.append(Waits(id=number, created_ms=channel.now_ms))
        number += 1
        channel.step(1)
    assert all(i in channel.sent for i in rest)


@pytest.fixture
def room(tmp_path):
    made = PostRoom(tmp_path, "desk", limit=4)
    yield made
    made.ledger.close()


def test_a_red_call_does_not_wait_behind_a_yellow_one_of_its_alarm_that_is_being_collected(room: PostRoom) -> None:
    room.raises("a1", DESK, level=YELLOW, may_wait=True)
    room.deliverer.step(room.now_ms)
    assert room.phones["desk"].heard == []
    room.now_ms += 1_000
    room.worsens("a1", DESK, level=RED)
    room.deliverer.step(room.now_ms)
    assert room.phones["desk"].heard == [("a1", "worsened")]
    assert [r.state for r in room.ledger.outbox_rows(limit=10) if r.notice.kind is NoticeKind.RAISED] == ["obsolete"]
    room.now_ms += 300_000
    room.deliverer.step(room.now_ms)
    assert room.phones["desk"].heard == [("a1", "worsened")], "and is not told afterwards"


def test_ends_of_red_alarms_wait_for_the_first_calls_of_others(room: PostRoom) -> None:
    told = [room.notice(f"old{n}", NoticeKind.ORDER, *DESK, subject_kind="order") for n in range(6)]
    room.commit(notices=told)
    for n in range(4):
        room.raises(f"new{n}", DESK)
    room.deliverer.step(room.now_ms)
    assert [s for s, _ in room.phones["desk"].heard] == ["new0", "new1", "new2", "new3"]
    assert room.deliverer.health["desk"].waiting_by_class["order"] == 6


def test_of_a_list_too_long_to_look_at_the_oldest_are_looked_at(room: PostRoom) -> None:
    told = [room.notice(f"blue{n}", NoticeKind.RAISED, *DESK, level=BLUE, subject_kind="order") for n in range(5)]
    told += [room.notice(f"red{n}", NoticeKind.RAISED, *DESK, subject_kind="order") for n in range(40)]
    room.commit(notices=told)
    seen = [w.id for w in room.ledger.outbox.waiting(room.now_ms, "desk", 20)]
    assert seen == list(range(6, 26)), "nothing has waited long"
    seen = [w.id for w in room.ledger.outbox.waiting(room.now_ms + 60_000, "desk", 20)]
    assert seen == [*range(6, 24), 1, 2]
