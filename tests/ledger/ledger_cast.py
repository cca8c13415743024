"""The cast of the ledger's tests: Mill Bridge's depth alarm, its order, its record and its notices."""

from dataclasses import replace

from citypulse.model import (
    Alarm,
    AlarmQuality,
    Answer,
    Condition,
    DeadLetter,
    Effects,
    Event,
    Notice,
    NoticeKind,
    OrderState,
    Priority,
    ReadingBatch,
    WorkOrder,
)

T0 = 1_763_777_467_000
MINUTE_MS = 60_000


def an_alarm(number=1, **changes):
    base = Alarm(
        id=f"alarm-{number}",
        dedup_key=f"flood-depth|mill-bridge-{number}.depth",
        occurrence=1,
        rule="flood-depth",
        rule_version="0123456789ab",
        rule_origin="sensors.yaml:41",
        scope=f"mill-bridge-{number}.depth",
        site="mill-bridge",
        area="harbour",
        domain="flood",
        is_diagnostic=False,
        condition=Condition.ACTIVE,
        is_acked=False,
        is_confirmed=True,
        quality=AlarmQuality.GOOD,
        level=Priority.P2,
        peak_level=Priority.P1,
        peak_value=31.5,
        breach_ms=T0,
        raised_ms=T0,
        raised_wall_ms=T0 + number,
        cleared_ms=None,
        stale_ms=None,
        acked_by="",
        acked_ms=None,
        shelved_until_ms=None,
        suppressed_by=("gateway-silent|g1",),
        is_out_of_service=False,
        is_historical=False,
        parent="",
        order_id="",
        because_zh="水深 31.5 cm ≥ 27 cm",
        because_en="depth 31.5 cm ≥ 27 cm",
        rev=1,
    )
    return replace(base, **changes)


def an_order(serial=1, day="20251122", **changes):
    base = WorkOrder(
        id=f"WO-{day}-{serial:04d}",
        kind="dispatch",
        state=OrderState.DISPATCHED,
        cause="flood-depth",
        asset="mill-bridge",
        area="harbour",
        domain="flood",
        level=Priority.P2,
        template="pump",
        alarm_ids=("alarm-1",),
        watched=("mill-bridge-1.depth",),
        verify_for_s=1800.0,
        coverage=0.8,
        team="crew-ada",
        unit="drainage",
        handler="",
        opened_ms=T0 + serial,
        state_ms=T0,
        due_ms=T0 + 7_200_000,
        first_due_ms=T0 + 7_200_000,
        fed_back_ms=None,
        checked_by="",
        rework_count=0,
        recurrence_of="",
        extensions=0,
        paused_s=0.0,
        paused_since_ms=None,
        is_supervised=False,
        is_exercise=False,
        note="",
        rev=1,
    )
    return replace(base, **changes)


def an_event(subject="alarm-1", rev=1, **changes):
    base = Event(
        subject=subject,
        subject_kind="alarm",
        rev=rev,
        kind="raised",
        event_ms=T0,
        wall_ms=T0 + 5,
        actor="citypulse",
        actor_role="system",
        from_state="normal",
        to_state="active",
        because="水深 31.5 cm ≥ 27 cm (sensors.yaml:41)",
        data={"value": 31.5, "limits": [27.0]},
    )
    return replace(base, **changes)


def a_notice(key="k1", subject="alarm-1", **changes):
    base = Notice(
        idem_key=key,
        subject=subject,
        subject_kind="alarm",
        rev=1,
        kind=NoticeKind.RAISED,
        step=0,
        channel="desk",
        target="duty",
        level=Priority.P2,
        title="下穿积水",
        body="Mill Bridge 31.5 cm",
        reason="sensors.yaml:88",
        created_ms=T0,
        not_before_ms=T0,
    )
    return replace(base, **changes)


def a_letter(payload=b"{", **changes):
    base = DeadLetter(
        topic="city/v1/g1/readings",
        payload=payload,
        reason="json_syntax",
        detail="byte 1",
        gateway="g1",
        received_ms=T0,
    )
    return replace(base, **changes)


def an_answer(command="c1", **changes):
    return replace(Answer(command=command, ok=True, message="done", allowed=("reset",), subject="alarm-1"), **changes)


def some_readings(n=5, start_ms=T0, sensor=None):
    return ReadingBatch.of(
        [i % 3 for i in range(n)] if sensor is None else sensor,
        [start_ms + 1000 * i for i in range(n)],
        [float(i) / 7 for i in range(n)],
        [start_ms + 1000 * i + 40 for i in range(n)],
    )


def effects_of(*, alarms=(), orders=(), events=(), notices=(), answers=(), obsolete=()):
    return Effects(
        alarms={a.id: a for a in alarms},
        orders={o.id: o for o in orders},
        events=list(events),
        notices=list(notices),
        answers=list(answers),
        obsolete=list(obsolete),
    )
