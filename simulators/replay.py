"""Publishes recorded readings through the configured gateways, at any speed, until the city says all is durable.

The gateways number and keep what they send as real ones do, so the end of a replay is a proof: every reading of the
file is in the city's journal, or the summary says how many are not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from citypulse.clock import MS_PER_S, Clock, monotonic_s
from citypulse.model import CityConfig
from citypulse.readings_files import Portion
from ingest.codecs import CODECS

from .gateways import Line, SimGateway
from .lines import OwnLine, SharedLine, Trunk
from .noise import Times

BATCH_MAX = 500  # readings in one message
CHUNK = 10_000  # rows between two looks at the gateways: keeps sensors of different gateways close in time
WINDOW = 2_000  # messages one gateway may have under way before reading waits
IDLE_S = 0.005
PACE_S = 0.1
GIVE_UP_S = 60.0  # without any progress
OWN_LINES_MAX = 64  # gateways with a connection each; a larger city shares
SHARED_LINES = 16
UNKNOWN_KEPT = 20
PROBLEMS_KEPT = 20
NEVER_MS = np.iinfo(np.int64).min


@dataclass(slots=True, kw_only=True)
class ReplaySummary:
    """What came of a replay."""

    readings: int = 0  # published
    messages: int = 0
    durable_readings: int = 0
    durable_messages: int = 0
    repeated_messages: int = 0
    pending_messages: int = 0  # published, not known durable
    skipped_unknown: int = 0  # readings of sensors the configuration does not know
    unknown_sensors: list[str] = field(default_factory=list)  # the first of them
    bad_lines: int = 0  # rows of the files that could not be read
    first_bad_lines: list[str] = field(default_factory=list)
    out_of_order: int = 0  # readings older than one of the same sensor before it: the city files them as history
    first_ms: int | None = None
    last_ms: int | None = None
    seconds: float = 0.0
    readings_per_s: float = 0.0
    problem: str = ""

    @property
    def is_durable(self) -> bool:
        """Whether the city has everything that was published."""
        return self.pending_messages == 0 and self.durable_messages == self.messages


class Replay:
    """One run over recorded readings."""

    def __init__(
        self,
        config: CityConfig,
        broker_url: str,
        clock: Clock,
        *,
        connections: int | None = None,
        is_raw: bool = False,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        """Prepare, without connecting; CityError for a bad broker address.

        Values of the file are in canonical units, calibrated, as `citypulse export` writes them; with `is_raw` they
        are what the instruments sent. `connections` None gives each gateway its own, up to OWN_LINES_MAX gateways.
        """
        self._clock = clock
        self._give_up_s = give_up_s
        self._ids = [s.id for s in config.sensors]
        self._index = {name: k for k, name in enumerate(self._ids)}
        self._scale = np.array([1.0 if is_raw else s.scale for s in config.sensors])
        self._offset = np.array([0.0 if is_raw else s.offset for s in config.sensors])
        names = sorted({s.gateway for s in config.sensors})
        self._names = names
        self._owner = np.array([names.index(s.gateway) for s in config.sensors], dtype=np.int64)
        self._newest = np.full(len(self._ids), NEVER_MS, dtype=np.int64)
        shared = connections if connections is not None else (0 if len(names) <= OWN_LINES_MAX else SHARED_LINES)
        self._trunks = [Trunk(broker_url, k) for k in range(shared)]
        self._gateways: dict[str, SimGateway] = {}
        for k, name in enumerate(names):
            line: Line = SharedLine(self._trunks[k % shared], name) if shared else OwnLine(broker_url, name)
            self._gateways[name] = SimGateway(
                name,
                line,
                seed=0,
                # Its own boot id each time: a second replay of other readings must not look like this one's repeats.
                start_ms=clock.now_ms(),
                codec=CODECS[config.gateways[name].codec],
                buffer_max=1 << 40,  # reading waits at WINDOW instead
            )
        self._pause = threading.Event()
        self.summary = ReplaySummary()

    def run(
        self,
        portions: Iterable[Portion],
        *,
        speed: float | None,
        until_durable: bool,
        progress: Callable[[ReplaySummary], None] = lambda _: None,
    ) -> ReplaySummary:
        """Publish files read in portions; `speed` None is as fast as the city takes them, 1 as they were recorded.

        Returns when everything is known durable, or, without `until_durable`, confirmed by the broker; or when
        nothing has moved for `give_up_s`, with the reason in `problem`.
        """
        began_s = monotonic_s()
        try:
            self._publish(portions, speed, progress)
            self._finish(progress, until_durable=until_durable)
        finally:
            for gateway in self._gateways.values():
                gateway.line.close()
            for trunk in self._trunks:
                trunk.publisher.stop()
        self._count()
        self.summary.seconds = round(monotonic_s() - began_s, 3)
        self.summary.readings_per_s = round(self.summary.readings / max(self.summary.seconds, 1e-3), 1)
        return self.summary

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _publish(
        self, portions: Iterable[Portion], speed: float | None, progress: Callable[[ReplaySummary], None]
    ) -> None:
        began_s, first_ms = monotonic_s(), None
        for portion in portions:
            self._note(portion)
            sensor = np.array([self._index.get(n, -1) for n in portion.names] or [-1], np.int64)[portion.name]
            reached = np.maximum.accumulate(portion.time_ms)
            if first_ms is None and len(reached):
                first_ms = int(reached[0])
            done = 0
            while done < len(portion):
                end = min(done + CHUNK, len(portion))
                if speed is not None:
                    assert first_ms is not None  # noqa: S101 - the portion has rows
                    horizon_ms = first_ms + int((monotonic_s() - began_s) * MS_PER_S * speed)
                    end = min(end, int(np.searchsorted(reached, horizon_ms, "right")))
                    if end <= done:
                        self._work(progress)
                        self._pause.wait(min(PACE_S, (int(reached[done]) - horizon_ms) / MS_PER_S / speed))
                        continue
                part = slice(done, end)
                self._take(sensor[part], portion.time_ms[part], portion.value[part])
                done = end
                self._work(progress)
                if not self._wait(lambda: all(g.pending < WINDOW for g in self._gateways.values()), progress):
                    return

    def _finish(self, progress: Callable[[ReplaySummary], None], *, until_durable: bool) -> None:
        if self.summary.problem:
            return
        if until_durable:
            self._wait(lambda: all(g.pending == 0 for g in self._gateways.values()), progress)
        else:
            self._wait(lambda: all(g.is_delivered for g in self._gateways.values()), progress)

    def _note(self, portion: Portion) -> None:
        said = self.summary
        said.bad_lines += len(portion.problems)
        said.first_bad_lines += [str(p) for p in portion.problems[: PROBLEMS_KEPT - len(said.first_bad_lines)]]
        strange = [n for n in portion.names if n not in self._index and n not in said.unknown_sensors]
        said.unknown_sensors += strange[: UNKNOWN_KEPT - len(said.unknown_sensors)]

    def _take(self, sensor: Times, time_ms: Times, value: NDArray[np.float64]) -> None:
        """Number these rows as messages of their gateways, in the order of the file."""
        known = np.flatnonzero(sensor >= 0)
        self.summary.skipped_unknown += len(sensor) - len(known)
        if not known.size:
            return
        sensor, time_ms, value = sensor[known], time_ms[known], value[known]
        self._judge_order(sensor, time_ms)
        low, high = self.summary.first_ms, self.summary.last_ms
        self.summary.first_ms = int(time_ms.min()) if low is None else min(low, int(time_ms.min()))
        self.summary.last_ms = int(time_ms.max()) if high is None else max(high, int(time_ms.max()))
        scale, offset = self._scale[sensor], self._offset[sensor]
        # What the instrument must have sent for the city to compute `value`; exact where nothing is calibrated.
        raw = np.where((scale == 1.0) & (offset == 0.0), value, np.round((value - offset) / scale, 9))
        # Sent now, whenever it was measured: a gateway's clock is judged by this.
        sent_ms = self._clock.now_ms()
        owner = self._owner[sensor]
        for k in np.unique(owner):
            rows = np.flatnonzero(owner == k)
            for first in range(0, len(rows), BATCH_MAX):
                part = rows[first : first + BATCH_MAX]
                names = [self._ids[i] for i in sensor[part].tolist()]
                gateway = self._gateways[self._names[int(k)]]
                gateway.record(names, time_ms[part].tolist(), raw[part].tolist(), sent_ms)

    def _judge_order(self, sensor: Times, time_ms: Times) -> None:
        """Count the readings that come after a newer one of their sensor."""
        order = np.argsort(sensor, kind="stable")
        s, t = sensor[order], time_ms[order]
        # One running maximum for all sensors: each starts above everything the one before it can reach.
        lift = np.cumsum(np.r_[0, np.diff(s) != 0]) * (int(t.max()) - int(t.min()) + 1)
        late = t + lift < np.maximum.accumulate(t + lift)
        self.summary.out_of_order += int((late | (t < self._newest[s])).sum())
        np.maximum.at(self._newest, sensor, time_ms)

    def _work(self, progress: Callable[[ReplaySummary], None]) -> None:
        now_s, now_ms = monotonic_s(), self._clock.now_ms()
        for gateway in self._gateways.values():
            gateway.work(now_s, now_ms)
        self._count()
        progress(self.summary)

    def _wait(self, done: Callable[[], bool], progress: Callable[[ReplaySummary], None]) -> bool:
        """Let gateways work until `done`; False, with the reason noted, when nothing moves any more."""
        moved_s, before = monotonic_s(), (-1, -1)
        while not done():
            self._work(progress)
            # Repeats are no progress: an absent city would be asked for ever.
            now = (
                self.summary.durable_messages,
                sum(g.stats.published - g.stats.repeated for g in self._gateways.values()),
            )
            if now != before:
                moved_s, before = monotonic_s(), now
            elif monotonic_s() - moved_s > self._give_up_s:
                self.summary.problem = self._why_stuck()
                return False
            self._pause.wait(IDLE_S)
        return True

    def _why_stuck(self) -> str:
        down = [g for g in self._gateways.values() if g.pending and not g.line.is_up]
        if down:
            why = down[0].line.problem or "no connection"
            return f"{len(down)} gateways cannot reach the broker ({why})"
        return (
            f"the city has called nothing durable for {self._give_up_s:g} s; "
            "is `citypulse run` connected to the same broker, with these gateways configured?"
        )

    def _count(self) -> None:
        each = [g.stats for g in self._gateways.values()]
        self.summary.readings = sum(s.readings for s in each)
        self.summary.messages = sum(s.recorded for s in each)
        self.summary.durable_messages = sum(s.durable for s in each)
        self.summary.durable_readings = sum(s.durable_readings for s in each)
        self.summary.repeated_messages = sum(s.repeated for s in each)
        self.summary.pending_messages = sum(g.pending for g in self._gateways.values())
