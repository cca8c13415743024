"""A simulated district: its sensors, their gateways, what goes wrong, and the repair hook crews call.

`District(...).start()` publishes until `stop()`. Everything that happens is decided by the seed, the clock and
what was injected; tests may call `step(now_ms, now_s)` themselves instead of starting the thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog

from citypulse.clock import Clock, monotonic_s
from citypulse.model import CityConfig
from ingest.codecs import CODECS

from .faults import DUPLICATE_SHARE, Fault, Faults
from .gateways import Line, SimGateway
from .incidents import Incident, Incidents, storm_over
from .lines import OwnLine, SharedLine, Trunk
from .noise import Floats, Times, key_of
from .signals import Signals
from .weather import Cell, Weather

log = structlog.get_logger()

STEP_S = 0.2  # real seconds between two looks at what is due
BATCH_MAX = 500  # readings in one message
ROUNDS_MAX = 10_000  # of catching up in one step: a day of a one-minute sensor is 1,440
FORGET_EVERY = 500  # steps
# Battery devices with an hourly heartbeat that also report at once when something moves: by how much, canonical unit.
EVENT_STEPS = {"tilt": 5.0}
HELLO_SPREAD_S = 60.0  # every sensor reports once within a minute of the start, then at its own cadence


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictStats:
    """How the district is doing; counters since the start."""

    now_ms: int
    sensors: int
    gateways: int
    gateways_up: int
    readings: int  # made
    messages: int  # numbered
    published: int  # handed to the broker, repeats included
    durable: int  # messages the city has confirmed durable
    pending: int  # messages not yet confirmed durable
    overflowed: int  # messages lost by full gateway buffers
    repairs: int
    incidents: tuple[str, ...]  # running now
    faults: tuple[str, ...]  # in force now
    problem: str  # why gateways are down, "" when all are up or nobody says


class District:
    """All gateways of a configuration, in one process."""

    def __init__(
        self,
        config: CityConfig,
        seed: int,
        clock: Clock,
        broker_url: str,
        *,
        connections: int = 0,
        incidents: Iterable[Incident] = (),
        faults: Iterable[Fault] = (),
        has_storms: bool = True,
        cells: Iterable[Cell] = (),
        warm_up_s: float = 0.0,
        batch_s: float = 15.0,
        sent_clock: Clock | None = None,
    ) -> None:
        """Prepare, without connecting. `cells` are cloudbursts that come besides those of the seed.

        `connections` 0 gives every gateway its own, with a will; N shares N among them. `warm_up_s` of readings
        before the start are sent first, as after an outage. `batch_s` (simulated) is how long a gateway gathers
        readings. `sent_clock` is what gateways take for the time of sending, when that is not `clock`.
        Raises CityError for a bad broker address and ValueError for incidents or faults that cannot happen here.
        """
        self._config = config
        self._clock = clock
        self._sent_clock = sent_clock or clock
        self._batch_ms = int(batch_s * 1000)
        self._sensors = config.sensors
        lat = [s.lat for s in config.sites.values()] or [30.26]
        lon = [s.lon for s in config.sites.values()] or [120.13]
        self._weather = Weather(seed=seed, lat=float(np.mean(lat)), lon=float(np.mean(lon)), has_storms=has_storms)
        self._weather.add(cells)
        self._incidents = Incidents(self._sensors, config.sites)
        self._faults = Faults(self._sensors)
        self._signals = Signals(
            self._sensors, config.sites, seed=seed, weather=self._weather, incidents=self._incidents
        )
        self._scale = np.array([s.scale for s in self._sensors])
        self._offset = np.array([s.offset for s in self._sensors])
        self._start_ms = clock.now_ms()
        self._cadence_ms = np.array([s.cadence_s * 1000 for s in self._sensors], dtype=np.int64)
        keys = np.array([key_of(seed, "phase", s.id) >> 1 for s in self._sensors], dtype=np.int64)
        self._phase_ms = keys % np.maximum(self._cadence_ms, 1)
        spread = keys % np.minimum(np.maximum(self._cadence_ms, 1), int(HELLO_SPREAD_S * 1000))
        self._due_ms = self._start_ms - int(warm_up_s * 1000) + spread
        steps = [EVENT_STEPS.get(s.quantity, np.inf) for s in self._sensors]
        self._eventful = np.flatnonzero(np.isfinite(steps))
        self._event_step = np.array(steps)[self._eventful]
        self._event_last = np.full(len(self._eventful), np.nan)
        self._trunks = [Trunk(broker_url, k) for k in range(connections)]
        self.gateways: dict[str, SimGateway] = {}
        for k, (name, gateway) in enumerate(sorted(config.gateways.items())):
            line: Line = SharedLine(self._trunks[k % connections], name) if connections else OwnLine(broker_url, name)
            self.gateways[name] = SimGateway(
                name,
                line,
                seed=seed,
                start_ms=self._start_ms,
                codec=CODECS[gateway.codec],
                as_objects=bool(key_of(seed, "form", name) % 2),
            )
        self._names = sorted(self.gateways)
        place = {name: k for k, name in enumerate(self._names)}
        self._gateway = np.array([place[s.gateway] for s in self._sensors], dtype=np.int64)
        self._waiting: list[list[tuple[Any, Times, Floats]]] = [[] for _ in self._names]
        self._flushed_ms = np.full(len(self._names), self._start_ms, dtype=np.int64)
        self._rebooted: set[str] = set()
        self._repairs = 0
        self._steps = 0
        self._lock = threading.Lock()  # faults and incidents may be added while the thread runs
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for incident in incidents:
            self.inject(incident)
        self.break_down(faults)

    # ── what others call ────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Publish, in a thread of our own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="district", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop publishing; gateways take leave as offline."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
        for gateway in self.gateways.values():
            gateway.line.close()
        for trunk in self._trunks:
            trunk.publisher.stop()

    def drain(self, timeout_s: float) -> bool:
        """Measure no more, deliver what there is, and wait until the city has called all of it durable.

        Return whether it did within `timeout_s` (real). `stop` still has to be called.
        """
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            self._thread = None
        give_up_s = monotonic_s() + timeout_s
        pause = threading.Event()
        while monotonic_s() < give_up_s:
            self.step(self._clock.now_ms(), monotonic_s(), is_measuring=False)
            if all(g.pending == 0 for g in self.gateways.values()):
                return True
            pause.wait(STEP_S / 4)
        return False

    def inject(self, incident: Incident) -> None:
        """Let something go wrong in the city; ValueError when it cannot happen there."""
        with self._lock:
            self._incidents.add(incident)
            if incident.kind == "underpass_flood":
                self._weather.add([storm_over(incident, self._config.sites[incident.site])])

    def break_down(self, faults: Iterable[Fault]) -> None:
        """Let instruments or links fail; ValueError when there is no such sensor or gateway."""
        with self._lock:
            self._faults.add(faults, self._config.gateways)

    def mend_links(self) -> None:
        """End every outage: what gateways have kept can be delivered."""
        now_ms = self._clock.now_ms()
        with self._lock:
            cut = [f.where for f in self._faults.known if f.kind == "outage" and f.is_on(now_ms)]
            self._faults.repair(cut, now_ms)

    def repair(self, site: str, truly: bool, at_ms: int | None = None) -> tuple[str, ...]:  # noqa: FBT001 - as crews say it
        """A crew works at `site`: end what is wrong there if `truly`, else leave it or let it come back.

        Return the ids of the incidents and faults that were touched. Works on what is felt at the site (a river's
        crew finds the source upstream), on its sensors and on its gateway.
        """
        now_ms = self._clock.now_ms() if at_ms is None else at_ms
        with self._lock:
            self._repairs += 1
            touched = self._incidents.repair(site, now_ms, truly=truly)
            if truly and site in self._config.sites:
                parts = [s.id for s in self._sensors if s.site == site]
                touched += self._faults.repair([*parts, self._config.sites[site].gateway], now_ms)
            return touched

    def stats(self) -> DistrictStats:
        """Return how it is doing."""
        each = [g.stats for g in self.gateways.values()]
        now_ms = self._clock.now_ms()
        problems = [p for g in self.gateways.values() if not g.line.is_up and (p := g.line.problem)]
        return DistrictStats(
            now_ms=now_ms,
            sensors=len(self._sensors),
            gateways=len(self.gateways),
            gateways_up=sum(g.line.is_up for g in self.gateways.values()),
            readings=sum(s.readings for s in each),
            messages=sum(s.recorded for s in each),
            published=sum(s.published for s in each),
            durable=sum(s.durable for s in each),
            pending=sum(g.pending for g in self.gateways.values()),
            overflowed=sum(s.overflowed for s in each),
            repairs=self._repairs,
            incidents=tuple(i.id for i in self._incidents.running(now_ms)),
            faults=tuple(f.id for f in self._faults.known if f.is_on(now_ms)),
            problem=problems[0] if problems else "",
        )

    def step(self, now_ms: int, now_s: float, *, is_measuring: bool = True) -> None:
        """Make the readings due until `now_ms`, and let every gateway do its work.

        `now_s` is a steady real time. Without `is_measuring` gateways only deliver what they have.
        """
        with self._lock:
            if is_measuring:
                self._measure(now_ms)
            for k, name in enumerate(self._names):
                gateway = self.gateways[name]
                self._trouble(gateway, now_ms)
                if not is_measuring or now_ms - self._flushed_ms[k] >= self._batch_ms:
                    self._flush(k, now_ms)
                gateway.work(now_s, now_ms)
            self._steps += 1
            if self._steps % FORGET_EVERY == 0:
                self._incidents.forget_spent(now_ms)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while not self._stop.wait(STEP_S):
            try:
                self.step(self._clock.now_ms(), monotonic_s())
            except Exception:  # a simulator that dies silently looks like a calm city
                log.exception("simulator.step_failed")

    def _measure(self, now_ms: int) -> None:
        columns: list[tuple[Any, Times]] = []
        for _ in range(ROUNDS_MAX):
            due = np.flatnonzero(self._due_ms <= now_ms)
            if not due.size:
                break
            times = self._due_ms[due]
            columns.append((due, times))
            # The next whole cadence after this one, from the sensor's own phase.
            cadence = self._cadence_ms[due]
            self._due_ms[due] = (times - self._phase_ms[due]) // cadence * cadence + cadence + self._phase_ms[due]
        just_due = (
            np.concatenate([due[times == now_ms] for due, times in columns]) if columns else np.empty(0, np.int64)
        )
        columns += self._moved(now_ms, just_due)
        if not columns:
            return
        sensor = np.concatenate([c[0] for c in columns])
        times = np.concatenate([c[1] for c in columns])
        values, kept = self._faults.bend(sensor, times, self._signals.values(sensor, times), self._signals.values)
        order = np.lexsort((times, self._gateway[sensor]))
        order = order[kept[order]]
        sensor, times, values = sensor[order], times[order], values[order]
        raw = np.round((values - self._offset[sensor]) / self._scale[sensor], 6)
        owner = self._gateway[sensor]
        edges = np.flatnonzero(np.diff(owner)) + 1
        for part in np.split(np.arange(len(owner)), edges):
            if part.size:
                self._waiting[int(owner[part[0]])].append((sensor[part], times[part], raw[part]))

    def _moved(self, now_ms: int, just_due: Any) -> list[tuple[Any, Times]]:
        """Return the eventful sensors that have moved since they were last looked at, as readings due now.

        Those in `just_due` report at this very instant anyway.
        """
        if not self._eventful.size:
            return []
        times = np.full(len(self._eventful), now_ms, dtype=np.int64)
        values = self._signals.values(self._eventful, times)
        # NaN, the first look, compares as not moved.
        moved = np.abs(values - self._event_last) > self._event_step
        self._event_last = np.where(moved | np.isnan(self._event_last), values, self._event_last)
        moved &= ~np.isin(self._eventful, just_due)
        return [(self._eventful[moved], times[moved])] if moved.any() else []

    def _flush(self, k: int, now_ms: int) -> None:
        self._flushed_ms[k] = now_ms
        if not self._waiting[k]:
            return
        parts, self._waiting[k] = self._waiting[k], []
        gateway = self.gateways[self._names[k]]
        clock = self._faults.on_gateway(gateway.name, "clock", now_ms)
        ahead_ms = int(clock.clock_offset_s * 1000) if clock else 0
        sensor = np.concatenate([p[0] for p in parts])
        times = np.concatenate([p[1] for p in parts]) + ahead_ms
        values = np.concatenate([p[2] for p in parts])
        sent_ms = self._sent_clock.now_ms() + ahead_ms
        for first in range(0, len(sensor), BATCH_MAX):
            part = slice(first, first + BATCH_MAX)
            names = [self._sensors[int(i)].id for i in sensor[part]]
            gateway.record(names, times[part].tolist(), values[part].tolist(), sent_ms)

    def _trouble(self, gateway: SimGateway, now_ms: int) -> None:
        """Give a gateway the troubles it has now."""
        if self._faults.on_gateway(gateway.name, "outage", now_ms):
            gateway.cut()
        else:
            gateway.mend()
        gateway.doubles = DUPLICATE_SHARE if self._faults.on_gateway(gateway.name, "duplicate", now_ms) else 0.0
        gateway.is_shuffling = self._faults.on_gateway(gateway.name, "reorder", now_ms) is not None
        reboot = self._faults.on_gateway(gateway.name, "reboot", now_ms)
        if reboot is not None and reboot.id not in self._rebooted:
            self._rebooted.add(reboot.id)
            gateway.reboot(now_ms)
