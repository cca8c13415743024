"""When a channel does not deliver: another takes over, the end goes where the beginning went, the desk is told."""

from __future__ import annotations

import pytest
import stamina

from alerts.delivery.failover import HAND_OVER_MS, TROUBLE_MS, Ways
from alerts.delivery.outbox import LEASE_MS
from citypulse.errors import DeliveryError
from citypulse.model import NoticeKind, Priority
from tests.support.posting import BLUE, YELLOW, PostRoom, away, refused


@pytest.fixture(autouse=True)
def no_quick_retries():
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


def chain(**more):
    ways = Ways({"robot": ("sms", "mail"), "sms": ("mail",)}, more.get("targets", {}))
    ways._desks = tuple(more.get("targets", {}))
    return ways


@pytest.fixture
def room(tmp_path):
    made = PostRoom(tmp_path, "robot", "sms", "mail", ways=chain())
    yield made
    made.ledger.close()


TOLD = ("robot", "desk")


def test_a_red_notice_moves_on_after_ten_seconds_with_the_same_key(room):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD)
    room.after(0)
    key = room.phones["robot"].tried[0].idem_key
    room.after(6)
    assert not room.phones["sms"].took, "not yet"
    room.after(4)
    room.after(0)
    (taken,) = room.phones["sms"].took
    assert taken.idem_key == key
    (row,) = room.ledger.outbox_rows()
    assert (row.state, row.via, row.path, row.notice.channel) == ("delivered", "sms", "robot", "robot")


@pytest.mark.parametrize("level", list(Priority))
def test_how_long_a_notice_waits_depends_on_its_level(room, level):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD, level=level)
    waited = 0
    while not room.phones["sms"].took:
        room.after(1)
        waited += 1_000
        assert waited < 700_000
    assert 0 <= waited - HAND_OVER_MS[level] <= 2_000


def test_what_the_first_channel_delivers_late_is_not_delivered_twice(room):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD)
    room.after(0)
    room.phones["robot"].error = None
    room.run(120, 1)
    assert len(room.phones["robot"].took) + len(room.phones["sms"].took) == 1


def test_a_permanent_refusal_moves_on_at_once(room):
    room.phones["robot"].error = refused()
    room.raises("a1", TOLD)
    room.after(0)
    room.after(0)
    assert room.phones["sms"].heard == [("a1", "raised")]


def test_the_next_one_down_moves_on_to_the_one_after(room):
    room.phones["robot"].error, room.phones["sms"].error = refused(), refused()
    room.raises("a1", TOLD)
    for _ in range(4):
        room.after(0)
    assert room.phones["mail"].heard == [("a1", "raised")]
    (row,) = room.ledger.outbox_rows()
    assert row.path == "robot>sms"


def test_with_no_other_way_it_ends_as_failed_with_the_reason(room):
    for phone in room.phones.values():
        phone.error = refused()
    room.raises("a1", TOLD)
    for _ in range(9):
        room.after(0)
    (row,) = room.ledger.outbox_rows()
    assert (row.state, row.last_error) == ("failed", "sign not match")
    assert len(room.phones["robot"].tried) == 1


def test_a_channel_that_fails_itself_takes_nothing_over(room):
    room.phones["sms"].error = away()
    room.raises("other", ("sms", "desk"))
    room.after(0)
    room.phones["robot"].error = away()
    room.raises("a1", TOLD)
    room.run(12, 1)
    assert ("a1", "raised") in room.phones["mail"].heard


def test_the_same_news_is_not_handed_to_a_channel_that_tells_it_anyway(tmp_path):
    room = PostRoom(tmp_path, "robot", "sms", ways=Ways({"robot": ("sms",)}))
    room.phones["robot"].error = away()
    room.raises("a1", TOLD, ("sms", "desk"))
    room.run(120)
    assert room.phones["sms"].heard == [("a1", "raised")]
    room.ledger.close()


def test_other_channels_of_the_same_targets_routes_take_over_in_the_order_of_the_file(tmp_path):
    room = PostRoom(tmp_path, "robot", "sms", "mail", ways=Ways({}, {"desk": ("robot", "mail", "sms")}))
    room.phones["robot"].error = refused()
    room.raises("a1", TOLD)
    room.after(0)
    room.after(0)
    assert room.phones["mail"].heard == [("a1", "raised")]
    room.ledger.close()


def test_the_end_goes_where_the_beginning_was_told(room):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD)
    room.run(15, 1)
    assert room.phones["sms"].heard == [("a1", "raised")]
    room.phones["robot"].error = None
    room.clears("a1", TOLD)
    room.run(10, 1)
    assert room.phones["sms"].heard == [("a1", "raised"), ("a1", "cleared")]
    assert room.phones["robot"].heard == []


def test_nobody_hears_the_end_of_what_no_channel_could_tell(room):
    for phone in room.phones.values():
        phone.error = refused()
    room.raises("a1", TOLD)
    for _ in range(5):
        room.after(0)
    for phone in room.phones.values():
        phone.error = None
    room.clears("a1", TOLD)
    room.run(60)
    assert room.rows() == {"a1 raised robot desk": "failed", "a1 cleared robot desk": "obsolete"}


def test_who_may_have_heard_the_beginning_hears_the_end(room):
    room.phones["robot"].error = DeliveryError("half an answer", permanent=True, may_be_taken=True)
    room.phones["sms"].error = room.phones["mail"].error = refused()
    room.raises("a1", TOLD)
    for _ in range(5):
        room.after(0)
    room.phones["robot"].error = None
    room.clears("a1", TOLD)
    room.run(30)
    assert room.phones["robot"].heard == [("a1", "cleared")]


def test_a_restart_forgets_no_hand_over(room):
    room.phones["robot"].error = away()
    room.phones["sms"].error = away()
    room.raises("a1", TOLD)
    room.run(11, 1)
    room.restart()
    room.phones["sms"].error = None
    room.run(60, 1)
    (row,) = room.ledger.outbox_rows()
    assert row.state == "delivered"
    assert row.path.startswith("robot")
    assert len(room.phones["robot"].took) == 0


def test_a_throttled_channel_is_left_alone_and_its_red_ones_move_on(room):
    room.phones["robot"].error = DeliveryError(
        "code 130101: send too fast", permanent=False, provider_code="130101", wait_s=60, may_be_taken=False
    )
    room.raises("a1", TOLD)
    room.raises("b4", TOLD, level=BLUE)
    room.run(50, 1)
    assert len(room.phones["robot"].tried) == 1, "one try, then it rests"
    assert room.phones["sms"].heard == [("a1", "raised")]
    room.phones["robot"].error = None
    room.run(30, 1)
    assert room.phones["robot"].heard == [("b4", "raised")]


def test_red_ones_without_room_look_for_another_way(tmp_path):
    room = PostRoom(tmp_path, "robot", "sms", ways=Ways({"robot": ("sms",)}), limits={"robot": 2})
    for number in range(6):
        room.raises(f"a{number}", TOLD)
    room.after(0)
    assert len(room.phones["robot"].took) == 2
    room.run(15, 1)
    assert len(room.phones["sms"].took) == 4
    room.ledger.close()


def test_the_desk_is_told_by_another_channel_that_one_fails_and_when_it_works_again(tmp_path):
    targets = {"desk": ("robot", "mail"), "lead": ("mail",)}
    room = PostRoom(tmp_path, "robot", "mail", ways=chain(targets=targets))
    room.phones["robot"].error = away()
    room.raises("a1", TOLD, level=YELLOW)
    room.run(TROUBLE_MS // 1000 + 60)
    told = [(n.subject, n.kind, n.target) for n in room.phones["mail"].took if n.subject_kind == "channel"]
    assert told == [("channel:robot", NoticeKind.RAISED, "desk"), ("channel:robot", NoticeKind.RAISED, "lead")]
    room.restart()
    room.run(600)
    assert sum(n.subject_kind == "channel" for n in room.phones["mail"].took) == 2, "once, restarts or not"
    room.phones["robot"].error = None
    room.raises("a2", TOLD)
    room.run(60)
    ends = [(n.kind, n.target) for n in room.phones["mail"].took if n.subject_kind == "channel"][2:]
    assert ends == [(NoticeKind.CLEARED, "desk"), (NoticeKind.CLEARED, "lead")]
    room.ledger.close()


def test_a_sender_that_dies_in_the_middle_sends_again_by_the_channel_it_had(room):
    room.raises("a1", TOLD)
    (leased,) = room.ledger.outbox.lease(room.now_ms, 1, LEASE_MS, channels=["robot"])
    room.restart()
    room.run(LEASE_MS // 1000 + 5)
    (taken,) = room.phones["robot"].took
    assert taken.idem_key == leased.notice.idem_key


def test_a_failed_notice_that_is_revived_goes_by_its_own_channel_again(room):
    for phone in room.phones.values():
        phone.error = refused()
    room.raises("a1", TOLD)
    for _ in range(5):
        room.after(0)
    (row,) = room.ledger.outbox_rows()
    room.phones["robot"].error = None
    assert room.ledger.outbox.revive(row.id, now_ms=room.now_ms)
    room.after(0)
    assert room.phones["robot"].heard == [("a1", "raised")]


# ── drills ──────────────────────────────────────────────────────────────────────────────────────


def test_a_drills_notice_moves_on_only_to_a_channel_of_the_drill(room):
    room.phones["robot"].error = refused()
    room.raises("a1", TOLD, is_exercise=True, only_by=("robot", "mail"))
    for _ in range(4):
        room.after(0)
    assert not room.phones["sms"].tried, "sms is nearer in the order, and none of the drill's"
    assert room.phones["mail"].heard == [("a1", "raised")]


@pytest.mark.parametrize("only_by", [("robot",), ()], ids=["its own channel", "no channel named"])
def test_a_drills_notice_rather_fails_than_leaves_its_channels(room, only_by):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD, is_exercise=True, only_by=only_by)
    room.raises("a2", TOLD)
    room.run(7_200, 60)
    assert [s for p in ("sms", "mail") for s, _ in room.phones[p].heard] == ["a2"]
    (row,) = [r for r in room.ledger.outbox_rows() if r.notice.subject == "a1"]
    assert row.state in {"failed", "dead"}
    assert row.last_error


def test_the_mark_of_a_drill_outlives_a_restart(room):
    room.phones["robot"].error = away()
    room.raises("a1", TOLD, is_exercise=True, only_by=("robot",))
    room.after(0)
    room.restart()
    room.phones["robot"].error = away()
    room.run(600, 10)
    assert not room.phones["sms"].tried
    assert not room.phones["mail"].tried
