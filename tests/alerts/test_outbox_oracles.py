"""What Alertmanager and GoAlert promise of delivery, as behaviour, with the differences declared.

Sources: prometheus/alertmanager `test/with_api_v2/acceptance/send_test.go` (TestMergeAlerts, TestRepeat, TestRetry,
TestBatching, TestResolved, TestResolvedFilter, TestColdStart, TestReload) and target/goalert
`engine/message/dedupalerts_test.go`, `throttle_test.go`, `queue_test.go`, `test/smoke`. Facts only, told in our words.

Declared differences
- Alertmanager groups by labels and sends a group again whole when one of it changes; here each notice is a message of
  its own, and several go together only under a rate limit or when they may wait.
- Alertmanager repeats every `repeat_interval` while an alert is firing; here escalation makes reminders, with a key
  each, and what was delivered is never sent again.
- Alertmanager's `send_resolved: false` is by receiver; here an end goes to exactly those who heard the beginning.
- GoAlert gives up after three tries 15 s apart and fails what it was sending when it crashed; here a lease that ran out
  means another try with the same key.
- GoAlert tells status changes to subscribers but not to who caused them; here acknowledging tells nobody by message, so
  nobody can be told of his own doing; the end goes to all who were called, whoever acknowledged.
- GoAlert may hold an urgent text back by its throttles; here a red notice without room takes another channel.
"""

from __future__ import annotations

import pytest
import stamina

from alerts.delivery.failover import Ways
from alerts.delivery.outbox import LEASE_MS
from citypulse.model import NoticeKind
from tests.support.posting import ORANGE, RED, YELLOW, PostRoom, away


@pytest.fixture(autouse=True)
def no_quick_retries():
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


ONE, TWO = ("one", "desk"), ("two", "desk")


@pytest.fixture
def room(tmp_path):
    made = PostRoom(tmp_path, "one", "two")
    yield made
    made.ledger.close()


# Alertmanager


def test_retry_one_of_two_webhooks_failing_does_not_send_the_good_one_again(room):
    room.phones["two"].error = away()
    room.raises("a1", ONE, TWO)
    room.run(300)
    assert room.phones["one"].heard == [("a1", "raised")]
    assert len(room.phones["two"].tried) > 3
    room.phones["two"].error = None
    room.run(120)
    assert room.phones["one"].heard == room.phones["two"].heard == [("a1", "raised")]


def test_merge_what_came_twice_before_it_was_sent_is_told_once_with_the_last_words(room):
    room.raises("a1", ONE, level=ORANGE)
    room.worsens("a1", ONE, level=RED)
    while room.after(0):
        pass
    assert room.phones["one"].heard == [("a1", "worsened")]


def test_merge_an_alarm_that_comes_again_is_new(room):
    room.raises("a1#1", ONE)
    room.clears("a1#1", ONE)
    room.run(10)
    room.raises("a1#2", ONE)
    room.run(10)
    assert room.phones["one"].heard == [("a1#1", "raised"), ("a1#1", "cleared"), ("a1#2", "raised")]


def test_repeat_what_was_delivered_is_not_sent_again_however_long_it_lasts(room):
    room.raises("a1", ONE)
    room.run(7_200, 60)
    assert room.phones["one"].heard == [("a1", "raised")]


def test_repeat_a_reminder_is_a_message_of_its_own(room):
    room.raises("a1", ONE)
    room.after(0)
    room.commit(notices=[room.notice("a1", NoticeKind.REMINDER, "one", "desk", step=1)])
    room.after(0)
    keys = [n.idem_key for n in room.phones["one"].took]
    assert len(set(keys)) == 2


def test_resolved_comes_once_and_last(room):
    room.raises("a1", ONE, TWO)
    room.after(0)
    room.clears("a1", ONE, TWO)
    room.run(60)
    for phone in room.phones.values():
        assert phone.heard == [("a1", "raised"), ("a1", "cleared")]


def test_resolved_filter_only_who_heard_the_beginning_hears_the_end(room):
    room.raises("a1", ONE)
    room.after(0)
    room.clears("a1", ONE, TWO)
    room.run(30)
    assert room.phones["one"].heard == [("a1", "raised"), ("a1", "cleared")]
    assert room.phones["two"].heard == []


def test_resolved_of_a_silenced_alarm_still_arrives(room):
    room.raises("a1", ONE)
    room.after(0)
    room.acks("a1")
    room.clears("a1", ONE)
    room.run(10)
    assert room.phones["one"].heard[-1] == ("a1", "cleared")


def test_cold_start_what_waited_before_the_start_is_sent_once_after_it(room):
    room.raises("a1", ONE)
    room.restart()
    room.run(30)
    room.restart()
    room.run(30)
    assert room.phones["one"].heard == [("a1", "raised")]


def test_cold_start_what_was_hidden_before_the_start_is_not_sent_after_it(room):
    room.raises("a1", ONE)
    room.acks("a1")
    room.restart()
    room.run(30)
    assert room.phones["one"].heard == []


def test_reload_sends_nothing_twice(room):
    room.raises("a1", ONE)
    room.after(0)
    room.open_desk()  # a changed configuration brings its own deliverer
    room.run(60)
    room.raises("a2", ONE)
    room.after(0)
    assert room.phones["one"].heard == [("a1", "raised"), ("a2", "raised")]


def test_batching_all_that_waits_under_a_limit_arrives_in_few_messages(tmp_path):
    room = PostRoom(tmp_path, "one", limit=18)
    for number in range(100):
        room.raises(f"a{number}", ONE, level=YELLOW)
    room.run(120)
    assert room.states() == {"delivered"}
    assert len(room.phones["one"].took) <= 18
    room.ledger.close()


# GoAlert


def test_dedup_after_an_outage_each_way_gets_one_call_an_alarm_and_not_each_missed_one(room):
    room.phones["one"].does = lambda _n: None
    room.raises("a1", ONE, level=YELLOW)
    for level in (ORANGE, RED):
        room.worsens("a1", ONE, level=level)
        room.commit(notices=[room.notice("a1", NoticeKind.WORSENED, "one", "desk", rev=3 + level, level=level)])
    room.now_ms += 3_600_000
    room.run(30)
    assert len(room.phones["one"].took) == 1


def test_dedup_leaves_what_was_sent_alone_and_looks_at_each_way_by_itself(room):
    room.raises("a1", ONE, TWO)
    room.after(0)
    room.worsens("a1", TWO)
    room.after(0)
    assert room.phones["one"].heard == [("a1", "raised")]
    assert room.phones["two"].heard == [("a1", "raised"), ("a1", "worsened")]


def test_throttle_a_way_never_takes_more_than_its_limit_in_any_minute(tmp_path):
    room = PostRoom(tmp_path, "one", limit=5)
    sent = []
    room.phones["one"].does = lambda _n: sent.append(room.now_ms)
    for number in range(40):
        room.raises(f"a{number}", ONE, level=RED if number % 2 else YELLOW)
        room.after(3)
    room.run(300, 3)
    assert room.states() == {"delivered"}
    for at in sent:
        assert sum(at - 60_000 < other <= at for other in sent) <= 5
    room.ledger.close()


def test_throttle_an_urgent_one_takes_another_way_instead_of_waiting(tmp_path):
    room = PostRoom(tmp_path, "one", "two", ways=Ways({"one": ("two",)}), limits={"one": 1})
    room.raises("a1", ONE)
    room.raises("a2", ONE)
    room.run(15, 1)
    assert room.phones["two"].heard == [("a2", "raised")]
    room.ledger.close()


def test_queue_the_most_serious_and_then_the_oldest_goes_first(tmp_path):
    room = PostRoom(tmp_path, "one")
    for subject, level in (("y1", YELLOW), ("o1", ORANGE), ("r1", RED), ("o2", ORANGE), ("r2", RED)):
        room.raises(subject, ONE, level=level)
    room.after(0)
    assert [n.subject for n in room.phones["one"].took] == ["r1", "r2", "o1", "o2", "y1"]
    room.ledger.close()


def test_escalation_stops_at_the_acknowledgement_even_for_what_is_already_queued(room):
    room.phones["two"].error = away()
    room.raises("a1", ONE, TWO)
    room.after(0)
    room.acks("a1")
    room.phones["two"].error = None
    room.run(600, 30)
    assert room.phones["two"].heard == []


def test_a_crash_in_the_middle_of_a_send_loses_nothing(room):
    room.raises("a1", ONE)
    room.ledger.outbox.lease(room.now_ms, 1, LEASE_MS, channels=["one"])
    room.restart()
    room.run(LEASE_MS // 1000 + 10)
    assert room.phones["one"].heard == [("a1", "raised")]


def test_a_lone_end_that_a_dead_sender_held_counts_as_covered_by_no_message(room):
    room.commit(notices=[room.notice("a1", NoticeKind.CLEARED, "one", "desk", rev=9)])
    (waiting,) = room.ledger.outbox.waiting(room.now_ms, "one", 10)
    room.ledger.outbox.take([waiting.id], now_ms=room.now_ms, lease_ms=60_000, digest="d" * 64)
    room.restart()
    room.after(1)
    (row,) = room.ledger.outbox_rows()
    assert (row.state, row.digest, row.maybe_by, row.attempts) == ("obsolete", "", "", 2)
    assert room.phones["one"].took == []
