"""Several notices in one message: what may be collected, what never, and that every one of them is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import stamina
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.digest import HELD_MS, LINES_MAX, Sending, compose, key_of, plan
from alerts.delivery.failover import Ways
from alerts.delivery.outbox import LEASE_MS
from alerts.delivery.turns import is_urgent
from citypulse.errors import DeliveryError
from citypulse.model import NoticeKind, Priority
from tests.ledger.ledger_cast import T0, a_notice
from tests.support.posting import BLUE, ORANGE, RED, YELLOW, PostRoom, away
from tests.support.robot import RobotServer


@pytest.fixture(autouse=True)
def no_quick_retries():
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


@dataclass(frozen=True)
class Waits:
    id: int
    level: Priority = BLUE
    kind: NoticeKind = NoticeKind.RAISED
    target: str = "desk"
    created_ms: int = 0
    may_wait: bool = False
    digest: str = ""
    domain: str = ""
    drill: str = ""


WAITING = st.lists(
    st.builds(
        Waits,
        id=st.just(0),
        level=st.sampled_from(list(Priority)),
        target=st.sampled_from(["desk", "lead", "pumps"]),
        created_ms=st.integers(0, 120_000),
        may_wait=st.booleans(),
        digest=st.sampled_from(["", "", "", "k1", "k2"]),
        domain=st.sampled_from(["", "gas", "flood"]),
        drill=st.sampled_from(["", "", '["log"]', '["log","mail"]']),
    ),
    max_size=60,
)


def in_order(rows):
    fit = [
        replace(
            r,
            may_wait=r.may_wait and not is_urgent(r),
            digest=f"{r.digest}-{r.target}" if r.digest and not is_urgent(r) else "",
        )
        for r in rows
    ]
    return [replace(r, id=n) for n, r in enumerate(sorted(fit, key=lambda r: r.level))]


@given(rows=WAITING, room=st.integers(0, 30), is_probing=st.booleans())
def test_red_and_gas_always_go_alone_and_first_and_nothing_goes_twice(rows, room, is_probing):
    waiting = in_order(rows)
    urgent = [w.id for w in waiting if is_urgent(w)]
    chosen = plan(waiting, room, 18, 120_000, is_probing=is_probing)
    sent = [i for s in chosen for i in s.ids]
    assert len(sent) == len(set(sent))
    assert len(chosen) <= room
    alone = [s.ids[0] for s in chosen if not s.is_digest and s.ids[0] in set(urgent)]
    assert alone == urgent[: len(alone)]
    assert not any(i in set(urgent) for s in chosen if s.is_digest for i in s.ids)
    if not is_probing:
        assert len(alone) == min(len(urgent), room)
    for s in chosen:
        assert len({waiting[i].target for i in s.ids}) == 1, "one message, one target"
        if not s.key:
            assert len({waiting[i].drill for i in s.ids}) == 1, "a drill shares no message with what is real"
        assert {waiting[i].digest for i in s.ids} == {s.key}, "what was tried together stays together"


@given(rows=WAITING)
def test_with_room_for_everybody_only_what_may_wait_is_collected(rows):
    waiting = in_order([replace(r, digest="") for r in rows])
    chosen = plan(waiting, 600, 600, 300_000, is_probing=False)
    assert sorted(i for s in chosen for i in s.ids) == [w.id for w in waiting]
    for s in chosen:
        if s.is_digest:
            assert all(waiting[i].may_wait for i in s.ids)


def test_what_may_wait_is_collected_for_a_minute():
    waiting = [Waits(id=n, may_wait=True, created_ms=n * 1000) for n in range(5)]
    assert plan(waiting, 18, 18, HELD_MS - 1, is_probing=False) == []
    assert plan(waiting, 18, 18, HELD_MS, is_probing=False) == [Sending(ids=(0, 1, 2, 3, 4), is_digest=True)]


def test_a_part_of_the_room_is_kept_for_what_must_not_wait():
    waiting = [Waits(id=n) for n in range(17)]
    chosen = plan(waiting, 18, 18, 0, is_probing=False)
    assert chosen == [Sending(ids=tuple(range(17)), is_digest=True)]
    assert plan(waiting, 3, 18, 0, is_probing=False) == [], "three are kept"
    assert len(plan([Waits(id=0, level=RED), *waiting], 3, 18, 0, is_probing=False)) == 1


def test_a_failing_channel_is_probed_with_one_notice_and_nothing_new_is_put_together():
    waiting = [Waits(id=n) for n in range(40)]
    assert plan(waiting, 18, 18, 0, is_probing=True) == [Sending(ids=(0,))]


def test_a_digest_counts_everything_and_names_the_worst_first():
    notices = [
        a_notice(f"k{n}", f"alarm-{n}", level=YELLOW, title=f"T{n}", group="north", created_ms=T0 + n)
        for n in range(12)
    ]
    notices += [a_notice("w", "alarm-w", level=ORANGE, title="worst", kind=NoticeKind.CLEARED)]
    one = compose(notices, key=key_of(n.idem_key for n in notices), channel="robot", public_url="https://city.example")
    assert one.title == "【汇总】13 条通知: 橙1 黄12 · digest of 13 notices: 1 orange, 12 yellow"
    lines = one.body.splitlines()
    assert lines[0] == "新告警 12、恢复 1 · new 12, back to normal 1"
    assert lines[1] == "集中于 mostly north (12)"
    assert lines[2] == "- worst"
    assert lines[-2] == f"另有 {13 - LINES_MAX} 条 · and {13 - LINES_MAX} more"
    assert lines[-1] == "https://city.example/"
    assert (one.level, one.kind, one.subject_kind) == (ORANGE, NoticeKind.DIGEST, "digest")


def test_the_same_notices_make_the_same_message_in_any_order():
    notices = [a_notice(f"k{n}", f"alarm-{n}", title=f"T{n}") for n in range(20)]
    back = notices[::-1]
    key = key_of(n.idem_key for n in notices)
    assert key == key_of(n.idem_key for n in back)
    assert compose(notices, key=key, channel="c") == compose(back, key=key, channel="c")


DESK = ("robot", "desk")


@pytest.fixture
def room(tmp_path):
    made = PostRoom(tmp_path, "robot", "sms", limits={"robot": 18})
    yield made
    made.ledger.close()


def test_a_storm_is_one_message_and_every_row_of_it_says_so(room):
    for number in range(40):
        room.raises(f"a{number}", DESK, level=YELLOW)
    room.after(0)
    (digest,) = room.phones["robot"].took
    rows = room.ledger.outbox_rows(limit=100)
    assert len(rows) == 40
    assert {(r.state, r.digest, r.provider_code) for r in rows} == {("delivered", digest.idem_key, "ok-1")}
    health = room.deliverer.health["robot"]
    assert (health.delivered, health.messages, health.digests) == (40, 1, 1)


def test_red_ones_and_gas_go_alone_before_the_storm(room):
    for number in range(30):
        room.raises(f"a{number}", DESK, level=YELLOW)
    room.raises("gas", DESK, level=YELLOW, domain="gas")
    room.raises("red", DESK, level=RED)
    room.after(0)
    took = room.phones["robot"].took
    assert [n.subject for n in took[:2]] == ["red", "gas"]
    assert len(took) == 3
    assert took[2].kind is NoticeKind.DIGEST


def test_what_may_wait_is_one_message_after_a_minute(room):
    for number in range(5):
        room.raises(f"a{number}", DESK, level=BLUE, may_wait=True, group="north")
    room.run(55)
    assert room.phones["robot"].took == []
    room.run(10)
    (digest,) = room.phones["robot"].took
    assert "digest of 5 notices" in digest.title


def test_one_that_may_wait_alone_is_sent_as_it_is(room):
    room.raises("a1", DESK, level=BLUE, may_wait=True)
    room.run(70)
    assert room.phones["robot"].heard == [("a1", "raised")]


def test_what_was_acknowledged_meanwhile_is_in_no_digest(room):
    for number in range(30):
        room.raises(f"a{number}", DESK, level=YELLOW)
    room.acks("a7")
    room.after(0)
    assert "digest of 29 notices" in room.phones["robot"].took[0].title
    assert room.rows()["a7 raised robot desk"] == "obsolete"


def test_after_a_crash_in_the_middle_the_same_digest_comes_with_the_same_key(room):
    keys = []
    for number in range(30):
        room.raises(f"a{number}", DESK, level=YELLOW)
    room.phones["robot"].does = lambda n: keys.append(n.idem_key)

    class Killed(BaseException):
        pass

    def dies(notice):
        keys.append(notice.idem_key)
        raise Killed

    room.phones["robot"].does = dies
    with pytest.raises(Killed):
        room.after(0)
    room.restart()
    room.phones["robot"].does = lambda n: keys.append(n.idem_key)
    room.raises("later", DESK, level=YELLOW)
    room.run(LEASE_MS // 1000 + 10)
    assert keys[0] == keys[1], "and at once: nobody waits for the lease of the dead"
    assert "digest of 30 notices" in room.phones["robot"].took[0].title
    assert room.states() == {"delivered"}


def test_a_digest_that_could_not_be_delivered_moves_on_whole_with_its_key(tmp_path):
    room = PostRoom(tmp_path, "robot", "sms", ways=Ways({"robot": ("sms",)}), limits={"robot": 18})
    room.phones["robot"].error = away(may_be_taken=True)
    for number in range(20):
        room.raises(f"o{number}", DESK, level=ORANGE)
        room.raises(f"b{number}", DESK, level=BLUE)
    room.after(0)
    room.run(60)
    (tried, *_), (taken, *_) = room.phones["robot"].tried, room.phones["sms"].took
    assert tried.idem_key == taken.idem_key
    assert "digest of 40 notices" in taken.title
    room.ledger.close()


def test_everybody_in_a_digest_hears_the_end_and_nobody_else(room):
    for number in range(30):
        room.raises(f"a{number}", DESK, level=YELLOW)
    room.acks("a3")
    room.after(0)
    for number in range(30):
        room.clears(f"a{number}", DESK)
    room.run(10)
    rows = room.rows()
    assert sum(rows[f"a{n} cleared robot desk"] == "delivered" for n in range(30)) == 29
    assert rows["a3 cleared robot desk"] == "obsolete"


def test_a_restart_does_not_forget_how_much_was_sent_in_this_minute(room):
    for number in range(18):
        room.raises(f"a{number}", DESK, level=RED)
    room.after(0)
    room.raises("next", DESK, level=RED)
    room.restart()
    room.after(20)
    assert len(room.phones["robot"].took) == 18
    room.after(45)
    assert room.phones["robot"].heard[-1] == ("next", "raised")


def test_a_real_robot_that_blocks_after_twenty_a_minute_is_never_driven_into_its_block(tmp_path):
    from alerts.channels.dingtalk import DingTalkChannel

    room = PostRoom(tmp_path, "robot", limits={"robot": 18})
    server = RobotServer("dingtalk", now_ms=lambda: room.now_ms)
    try:
        settings = DingTalkChannel.settings.model_validate({"url": server.url, "timeout_s": 5})
        room.phones["robot"] = DingTalkChannel(settings, tmp_path)
        room.open_desk()
        for minute in range(3):
            for number in range(25):
                room.raises(f"a{minute}-{number}", DESK, level=YELLOW)
            room.raises(f"red{minute}", DESK, level=RED)
            for _ in range(12):
                room.after(5)
        assert room.states() == {"delivered"}
        assert {r.answer for r in server.received} == {"ok"}
        assert len(server.received) < 60
    finally:
        server.close()
        room.ledger.close()


def test_a_blocked_robot_is_probed_once_a_minute_until_it_takes_again(tmp_path):
    from alerts.channels.wecom import WeComChannel

    room = PostRoom(tmp_path, "robot", limits={"robot": 18})
    server = RobotServer("wecom", now_ms=lambda: room.now_ms)
    server.blocked_until_ms = room.now_ms + 600_000  # somebody else's program has used it up
    try:
        settings = WeComChannel.settings.model_validate({"url": server.url, "timeout_s": 5})
        room.phones["robot"] = WeComChannel(settings, tmp_path)
        room.open_desk()
        for number in range(30):
            room.raises(f"a{number}", DESK, level=ORANGE)
        room.run(720, 10)
        refused = [r for r in server.received if not r.is_taken]
        assert 5 <= len(refused) <= 11
        assert room.states() == {"delivered"}
    finally:
        server.close()
        room.ledger.close()


def test_a_wish_to_be_left_alone_is_kept(room):
    error = DeliveryError("HTTP 429", permanent=False, provider_code="429", wait_s=300, may_be_taken=False)
    room.phones["robot"].error = error
    room.raises("a1", DESK, level=RED)
    room.run(290)
    assert len(room.phones["robot"].tried) == 1
