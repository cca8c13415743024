"""What pages, the CLI and a restart read. Every function may be called from any thread; none of them can write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa

from citypulse.model import Alarm, Answer, Condition, Exercise, Mute, OrderState, Priority, Storm, WorkOrder

from . import schema as s
from .chain import GENESIS, START, Head, verify
from .commit import DEAD_BYTES, DEAD_ROWS, HEAD_KEY, PUSHED_OUT_BYTES, PUSHED_OUT_ROWS
from .paging import behind
from .sqlite import Reader
from .tick import Counts, DeadRow, EventRow, GatewayRow, OpenState, OutboxRow, Verdict

RECENT_MS = 2 * 3600 * 1000  # raises longer ago are no part of any chatter
RELAPSE_MS = 72 * 3600 * 1000  # a closed order may be reopened for this long (domain.md 2.5)
ROTA_EVENTS_MAX = 5_000  # newest stand-ins and hand-overs a restart reads: years of them
ENDED = (OrderState.CLOSED, OrderState.REJECTED, OrderState.CANCELLED)

_a = s.alarm.c
_IS_OPEN = _a.condition != Condition.NORMAL.value
# OPC UA's retain: still true, not seen, or seen with a repair that is not proven yet.
_IS_RETAINED = sa.or_(_IS_OPEN, _a.is_acked.is_(False), _a.is_confirmed.is_(False), _a.chatter_since_ms.is_not(None))
ALARM_STATES: Mapping[str, sa.ColumnElement[bool]] = {
    "open": _IS_OPEN,
    "retained": _IS_RETAINED,
    "unacked": _a.is_acked.is_(False),
    "stale": sa.and_(_IS_OPEN, _a.stale_ms.is_not(None)),
    "shelved": _a.shelved_until_ms.is_not(None),
    "out_of_service": _a.is_out_of_service.is_(True),
    "suppressed": sa.and_(_IS_RETAINED, _a.suppressed_by != "[]"),
    "historical": _a.is_historical.is_(True),
    "all": sa.true(),
}
"""What `alarms(state=…)` understands."""


class Reads:
    """Read functions over a pool of read-only connections; each call sees one consistent state."""

    def __init__(self, reader: Reader) -> None:
        """Read through `reader`."""
        self._reader = reader

    def _rows(self, statement: sa.Select[Any]) -> list[sa.Row[Any]]:
        with self._reader.connection() as connection:
            return list(connection.execute(statement).all())

    # ── alarms ──────────────────────────────────────────────────────────────────────────────────

    def alarms(
        self,
        *,
        state: str = "retained",
        site: str = "",
        domain: str = "",
        rule: str = "",
        scope: str = "",
        at_least: Priority | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 200,
        before: str = "",
        after: Sequence[int | str] = (),
        serious_first: bool = False,
    ) -> list[Alarm]:
        """Return alarms, newest first by the time we knew, or most serious first; state is a key of ALARM_STATES.

        `before` is the id of the last alarm of the previous page (only with newest first), `after` its sort key:
        ([level when serious_first,] raised_wall_ms, id). since_ms and until_ms bound raised_wall_ms: [since, until).
        """
        if state not in ALARM_STATES:
            raise ValueError(f"alarm state {state!r} is not known: use one of {', '.join(ALARM_STATES)}")
        query = sa.select(s.alarm).where(ALARM_STATES[state]).limit(limit)
        for column, wanted in ((_a.site, site), (_a.domain, domain), (_a.rule, rule), (_a.scope, scope)):
            if wanted:
                query = query.where(column == wanted)
        if at_least is not None:
            query = query.where(_a.level <= int(at_least))
        if since_ms is not None:
            query = query.where(_a.raised_wall_ms >= since_ms)
        if until_ms is not None:
            query = query.where(_a.raised_wall_ms < until_ms)
        if before:
            last = sa.select(_a.raised_wall_ms).where(_a.id == before).scalar_subquery()
            query = query.where(sa.tuple_(_a.raised_wall_ms, _a.id) < sa.tuple_(last, sa.literal(before)))
        if after:
            query = query.where(behind(after, level=_a.level, at_ms=_a.raised_wall_ms, name=_a.id))
        newest = (_a.raised_wall_ms.desc(), _a.id.desc())
        query = query.order_by(_a.level, *newest) if serious_first else query.order_by(*newest)
        return [s.ALARMS.noun(row) for row in self._rows(query)]

    def alarm(self, alarm_id: str) -> Alarm | None:
        """Return one alarm, or None."""
        found = self._rows(sa.select(s.alarm).where(_a.id == alarm_id))
        return s.ALARMS.noun(found[0]) if found else None

    # ── work orders ─────────────────────────────────────────────────────────────────────────────

    def orders(
        self,
        *,
        is_open: bool | None = None,
        state: OrderState | None = None,
        team: str = "",
        area: str = "",
        domain: str = "",
        asset: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int = 200,
        before: str = "",
        after: Sequence[int | str] = (),
        serious_first: bool = False,
    ) -> list[WorkOrder]:
        """Return work orders, newest first, or most serious first; paging and bounds (opened_ms) as in `alarms`."""
        o = s.work_order.c
        query = sa.select(s.work_order).limit(limit)
        if is_open is not None:
            ended = o.state.in_([e.value for e in ENDED])
            query = query.where(~ended if is_open else ended)
        if state is not None:
            query = query.where(o.state == state.value)
        for column, wanted in ((o.team, team), (o.area, area), (o.domain, domain), (o.asset, asset)):
            if wanted:
                query = query.where(column == wanted)
        if since_ms is not None:
            query = query.where(o.opened_ms >= since_ms)
        if until_ms is not None:
            query = query.where(o.opened_ms < until_ms)
        if before:
            last = sa.select(o.opened_ms).where(o.id == before).scalar_subquery()
            query = query.where(sa.tuple_(o.opened_ms, o.id) < sa.tuple_(last, sa.literal(before)))
        if after:
            query = query.where(behind(after, level=o.level, at_ms=o.opened_ms, name=o.id))
        newest = (o.opened_ms.desc(), o.id.desc())
        query = query.order_by(o.level, *newest) if serious_first else query.order_by(*newest)
        return [s.ORDERS.noun(row) for row in self._rows(query)]

    def order(self, order_id: str) -> WorkOrder | None:
        """Return one work order, or None."""
        found = self._rows(sa.select(s.work_order).where(s.work_order.c.id == order_id))
        return s.ORDERS.noun(found[0]) if found else None

    # ── the record ──────────────────────────────────────────────────────────────────────────────

    def events(
        self, *, subject: str = "", since_seq: int = 0, limit: int = 500, newest: bool = False
    ) -> list[EventRow]:
        """Return lines with seq > since_seq in order of seq, of one alarm or order, or of all.

        `newest` takes the last `limit` lines instead of the first; they still come in order of seq.
        """
        e = s.event.c
        query = sa.select(s.event).where(e.seq > since_seq).limit(limit)
        if subject:
            query = query.where(e.subject == subject)
        rows: list[Any] = self._rows(query.order_by(e.seq.desc() if newest else e.seq))
        if newest:
            rows.reverse()
        return [EventRow(seq=row[0], event=s.EVENTS.noun(row[1:-2]), prev_hash=row[-2], hash=row[-1]) for row in rows]

    def hashes(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return the hashes of these lines by seq; 0 stands before the first line."""
        e = s.event.c
        found = {0: GENESIS}
        for start in range(0, len(numbers), 500):
            part = list(numbers[start : start + 500])
            rows: list[Any] = self._rows(sa.select(e.seq, e.hash).where(e.seq.in_(part)))
            found |= {row[0]: row[1] for row in rows}
        return found

    def kept_lines(self, subjects: Sequence[str], *, limit: int = 20_000) -> dict[int, list[Any]]:
        """Return, by seq, the columns of these subjects' lines exactly as they are kept, which is what is hashed."""
        e = s.event.c
        columns: list[Any] = [e.seq, *(e[name] for name in s.EVENTS.names)]
        raw: list[Any] = [sa.type_coerce(c, sa.types.NullType()) for c in columns]
        query = sa.select(*raw).where(e.subject.in_(list(subjects))).order_by(e.seq).limit(limit)
        return {row[0]: list(row[1:]) for row in self._rows(query)}

    def verify(self, first: int = 1, last: int | None = None) -> Verdict:
        """Check the hash chain of lines first … last (None: to the end, which must then be the head kept beside it)."""
        e = s.event.c
        first = max(first, 1)
        columns = [e.seq, *(e[name] for name in s.EVENTS.names), e.prev_hash, e.hash]
        # Raw column types: what is hashed is what is kept, not what it decodes to.
        query = sa.select(*(sa.type_coerce(c, sa.types.NullType()) for c in columns)).where(e.seq >= first)
        if last is not None:
            query = query.where(e.seq <= last)
        with self._reader.connection() as connection:
            kept = connection.execute(sa.select(s.meta.c.value).where(s.meta.c.key == HEAD_KEY)).scalar()
            head = Head.parse(kept) if kept else START
            since = START
            if first > 1:
                before = connection.execute(sa.select(e.hash).where(e.seq == first - 1)).scalar()
                since = Head(first - 1, before or GENESIS)
            is_whole = last is None or last >= head.seq
            rows = connection.execute(query.order_by(e.seq), execution_options={"yield_per": 1000})
            verdict = verify((tuple(row) for row in rows), since=since, head=head if is_whole else None)
        return replace(verdict, head_seq=head.seq, head_hash=head.hash)

    # ── notices, rubbish, gateways, answers ─────────────────────────────────────────────────────

    def outbox_rows(
        self,
        *,
        state: str = "",
        subject: str = "",
        channel: str = "",
        number: int | None = None,
        limit: int = 200,
        before: int | None = None,
    ) -> list[OutboxRow]:
        """Return notices with their delivery, newest first; `channel` is its own or the one it is sent by.

        `before` is the id of the last one of the previous page.
        """
        o = s.outbox.c
        query = sa.select(s.outbox).order_by(o.id.desc()).limit(limit)
        if state:
            query = query.where(o.state == state)
        if subject:
            query = query.where(o.subject == subject)
        if channel:
            query = query.where(sa.or_(o.channel == channel, o.via == channel))
        if number is not None:
            query = query.where(o.id == number)
        if before is not None:
            query = query.where(o.id < before)
        n = 1 + len(s.NOTICES.names)
        return [
            OutboxRow(
                id=row[0],
                notice=s.NOTICES.noun(row[1:n]),
                state=row.state,
                attempts=row.attempts,
                next_at_ms=row.next_at_ms,
                lease_until_ms=row.lease_until_ms,
                provider_code=row.provider_code,
                delivered_ms=row.delivered_ms,
                last_error=row.last_error,
                via=row.via,
                path=row.path,
                digest=row.digest,
                tried_ms=row.tried_ms,
                maybe_by=row.maybe_by,
            )
            for row in self._rows(query)
        ]

    def waiting_by_channel(self) -> dict[str, tuple[int, int]]:
        """Return, by the channel they are to be sent by, how many notices wait and since when the oldest does."""
        o = s.outbox.c
        query = sa.select(o.via, sa.func.count(), sa.func.min(o.created_ms)).where(sa.text(s.WAITING)).group_by(o.via)
        rows: list[Any] = self._rows(query)
        return {row[0]: (row[1], row[2]) for row in rows}

    def dead_letters(
        self,
        *,
        reason: str = "",
        gateway: str = "",
        is_replayed: bool | None = None,
        limit: int = 200,
        before: int | None = None,
    ) -> list[DeadRow]:
        """Return dead letters, newest first; `before` is the id of the last one of the previous page."""
        d = s.dead_letter.c
        query = sa.select(s.dead_letter).order_by(d.id.desc()).limit(limit)
        if reason:
            query = query.where(d.reason == reason)
        if gateway:
            query = query.where(d.gateway == gateway)
        if is_replayed is not None:
            query = query.where(d.replayed_ms.is_not(None) if is_replayed else d.replayed_ms.is_(None))
        if before is not None:
            query = query.where(d.id < before)
        n = 1 + len(s.LETTERS.names)
        return [
            DeadRow(id=row[0], letter=s.LETTERS.noun(row[1:n]), tick=row.tick, replayed_ms=row.replayed_ms)
            for row in self._rows(query)
        ]

    def gateways(self) -> list[GatewayRow]:
        """Return the numbering of every gateway and boot, by gateway, last heard first."""
        g = s.gateway.c
        return [s.GATEWAYS.noun(row) for row in self._rows(sa.select(s.gateway).order_by(g.gateway, g.heard_ms.desc()))]

    def answer_of(self, command_id: str) -> Answer | None:
        """Return what came of a command already done, or None: the same id is then not done again."""
        found = self._rows(sa.select(s.command_answer.c.answer).where(s.command_answer.c.command == command_id))
        return msgspec.json.decode(found[0][0], type=Answer) if found else None

    def known_sensor_ids(self) -> tuple[str, ...]:
        """Return the sensor ids by index, retired ones included."""
        return tuple(row[0] for row in self._rows(sa.select(s.sensor_index.c.id).order_by(s.sensor_index.c.idx)))

    def config_files(self, fingerprint: str) -> dict[str, str]:
        """Return the whole text of each file of a configuration that was in force, by name; empty when unknown."""
        c = s.config_version.c
        found = self._rows(sa.select(c.files).where(c.fingerprint == fingerprint))
        return msgspec.json.decode(found[0][0], type=dict[str, str]) if found else {}

    def config_at(self, at_ms: int) -> str:
        """Return the fingerprint of the configuration that was in force at `at_ms`, "" before the first.

        It is the one last put into force before then. Of one that came back several times only the first and the last
        time are known.
        """
        c = s.config_version.c
        times = sa.union_all(
            sa.select(c.fingerprint, c.first_ms.label("at_ms")), sa.select(c.fingerprint, c.last_ms.label("at_ms"))
        ).subquery()
        newest = sa.select(times.c.fingerprint).where(times.c.at_ms <= at_ms).order_by(times.c.at_ms.desc()).limit(1)
        found = self._rows(newest)
        return str(found[0][0]) if found else ""

    def meta(self, key: str) -> str:
        """Return a value kept about the ledger itself, or ""."""
        found = self._rows(sa.select(s.meta.c.value).where(s.meta.c.key == key))
        return str(found[0][0]) if found else ""

    # ── the whole ───────────────────────────────────────────────────────────────────────────────

    def load_open(self, now_ms: int | None = None) -> OpenState:
        """Return what the desk needs after a restart; `now_ms` (default: the last tick's) dates the relapse window."""
        o = s.work_order.c
        with self._reader.connection() as connection:
            run = connection.execute
            tick, then = _last_tick(connection)
            closed_since = (then if now_ms is None else now_ms) - RELAPSE_MS
            is_wanted = sa.or_(
                o.state.not_in([e.value for e in ENDED]),
                sa.and_(o.state == OrderState.CLOSED.value, o.state_ms >= closed_since),
            )
            is_kept = sa.or_(_IS_RETAINED, _a.occurrence == 0)  # and the points that were ever out of service at rest
            alarms = run(sa.select(s.alarm).where(is_kept).order_by(_a.raised_wall_ms, _a.id)).all()
            orders = run(sa.select(s.work_order).where(is_wanted).order_by(o.opened_ms, o.id)).all()
            occurrences = run(sa.select(_a.dedup_key, sa.func.max(_a.occurrence)).group_by(_a.dedup_key)).all()
            mutes = run(sa.select(s.mute).where(sa.or_(s.mute.c.is_over.is_(False), s.mute.c.origin != ""))).all()
            storms = run(sa.select(s.storm).order_by(s.storm.c.desk)).all()
            drills = run(sa.select(s.exercise).where(s.exercise.c.ended_ms.is_(None))).all()
            is_recent = sa.and_(_a.raised_wall_ms > then - RECENT_MS, _a.is_historical.is_(False), _a.occurrence > 0)
            recent = sa.select(_a.dedup_key, _a.raised_ms, _a.raised_wall_ms).where(is_recent)
            raises: dict[str, list[tuple[int, int]]] = {}
            for key, raised_ms, wall_ms in run(recent.order_by(_a.dedup_key, _a.occurrence)):
                raises.setdefault(key, []).append((raised_ms, wall_ms))
            e = s.event.c
            is_rota = sa.and_(e.subject >= "rota:", e.subject < "rota;")  # by the index over subject
            newest = sa.select(s.event).where(is_rota).order_by(e.seq.desc()).limit(ROTA_EVENTS_MAX)
            rota = run(newest).all()
            day, serial = sa.func.substr(o.id, 4, 8), sa.cast(sa.func.substr(o.id, 13), sa.BigInteger)
            serials = run(sa.select(day, sa.func.max(serial)).where(o.id.like("WO-%")).group_by(day)).all()
        return OpenState(
            alarms=tuple(s.ALARMS.noun(row) for row in alarms),
            orders=tuple(s.ORDERS.noun(row) for row in orders),
            occurrences={row[0]: row[1] for row in occurrences},
            order_serials={row[0]: row[1] for row in serials},
            last_tick=tick,
            last_now_ms=then,
            rota_events=tuple(s.EVENTS.noun(row[1:-2]) for row in reversed(rota)),
            mutes=tuple(s.MUTES.noun(row) for row in mutes),
            storms=tuple(s.STORMS.noun(row) for row in storms),
            exercises=tuple(s.EXERCISES.noun(row) for row in drills),
            raises={key: tuple(found) for key, found in raises.items()},
            past_order=self.order,
        )

    def storms(self) -> list[Storm]:
        """Return how each duty desk stands: whether it is in a storm of alarms."""
        return [s.STORMS.noun(row) for row in self._rows(sa.select(s.storm).order_by(s.storm.c.desk))]

    # ── mutes and drills ────────────────────────────────────────────────────────────────────────

    def mutes(self, *, is_over: bool | None = None, limit: int = 200) -> list[Mute]:
        """Return silences and windows, newest first."""
        query = sa.select(s.mute).order_by(s.mute.c.created_ms.desc(), s.mute.c.id.desc()).limit(limit)
        if is_over is not None:
            query = query.where(s.mute.c.is_over.is_(is_over))
        return [s.MUTES.noun(row) for row in self._rows(query)]

    def exercises(self, *, exercise_id: str = "", limit: int = 200) -> list[Exercise]:
        """Return drills, newest first, or the one of this id."""
        query = sa.select(s.exercise).order_by(s.exercise.c.started_ms.desc(), s.exercise.c.id.desc()).limit(limit)
        if exercise_id:
            query = query.where(s.exercise.c.id == exercise_id)
        return [s.EXERCISES.noun(row) for row in self._rows(query)]

    def alarms_of_exercise(self, exercise_id: str, *, limit: int = 1_000) -> list[Alarm]:
        """Return the alarms of one drill in the order in which they were raised."""
        query = sa.select(s.alarm).where(_a.exercise == exercise_id, _a.raised_wall_ms >= _started(exercise_id))
        return [s.ALARMS.noun(row) for row in self._rows(query.order_by(_a.raised_wall_ms, _a.id).limit(limit))]

    def counts(self) -> Counts:
        """Count what the ledger holds, from one consistent state."""

        def grouped(connection: sa.Connection, column: Any, where: Any = None) -> dict[Any, int]:
            query = sa.select(column, sa.func.count()).group_by(column)
            found = connection.execute(query if where is None else query.where(where))
            return {row[0]: row[1] for row in found}

        with self._reader.connection() as connection:
            levels = grouped(connection, _a.level, _IS_OPEN)
            unacked = connection.execute(sa.select(sa.func.count()).where(_a.is_acked.is_(False))).scalar_one()
            orders = grouped(connection, s.work_order.c.state)
            notices = grouped(connection, s.outbox.c.state)
            events = connection.execute(sa.select(sa.func.max(s.event.c.seq))).scalar()
            counter = {row.name: row.value for row in connection.execute(sa.select(s.counter))}
            tick, now_ms = _last_tick(connection)
        return Counts(
            alarms_open=sum(levels.values()),
            alarms_unacked=unacked,
            alarms_open_by_level={Priority(level): n for level, n in levels.items()},
            orders_by_state={OrderState(state): n for state, n in orders.items()},
            outbox_by_state=notices,
            events=events or 0,
            dead_letters=counter.get(DEAD_ROWS, 0),
            dead_letters_bytes=counter.get(DEAD_BYTES, 0),
            dead_letters_pushed_out=counter.get(PUSHED_OUT_ROWS, 0),
            dead_letters_pushed_out_bytes=counter.get(PUSHED_OUT_BYTES, 0),
            last_tick=tick,
            last_now_ms=now_ms,
        )


def _started(exercise_id: str) -> Any:
    """When a drill began, as a subquery: its alarms are looked for by the index over time."""
    c = s.exercise.c
    return sa.func.coalesce(sa.select(c.started_ms).where(c.id == exercise_id).scalar_subquery(), 0)


def _last_tick(connection: sa.Connection) -> tuple[int, int]:
    j = s.journal.c
    last = connection.execute(sa.select(j.tick, j.now_ms).order_by(j.tick.desc()).limit(1)).first()
    return (last.tick, last.now_ms) if last else (0, 0)
