"""Notices on their way out: leased once at a time, tried again after a death, dropped when no longer wanted."""

import threading

import pytest

from citypulse.ledger import Ledger, Tick
from citypulse.model import NoticeKind, Priority
from tests.ledger.ledger_cast import T0, a_notice, an_alarm, effects_of

LEASE_MS = 30_000


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(tmp_path)
    yield opened
    opened.close()


def put(ledger, *notices, obsolete=()):
    number = ledger.last_tick + 1
    ledger.commit(Tick(number=number, now_ms=T0, effects=effects_of(notices=notices, obsolete=obsolete)))


def states(ledger):
    return {row.notice.idem_key: row.state for row in ledger.outbox_rows()}


def test_a_notice_is_leased_to_one_sender_at_a_time(ledger):
    put(ledger, a_notice())
    (leased,) = ledger.outbox.lease(T0, 10, LEASE_MS)
    assert leased.notice == a_notice()
    assert leased.attempt == 1
    assert ledger.outbox.lease(T0 + LEASE_MS - 1, 10, LEASE_MS) == []


def test_many_senders_at_once_never_get_the_same_notice(ledger):
    put(ledger, *(a_notice(f"k{i}", f"alarm-{i}") for i in range(60)))
    got = []

    def send():
        while leased := ledger.outbox.lease(T0, 3, LEASE_MS):
            got.extend(one.id for one in leased)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(row.id for row in ledger.outbox_rows())


def test_a_lease_that_runs_out_means_try_again_with_the_same_key(ledger):
    put(ledger, a_notice())
    (first,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    (second,) = ledger.outbox.lease(T0 + LEASE_MS, 1, LEASE_MS)
    assert second.attempt == 2
    assert second.notice.idem_key == first.notice.idem_key
    assert not ledger.outbox.is_wanted(first)
    assert ledger.outbox.is_wanted(second)


def test_the_dead_senders_late_word_does_not_undo_the_living_ones(ledger):
    put(ledger, a_notice())
    (late,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    (living,) = ledger.outbox.lease(T0 + LEASE_MS, 1, LEASE_MS)
    assert not ledger.outbox.failed(late, error="no such number")
    assert not ledger.outbox.retry(late, next_at_ms=T0, error="timeout")
    assert ledger.outbox.is_wanted(living)


def test_a_delivery_is_a_fact_even_when_the_lease_has_run_out(ledger):
    put(ledger, a_notice())
    (late,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    ledger.outbox.lease(T0 + LEASE_MS, 1, LEASE_MS)
    ledger.outbox.delivered(late, now_ms=T0 + LEASE_MS + 1, provider_code="250 OK")
    (row,) = ledger.outbox_rows(subject="alarm-1")
    assert (row.state, row.provider_code, row.delivered_ms) == ("delivered", "250 OK", T0 + LEASE_MS + 1)
    assert ledger.outbox.lease(T0 + 10 * LEASE_MS, 1, LEASE_MS) == []


def test_a_retry_waits_until_its_time(ledger):
    put(ledger, a_notice())
    (leased,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    assert ledger.outbox.retry(leased, next_at_ms=T0 + 5000, error="HTTP 503", provider_code="503")
    assert ledger.outbox.lease(T0 + 4999, 1, LEASE_MS) == []
    (again,) = ledger.outbox.lease(T0 + 5000, 1, LEASE_MS)
    assert again.attempt == 2
    (row,) = ledger.outbox_rows(state="leased")
    assert (row.last_error, row.provider_code) == ("HTTP 503", "503")


def test_a_notice_waits_until_its_own_earliest_time(ledger):
    put(ledger, a_notice(not_before_ms=T0 + 60_000))
    assert ledger.outbox.lease(T0, 1, LEASE_MS) == []
    assert len(ledger.outbox.lease(T0 + 60_000, 1, LEASE_MS)) == 1


def test_refused_and_given_up_are_told_apart_and_can_be_revived(ledger):
    put(ledger, a_notice("k1", "alarm-1"), a_notice("k2", "alarm-2"))
    one, two = ledger.outbox.lease(T0, 2, LEASE_MS)
    assert ledger.outbox.failed(one, error="unknown user", provider_code="404")
    assert ledger.outbox.give_up(two, error="after 8 attempts")
    assert states(ledger) == {"k1": "failed", "k2": "dead"}
    assert ledger.outbox.revive(one.id, now_ms=T0)
    assert not ledger.outbox.revive(999, now_ms=T0)
    assert [leased.attempt for leased in ledger.outbox.lease(T0, 2, LEASE_MS)] == [1]


def test_what_is_obsolete_is_not_sent_any_more_but_what_was_sent_stays_sent(ledger):
    put(ledger, a_notice("k1", "alarm-1"), a_notice("k2", "alarm-1", target="lead"), a_notice("k3", "alarm-2"))
    first = next(one for one in ledger.outbox.lease(T0, 3, LEASE_MS) if one.notice.idem_key == "k1")
    ledger.outbox.delivered(first, now_ms=T0)
    put(ledger, obsolete=[("alarm-1", "acknowledged by Ada")])
    assert states(ledger) == {"k1": "delivered", "k2": "obsolete", "k3": "leased"}
    assert [row.last_error for row in ledger.outbox_rows(state="obsolete")] == ["acknowledged by Ada"]


def test_a_sender_asks_once_more_just_before_it_sends(ledger):
    put(ledger, a_notice())
    (leased,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    assert ledger.outbox.is_wanted(leased)
    put(ledger, obsolete=[("alarm-1", "acknowledged")])
    assert not ledger.outbox.is_wanted(leased)


def test_what_the_same_tick_announces_outlives_its_own_obsolete(ledger):
    put(ledger, a_notice("k1"))
    put(ledger, a_notice("k2", kind=NoticeKind.CLEARED), obsolete=[("alarm-1", "cleared")])
    assert states(ledger) == {"k1": "obsolete", "k2": "pending"}


def test_the_same_key_is_put_out_once(ledger):
    put(ledger, a_notice())
    put(ledger, a_notice(title="again"))
    assert [row.notice.title for row in ledger.outbox_rows()] == ["下穿积水"]


def test_nobody_hears_cleared_before_raised(ledger):
    put(ledger, a_notice("k1"))
    put(ledger, a_notice("k2", kind=NoticeKind.CLEARED), a_notice("k3", kind=NoticeKind.CLEARED, target="lead"))
    leased = ledger.outbox.lease(T0, 10, LEASE_MS)
    assert [one.notice.idem_key for one in leased] == ["k1", "k3"]
    ledger.outbox.retry(leased[0], next_at_ms=T0 + 100, error="busy")
    assert ledger.outbox.lease(T0, 10, LEASE_MS) == []
    (first,) = ledger.outbox.lease(T0 + 100, 10, LEASE_MS)
    ledger.outbox.delivered(first, now_ms=T0 + 100)
    assert [one.notice.idem_key for one in ledger.outbox.lease(T0 + 100, 10, LEASE_MS)] == ["k2"]


def test_the_most_serious_goes_first_whatever_came_first(ledger):
    levels = (Priority.P4, Priority.P1, Priority.P3)
    put(ledger, *(a_notice(f"k{level}", f"alarm-{level}", level=level) for level in levels))
    assert [one.notice.level for one in ledger.outbox.lease(T0, 2, LEASE_MS)] == [Priority.P1, Priority.P3]


def test_a_dead_channel_does_not_hold_the_others_up(ledger):
    put(ledger, *(a_notice(f"k{i}", f"alarm-{i}", channel="sms") for i in range(5)), a_notice("mail", channel="mail"))
    (only,) = ledger.outbox.lease(T0, 1, LEASE_MS, channels=["mail"])
    assert only.notice.idem_key == "mail"


def test_old_finished_notices_are_forgotten_and_waiting_ones_never(ledger):
    put(ledger, a_notice("k1", "alarm-1"), a_notice("k2", "alarm-2"))
    done = next(one for one in ledger.outbox.lease(T0, 1, LEASE_MS))
    ledger.outbox.delivered(done, now_ms=T0)
    assert ledger.outbox.prune(before_ms=T0 + 1) == 1
    assert states(ledger) == {"k2": "pending"}


def test_a_restart_forgets_no_notice_and_waits_for_no_lease_of_the_dead(tmp_path):
    first = Ledger.open(tmp_path / "again")
    put(first, a_notice("k1", "alarm-1"), a_notice("k2", "alarm-2"))
    first.outbox.lease(T0, 1, LEASE_MS)
    first.close()
    second = Ledger.open(tmp_path / "again")
    assert sorted(states(second).values()) == ["leased", "pending"]
    assert len(second.outbox.lease(T0, 9, LEASE_MS)) == 2
    assert {r.notice.idem_key: r.maybe_by for r in second.outbox_rows()} == {"k1": "desk", "k2": ""}
    second.close()


def test_whether_a_target_may_have_heard_of_a_subject_is_known(ledger):
    put(ledger, a_notice("k1"))
    (raised,) = ledger.outbox.lease(T0, 1, LEASE_MS)
    assert not ledger.outbox.has_heard(raised)
    ledger.outbox.delivered(raised, now_ms=T0)
    put(ledger, a_notice("k2", kind=NoticeKind.CLEARED), a_notice("k3", kind=NoticeKind.CLEARED, target="lead"))
    same, other = ledger.outbox.lease(T0, 2, LEASE_MS)
    assert ledger.outbox.has_heard(same)
    assert not ledger.outbox.has_heard(other)
    assert ledger.outbox.obsolete(other, reason="never told of it")
    assert not ledger.outbox.obsolete(other, reason="twice")
    assert states(ledger) == {"k1": "delivered", "k2": "leased", "k3": "obsolete"}


def test_a_call_about_an_acknowledged_alarm_is_not_wanted_but_its_end_is(ledger):
    seen_to = an_alarm(is_acked=True)
    ledger.commit(Tick(number=1, now_ms=T0, effects=effects_of(alarms=[seen_to])))
    put(ledger, a_notice("call", seen_to.id, kind=NoticeKind.RAISED))
    (call,) = ledger.outbox.lease(T0, 10, LEASE_MS)
    assert not ledger.outbox.is_wanted(call)
    ledger.outbox.obsolete(call, reason="test")
    put(ledger, a_notice("end", seen_to.id, kind=NoticeKind.CLEARED))
    (end,) = ledger.outbox.lease(T0, 10, LEASE_MS)
    assert ledger.outbox.is_wanted(end)


def test_what_later_news_overtakes_before_it_was_sent_is_dropped(ledger):
    put(ledger, a_notice("first", "alarm-1", kind=NoticeKind.RAISED))
    put(ledger, a_notice("second", "alarm-1", kind=NoticeKind.WORSENED))
    put(ledger, a_notice("other", "alarm-2", kind=NoticeKind.RAISED))
    leased = ledger.outbox.lease(T0, 10, LEASE_MS)
    assert sorted(one.notice.idem_key for one in leased) == ["other", "second"]
    assert states(ledger)["first"] == "obsolete"
