"""Messages in, graded readings out: the one place where decoding, numbering, ownership and grading meet.

Promises: nothing a payload can hold makes `take` raise; what cannot be taken becomes a dead letter with its
reason while everything around it goes on; `replay` of what was journaled leaves the same state as `take` did.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import structlog

from citypulse.errors import PayloadError
from citypulse.model import DeadLetter, GatewayHeard, RawMessage, ReadingBatch

from .codecs import CODECS
from .codecs.decoded import TIME_MAX_MS, TIME_MIN_MS, BadReading, Codec, Decoded, NumberedPayloadError
from .codecs.native import decode_reading, dump, with_names
from .deadletter import PER_MESSAGE_MAX, PER_TICK_MAX, make_letter, make_reading_letter
from .gateways import OFFLINE, ONLINE, GatewayRecord, Gateways
from .quality import Grader
from .registry import REFUSALS, Registry, Resolved

log = structlog.get_logger()

ROUTES_MAX = 65_536
NO_LAG = -(2**31)
SPOKE, BIRTH, WILL = 0, 1, 2
# One message in the journal: its gateway and boot by their place in the tick's lists (boot -1: not numbered),
# seq (of a birth: the first number still held), lag_ms, received_ms, kind.
LINE = struct.Struct("<iiqiqB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What one `take` met."""

    messages: int = 0
    readings: int = 0
    repeated: int = 0  # whole messages received before
    conflicts: int = 0  # readings that disagree with one kept for the same sensor and time


@dataclass(frozen=True, slots=True, kw_only=True)
class Intaken:
    """What one tick took in. `journal` is what `replay` needs besides the batch; msgpack can hold it."""

    batch: ReadingBatch
    amendments: ReadingBatch | None
    dead: tuple[DeadLetter, ...]
    heard: GatewayHeard
    journal: dict[str, Any]
    counts: Counts


@dataclass(frozen=True, slots=True)
class _Route:
    """A topic, looked up once."""

    gateway: str
    kind: str
    record: GatewayRecord
    decode: Callable[[bytes], Decoded]


@dataclass(slots=True)
class _Columns:
    """What is collected while a tick's messages are read: readings as columns, and what happened as columns."""

    sensor: array[int] = field(default_factory=lambda: array("i"))
    time_ms: array[int] = field(default_factory=lambda: array("q"))
    value: array[float] = field(default_factory=lambda: array("d"))
    rows: array[int] = field(default_factory=lambda: array("i"))  # readings of each message that has any
    received_ms: array[int] = field(default_factory=lambda: array("q"))  # of each of those
    # of each of those: gateway, message, what was in it, its line
    source: list[tuple[str, RawMessage, Decoded, int]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    total: int = 0
    repeated: int = 0
    # for the journal: a packed LINE for each message of a known gateway, and which of them are news by themselves
    gateways: dict[str, int] = field(default_factory=dict)
    boots: dict[str, int] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    news: list[int] = field(default_factory=list)

    def mark_news(self) -> None:
        """Note that the last line tells of its gateway what no reading tells."""
        self.news.append(len(self.lines) - 1)

    def trim(self) -> None:
        """Cut the columns of readings back to whole messages, after a failure half way through one."""
        del self.sensor[self.total :], self.time_ms[self.total :], self.value[self.total :]


class _State(msgspec.Struct):
    """A birth or a will. `state` is a second name of `status`."""

    status: str = ""
    state: str = ""
    boot: str = ""
    first: int | None = None


class Intake:
    """Decoding, numbering and grading for one city. Single-threaded; owned by the heart."""

    def __init__(
        self, registry: Registry, gateways: Gateways, grader: Grader, codecs: Mapping[str, Codec] = CODECS
    ) -> None:
        """Put the parts together; none of them may be shared with another intake."""
        self.registry = registry
        self.gateways = gateways
        self.grader = grader
        self._codecs = codecs
        self._routes: dict[str, _Route] = {}
        self._state = msgspec.json.Decoder(_State).decode
        self._failing: set[str] = set()  # codecs whose failure has been logged

    # ── live ────────────────────────────────────────────────────────────────────────────────────

    def take(self, messages: Sequence[RawMessage], now_ms: int) -> Intaken:
        """Read messages in their order of arrival. `now_ms` is at or after the last of them was received."""
        got = _Columns()
        self.gateways.advance(now_ms)
        for message in messages:
            route = self._routes.get(message.topic)
            try:
                if route is None:
                    route = self._route(message.topic)
                if route.kind == "state":
                    self._take_state(route, message, got)
                else:
                    self._take_readings(route, message, got)
            except PayloadError as error:
                self._bury(route, message, error, got)
            except Exception as error:  # noqa: BLE001 - a codec is an extension; its bug must not stop the city
                self._blame(route, message, error, got)
        batch, amendments, conflicts = self._grade(got)
        journal = {
            "gateways": list(got.gateways),
            "boots": list(got.boots),
            "lines": b"".join(got.lines),
            "news": sorted(set(got.news)),
        }
        return Intaken(
            batch=batch,
            amendments=amendments,
            dead=tuple(got.dead),
            heard=heard_in(journal),
            journal=journal,
            counts=Counts(messages=len(messages), readings=len(batch), repeated=got.repeated, conflicts=conflicts),
        )

    def _take_readings(self, route: _Route, message: RawMessage, got: _Columns) -> None:
        decoded = route.decode(message.payload)
        sensors = decoded.sensors
        try:
            if isinstance(sensors, bytes):
                found = self.registry.resolve_raw(route.gateway, sensors)
            else:
                found = self.registry.resolve_all(route.gateway, sensors)
        except PayloadError:
            decoded = with_names(decoded)
            found = self.registry.resolve_all(route.gateway, decoded.sensors)  # type: ignore[arg-type]
        n = len(decoded.times)
        if not len(found.index) == n == len(decoded.values):
            detail = f"{len(found.index)} sensors, {n} times, {len(decoded.values)} values"
            raise NumberedPayloadError("column_length", detail, boot=decoded.boot, seq=decoded.seq)
        is_new = self._hear(route, message, decoded.boot, decoded.seq, decoded.sent_ms, got)
        if not is_new and route.kind == "readings":
            got.repeated += 1
            got.mark_news()
            return
        if decoded.bad or not found.is_clean:
            if not self._bury_readings(route, message, decoded, found, got):
                return
        elif not n:
            got.mark_news()
            return
        got.sensor.extend(found.index)
        got.time_ms.extend(decoded.times)
        got.value.extend(decoded.values)
        got.total += n
        got.rows.append(n)
        got.received_ms.append(message.received_ms)
        got.source.append((route.gateway, message, decoded, len(got.lines) - 1))

    def _hear(
        self, route: _Route, message: RawMessage, boot: str | None, seq: int | None, sent_ms: int | None, got: _Columns
    ) -> bool:
        """Number a message and write its line for the journal."""
        received_ms = message.received_ms
        lag_ms = None
        if sent_ms is not None:
            lag_ms = received_ms - sent_ms
            if not -(2**31) < lag_ms < 2**31:
                lag_ms = None
        if seq is None or boot is None:
            number, seq, boot = -1, -1, None
        else:
            number = got.boots.setdefault(boot, len(got.boots))
        gateway = got.gateways.setdefault(route.gateway, len(got.gateways))
        got.lines.append(LINE.pack(gateway, number, seq, NO_LAG if lag_ms is None else lag_ms, received_ms, SPOKE))
        return self.gateways.hear(route.record, received_ms, boot, seq, lag_ms)

    def _take_state(self, route: _Route, message: RawMessage, got: _Columns) -> None:
        if not message.payload:
            return  # somebody has removed the retained message
        try:
            state = self._state(message.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PayloadError("state_shape", str(error)) from error
        status = state.status or state.state
        if status not in (ONLINE, OFFLINE):
            raise PayloadError("state_shape", f'status is {status!r:.40}; "{ONLINE}" or "{OFFLINE}" is needed')
        if len(state.boot) > 64 or (state.first is not None and not 0 <= state.first < 2**63):
            raise PayloadError("state_shape", "boot is longer than 64 characters, or first is no message number")
        has_changed = self.gateways.hear_state(route.record, message.received_ms, status, state.boot, state.first)
        gateway = got.gateways.setdefault(route.gateway, len(got.gateways))
        boot = got.boots.setdefault(state.boot, len(got.boots))
        first = -1 if state.first is None else state.first
        kind = BIRTH if status == ONLINE else WILL
        got.lines.append(LINE.pack(gateway, boot, first, NO_LAG, message.received_ms, kind))
        # A will that changes nothing (an old boot's, or one already known) is no news: the gateway did not speak.
        if status == ONLINE or has_changed:
            got.mark_news()

    def _route(self, topic: str) -> _Route:
        gateway, kind = self.registry.parse_topic(topic)
        name = self.registry.config.gateways[gateway].codec
        codec = self._codecs.get(name)
        if codec is None:
            raise PayloadError("unknown_codec", f'gateway "{gateway}" speaks "{name}", which is not installed')
        decode = decode_reading if kind == "reading" else codec.decode
        if len(self._routes) >= ROUTES_MAX:
            self._routes.clear()
        route = self._routes[topic] = _Route(gateway, kind, self.gateways.record(gateway), decode)
        return route

    # ── what cannot be taken ────────────────────────────────────────────────────────────────────

    def _bury(self, route: _Route | None, message: RawMessage, error: PayloadError, got: _Columns) -> None:
        if route is None:
            got.dead.append(make_letter(message, "", error.reason, error.detail))
            return
        # Kept as a dead letter it is as durable as any other: a number that can be read counts as received,
        # or its gateway would send it again for ever.
        boot, seq = (error.boot, error.seq) if isinstance(error, NumberedPayloadError) else (None, None)
        is_new = self._hear(route, message, boot, seq, None, got)
        got.mark_news()
        if is_new or route.kind == "replay":
            got.dead.append(make_letter(message, route.gateway, error.reason, error.detail))
        else:
            got.repeated += 1

    def _blame(self, route: _Route | None, message: RawMessage, error: Exception, got: _Columns) -> None:
        got.trim()
        gateway = "" if route is None else route.gateway
        if gateway not in self._failing:
            self._failing.add(gateway)
            log.error("ingest.codec_failed", gateway=gateway, topic=message.topic, exc_info=error)
        got.dead.append(make_letter(message, gateway, "codec_failed", f"{type(error).__name__}: {error}"))

    def _bury_readings(
        self, route: _Route, message: RawMessage, decoded: Decoded, found: Resolved, got: _Columns
    ) -> bool:
        """Keep a message's bad readings; return whether any good one is left (refused ones leave later)."""
        names = _names(decoded)
        refused = [k for k, code in enumerate(found.index) if code < 0]
        got.mark_news()
        bad = [
            *decoded.bad,
            *(
                BadReading(
                    _one(names[k], decoded.times[k], decoded.values[k]),
                    REFUSALS[found.index[k]],
                    self.registry.explain(route.gateway, names[k]),
                )
                for k in refused[: PER_MESSAGE_MAX + 1]
            ),
        ]
        self._keep_bad(bad, len(decoded.bad) + len(refused), route.gateway, message, got)
        return len(refused) < len(names)

    def _keep_bad(
        self, bad: Sequence[BadReading], count: int, gateway: str, message: RawMessage, got: _Columns
    ) -> None:
        """Keep a few bad readings one by one, many as the one message they came in."""
        if len(bad) > PER_MESSAGE_MAX or len(got.dead) > PER_TICK_MAX:
            detail = f"{count} bad readings, the first: {bad[0].detail}"
            got.dead.append(make_letter(message, gateway, bad[0].reason, detail))
        else:
            got.dead.extend(make_reading_letter(b, gateway, message.received_ms) for b in bad)

    # ── grading ─────────────────────────────────────────────────────────────────────────────────

    def _grade(self, got: _Columns) -> tuple[ReadingBatch, ReadingBatch | None, int]:
        sensor = np.array(got.sensor, np.int32)
        time_ms = np.array(got.time_ms, np.int64)
        value = np.array(got.value, np.float64)
        rows = np.array(got.rows, np.int64)
        # A replayed letter may carry an older stamp than its neighbours; within a batch time never goes back.
        received_ms = np.maximum.accumulate(np.repeat(np.array(got.received_ms, np.int64), rows))
        is_good = (sensor >= 0) & (time_ms >= TIME_MIN_MS) & (time_ms < TIME_MAX_MS) & ~np.isinf(value)
        if not is_good.all():
            starts = np.cumsum(rows) - rows
            late = np.flatnonzero((sensor >= 0) & ~is_good)  # the others are letters already
            owners = np.searchsorted(starts, late, side="right") - 1
            found, first = np.unique(owners, return_index=True)
            pieces = np.split(late, first[1:]) if len(late) else []
            for k, row in zip(found.tolist(), pieces, strict=True):
                self._bury_rows(got, (row - starts[k]).tolist(), *got.source[k])
            sensor, time_ms, value = sensor[is_good], time_ms[is_good], value[is_good]
            received_ms = received_ms[is_good]
        graded = self.grader.grade(sensor, time_ms, value, received_ms)
        return graded.batch, graded.amendments, graded.conflicts

    def _bury_rows(
        self, got: _Columns, rows: list[int], gateway: str, message: RawMessage, decoded: Decoded, line: int
    ) -> None:
        """Keep readings of a message that only the check of the whole columns found."""
        got.news.append(line)
        names = _names(decoded)
        bad = []
        for i in rows[: PER_MESSAGE_MAX + 1]:
            time_ms, value = decoded.times[i], decoded.values[i]
            reason, detail = "non_finite", f"the value is {value}"
            if not TIME_MIN_MS <= time_ms < TIME_MAX_MS:
                reason, detail = "time_out_of_range", f"{time_ms} is not between 2000 and 2100 in milliseconds"
            bad.append(BadReading(_one(names[i], time_ms, value), reason, detail))
        self._keep_bad(bad, len(rows), gateway, message, got)

    # ── recovery ────────────────────────────────────────────────────────────────────────────────

    def replay(self, batch: ReadingBatch, journal: Mapping[str, Any], now_ms: int) -> GatewayHeard:
        """Advance all state by one journaled tick, as `take` did; return what `take` said was heard."""
        self.gateways.advance(now_ms)
        boots = list(journal["boots"])
        records = [self.gateways.record(name) for name in journal["gateways"]]
        for gateway, boot, seq, lag_ms, received_ms, kind in LINE.iter_unpack(journal["lines"]):
            record = records[gateway]
            if kind == SPOKE:
                lag = None if lag_ms == NO_LAG else lag_ms
                self.gateways.hear(record, received_ms, None if boot < 0 else boots[boot], seq, lag)
            else:
                status = ONLINE if kind == BIRTH else OFFLINE
                self.gateways.hear_state(record, received_ms, status, boots[boot], None if seq < 0 else seq)
        self.grader.replay(batch)
        return heard_in(journal)

    def state(self) -> dict[str, Any]:
        """Return the state of numbering and grading."""
        return {"gateways": self.gateways.state(), "grader": self.grader.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a `state()`."""
        self._routes.clear()
        self.gateways.restore(state["gateways"])
        self.grader.restore(state["grader"])


def heard_in(journal: Mapping[str, Any]) -> GatewayHeard:
    """Return the gateways a journaled tick heard of."""
    names = list(journal["gateways"])
    lines = [LINE.unpack_from(journal["lines"], LINE.size * k) for k in journal["news"]]
    return GatewayHeard(
        gateway=tuple(names[line[0]] for line in lines),
        received_ms=np.maximum.accumulate(np.array([line[4] for line in lines], np.int64)),
        is_offline=np.array([line[5] == WILL for line in lines], np.bool_),
    )


def _names(decoded: Decoded) -> list[str]:
    named = with_names(decoded)
    assert isinstance(named.sensors, list)  # noqa: S101 - that is what with_names is for
    return named.sensors


def _one(sensor: str, time_ms: int, value: float) -> bytes:
    return dump({"sensor": sensor, "time": time_ms, "value": None if value != value else value})  # noqa: PLR0124
