"""What goes wrong with the instruments and their links, on purpose: stuck, spiking, drifting, silent; late and double.

A sensor fault changes readings before they are packed; a gateway fault changes how messages travel. All are
pure functions of the seed and the time, except that a repair ends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from citypulse.model import Sensor

from .noise import Floats, key_of, normal, uniform
from .weather import DAY_MS

Source = Callable[[Any, Any], Floats]
"""Healthy values of (sensor index, time), canonical unit: `Signals.values`."""

SENSOR_FAULTS = ("stuck", "spike", "drift", "dropout")
GATEWAY_FAULTS = ("outage", "clock", "duplicate", "reorder", "reboot")
SPIKE_SHARE = 0.05  # of the readings of a spiking sensor
SPIKE_SPANS = 0.25  # of its physical range
DRIFT_SPANS_PER_DAY = 0.15
DROPOUT_SHARE = 0.8
CLOCK_OFFSET_S = (-900.0, 240.0)  # slow by a quarter of an hour to four minutes fast; further ahead is quarantined
DUPLICATE_SHARE = 0.3
FOREVER_MS = 1 << 62

_SPELT = re.compile(
    r"(?P<kind>[a-z]+)@(?P<where>[a-z0-9_.-]+)(?:\+(?P<delay>\d+(?:\.\d+)?)(?P<du>s|min|h))?(?:/(?P<last>\d+(?:\.\d+)?)(?P<lu>s|min|h))?"
)
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of one sensor or gateway, from `start_ms` until `end_ms`."""

    id: str
    kind: str
    where: str  # sensor id or gateway id
    start_ms: int
    end_ms: int = FOREVER_MS

    def is_on(self, time_ms: int) -> bool:
        """Whether it is in force."""
        return self.start_ms <= time_ms < self.end_ms

    @property
    def clock_offset_s(self) -> float:
        """How far a `clock` fault puts the gateway's clock ahead; drawn from the fault's id."""
        low, high = CLOCK_OFFSET_S
        return low + (high - low) * float(uniform(key_of(self.id, "offset"), 0))


@dataclass(slots=True)
class Faults:
    """All faults of a run."""

    sensors: Sequence[Sensor]
    known: tuple[Fault, ...] = ()
    _index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Number the sensors."""
        self._index = {s.id: k for k, s in enumerate(self.sensors)}

    def add(self, faults: Iterable[Fault], gateways: Container[str]) -> None:
        """Let them happen; ValueError for a fault of a sensor or gateway that does not exist."""
        for fault in faults:
            known, what = (self._index, "sensor") if fault.kind in SENSOR_FAULTS else (gateways, "gateway")
            if fault.where not in known:
                raise ValueError(f"fault {fault.kind}: {what} {fault.where!r} is not configured")
            self.known = (*self.known, fault)

    def on_gateway(self, gateway: str, kind: str, now_ms: int) -> Fault | None:
        """Return the fault of this kind that a gateway has now."""
        return next((f for f in self.known if f.where == gateway and f.kind == kind and f.is_on(now_ms)), None)

    def bend(self, sensor: Any, time_ms: Any, values: Floats, healthy: Source) -> tuple[Floats, Any]:
        """Return what faulty instruments make of true values, and a mask of the readings that exist at all."""
        out = values.copy()
        kept = np.ones(len(out), dtype=bool)
        for fault in self.known:
            k = self._index.get(fault.where)
            if k is None or fault.kind not in SENSOR_FAULTS:
                continue
            rows = np.flatnonzero((sensor == k) & (time_ms >= fault.start_ms) & (time_ms < fault.end_ms))
            if not rows.size:
                continue
            times, key = time_ms[rows], key_of(fault.id)
            low, high = self.sensors[k].low, self.sensors[k].high
            match fault.kind:
                case "stuck":
                    out[rows] = healthy(np.array([k]), np.array([fault.start_ms]))[0]
                case "spike":
                    hit = uniform(key, times) < SPIKE_SHARE
                    out[rows] += np.where(hit, (high - low) * SPIKE_SPANS * np.sign(normal(key ^ 1, times)), 0.0)
                case "drift":
                    days = (times - fault.start_ms) / DAY_MS
                    out[rows] += (high - low) * DRIFT_SPANS_PER_DAY * days * (1 if key % 2 else -1)
                case _:
                    kept[rows] = uniform(key, times) >= DROPOUT_SHARE
            out[rows] = np.round(np.clip(out[rows], low, high), 6)
        return out, kept

    def repair(self, sensors: Iterable[str], at_ms: int) -> tuple[str, ...]:
        """A crew replaced these sensors (or their gateway): end their faults; return the faults' ids."""
        names = set(sensors)
        ended = tuple(f.id for f in self.known if f.where in names and f.is_on(at_ms))
        self.known = tuple(replace(f, end_ms=at_ms) if f.id in ended else f for f in self.known)
        return ended


def drawn_faults(
    sensors: Sequence[Sensor], gateways: Sequence[str], seed: int, start_ms: int, until_ms: int, *, per_day: float
) -> list[Fault]:
    """Return faults that fall evenly into the span, about `per_day` a calendar day; half of them of gateways."""
    found: list[Fault] = []
    for day in range(start_ms // DAY_MS, until_ms // DAY_MS + 1):
        for k in range(int(np.random.default_rng(key_of(seed, "faults", day)).poisson(per_day))):
            draw = uniform(key_of(seed, "fault", day, k), np.arange(5))
            at_ms = int((day + draw[0]) * DAY_MS)
            if not start_ms <= at_ms < until_ms:
                continue
            kinds = SENSOR_FAULTS if draw[1] < 0.5 else GATEWAY_FAULTS
            kind = kinds[int(draw[2] * len(kinds))]
            where = (
                sensors[int(draw[3] * len(sensors))].id
                if kinds is SENSOR_FAULTS
                else gateways[int(draw[3] * len(gateways))]
            )
            last_s = 600.0 + 5400.0 * float(draw[4])
            found.append(
                Fault(
                    id=f"{kind}@{where}@{at_ms}",
                    kind=kind,
                    where=where,
                    start_ms=at_ms,
                    end_ms=at_ms + int(last_s * 1000),
                )
            )
    return sorted(found, key=lambda f: (f.start_ms, f.id))


def parse_fault(text: str, start_ms: int) -> Fault:
    """Read `stuck@w-0112.do+10min/1h`: a kind, a sensor or gateway, a delay from the start, how long it lasts."""
    match = _SPELT.fullmatch(text.strip())
    if match is None or match["kind"] not in (*SENSOR_FAULTS, *GATEWAY_FAULTS):
        raise ValueError(
            f"fault {text!r} cannot be read; write <kind>@<sensor or gateway>[+<delay>][/<duration>], e.g. "
            f"stuck@w-0112.do+10min/1h or outage@gw-07/30min; kinds: {', '.join((*SENSOR_FAULTS, *GATEWAY_FAULTS))}"
        )
    delay_s = float(match["delay"]) * _SECONDS[match["du"]] if match["delay"] else 0.0
    at_ms = start_ms + int(delay_s * 1000)
    end_ms = at_ms + int(float(match["last"]) * _SECONDS[match["lu"]] * 1000) if match["last"] else FOREVER_MS
    return Fault(
        id=f"{match['kind']}@{match['where']}@{at_ms}",
        kind=match["kind"],
        where=match["where"],
        start_ms=at_ms,
        end_ms=end_ms,
    )
