"""Publishes recorded readings through the configured gateways, at any speed, until the city says all is durable.

The gateways number and keep what they send as real ones do, so the end of a replay is a proof: every reading of the
file is in the city's journal, or the summary says how many are not.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from citypulse.clock import MS_PER_S, Clock, monotonic_s
from citypulse.model import CityConfig, Sensor
from ingest.codecs import CODECS

from .gateways import Line, SimGateway
from .lines import OwnLine, SharedLine, Trunk
from .readings import Row

BATCH_MAX = 500  # readings in one message
CHUNK = 5_000  # rows between two looks at the gateways: keeps sensors of different gateways close in time
WINDOW = 2_000  # messages one gateway may have under way before reading waits
IDLE_S = 0.005
PACE_S = 0.1
GIVE_UP_S = 60.0  # without any progress
OWN_LINES_MAX = 64  # gateways with a connection each; a larger city shares
SHARED_LINES = 16
UNKNOWN_KEPT = 20


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
        self._sensors: dict[str, Sensor] = {s.id: s for s in config.sensors}
        self._is_raw = is_raw
        names = sorted({s.gateway for s in config.sensors})
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
        self._batches: dict[str, tuple[list[str], list[int], list[float]]] = {n: ([], [], []) for n in names}
        self._newest: dict[str, int] = {}
        self._pause = threading.Event()
        self.summary = ReplaySummary()

    def run(
        self,
        rows: Iterable[Row],
        *,
        speed: float | None,
        until_durable: bool,
        progress: Callable[[ReplaySummary], None] = lambda _: None,
    ) -> ReplaySummary:
        """Publish all rows; `speed` None is as fast as the city takes them, 1 as they were recorded.

        Returns when everything is known durable, or, without `until_durable`, confirmed by the broker; or when
        nothing has moved for `give_up_s`, with the reason in `problem`.
        """
        began_s = monotonic_s()
        try:
            self._publish(rows, speed, progress)
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

    def _publish(self, rows: Iterable[Row], speed: float | None, progress: Callable[[ReplaySummary], None]) -> None:
        began_s, first_ms, horizon_ms = monotonic_s(), 0, -1
        for count, row in enumerate(rows):
            if speed is not None and row.time_ms > horizon_ms:
                first_ms = first_ms if count else row.time_ms
                self._flush_all()
                while (horizon_ms := first_ms + int((monotonic_s() - began_s) * MS_PER_S * speed)) < row.time_ms:
                    self._work(progress)
                    self._pause.wait(min(PACE_S, (row.time_ms - horizon_ms) / MS_PER_S / speed))
            self._take(row)
            if count % CHUNK == CHUNK - 1:
                self._flush_all()
                self._work(progress)
                if not self._wait(lambda: all(g.pending < WINDOW for g in self._gateways.values()), progress):
                    return
        self._flush_all()

    def _finish(self, progress: Callable[[ReplaySummary], None], *, until_durable: bool) -> None:
        if self.summary.problem:
            return
        if until_durable:
            self._wait(lambda: all(g.pending == 0 for g in self._gateways.values()), progress)
        else:
            self._wait(lambda: all(g.is_delivered for g in self._gateways.values()), progress)

    def _take(self, row: Row) -> None:
        sensor = self._sensors.get(row.sensor)
        if sensor is None:
            self.summary.skipped_unknown += 1
            if row.sensor not in self.summary.unknown_sensors and len(self.summary.unknown_sensors) < UNKNOWN_KEPT:
                self.summary.unknown_sensors.append(row.sensor)
            return
        if row.time_ms < self._newest.get(row.sensor, row.time_ms):
            self.summary.out_of_order += 1
        else:
            self._newest[row.sensor] = row.time_ms
        value = row.value if self._is_raw else _uncalibrated(row.value, sensor)
        names, times, values = self._batches[sensor.gateway]
        names.append(row.sensor)
        times.append(row.time_ms)
        values.append(value)
        if len(names) >= BATCH_MAX:
            self._flush(sensor.gateway)
        low, high = self.summary.first_ms, self.summary.last_ms
        self.summary.first_ms = row.time_ms if low is None else min(low, row.time_ms)
        self.summary.last_ms = row.time_ms if high is None else max(high, row.time_ms)

    def _flush_all(self) -> None:
        for name, (names, _, _) in self._batches.items():
            if names:
                self._flush(name)

    def _flush(self, name: str) -> None:
        names, times, values = self._batches[name]
        self._batches[name] = ([], [], [])
        # Sent now, whenever it was measured: a gateway's clock is judged by this.
        self._gateways[name].record(names, times, values, self._clock.now_ms())

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


def _uncalibrated(value: float, sensor: Sensor) -> float:
    """Return what the instrument must have sent for the city to compute `value`; exact where nothing is calibrated."""
    if math.isnan(value) or (sensor.scale == 1.0 and sensor.offset == 0.0):
        return value
    return round((value - sensor.offset) / sensor.scale, 9)
