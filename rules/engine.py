"""The rules engine: graded readings in, transitions out, in event time, from array state.

Promises: any split of the same stream into steps gives the same transitions in the same order, as long as `now`
never runs ahead of readings still to come; data loss never clears; there is no work per step that grows with the
number of sensors, except when a watchdog's deadline has really come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.model import (
    Crossing,
    Gateway,
    GatewayHeard,
    Lane,
    Priority,
    Quantity,
    ReadingBatch,
    Rule,
    SensorTable,
    Site,
    Transition,
    TransitionKind,
)

from . import ahead, doors, kernels, snapshot, watchdogs
from .ahead import Left, take_ahead
from .because import Speaker
from .compile import compile_rules
from .detector import OVERDUE, SAMPLE, Detector
from .detectors import DETECTORS
from .detectors.rate import SCRATCH
from .fanout import SAMPLES_MAX, fan_out
from .quiet import memories
from .snapshot import RestoreReport
from .why import Traces, Why, explain

Array = NDArray[Any]

_KINDS = (
    TransitionKind.RAISE,
    TransitionKind.LEVEL,
    TransitionKind.CLEAR,
    TransitionKind.DATA_LOSS,
    TransitionKind.DATA_BACK,
)


NOTHING_HEARD = GatewayHeard()
TURNS_MAX = 2**30  # then counting begins again: a lane that last had a sample that long ago takes the long way once


def _plain(batch: ReadingBatch) -> ReadingBatch:
    """Return the batch with plain columns: read-only or strided ones would each compile every kernel once more."""
    columns = (batch.sensor, batch.time_ms, batch.value, batch.quality, batch.lane, batch.received_ms)
    if all(column.flags.carray for column in columns):
        return batch
    return ReadingBatch(
        sensor=np.array(batch.sensor),
        time_ms=np.array(batch.time_ms),
        value=np.array(batch.value),
        quality=np.array(batch.quality),
        lane=np.array(batch.lane),
        received_ms=np.array(batch.received_ms),
    )


@dataclass(slots=True)
class _Scratch:
    """Arrays that are written anew in every step."""

    samples: Array
    order: Array
    starts: Array
    slopes: Array = field(default_factory=lambda: np.empty(SCRATCH, np.float64))
    turn: int = 0  # slices of work done; lanes remember in which they last had a sample
    events: Array = field(default_factory=watchdogs.no_events)
    outcomes: Array = field(default_factory=lambda: np.empty(256, kernels.OUTCOME))


class Engine:
    """One compiled set of rules with its live state."""

    def __init__(
        self,
        rules: Sequence[Rule],
        table: SensorTable,
        sites: Mapping[str, Site],
        gateways: Mapping[str, Gateway],
        *,
        quantities: Mapping[str, Quantity] | None = None,
        detectors: Mapping[str, Detector] = DETECTORS,
        timezone: str = "UTC",
    ) -> None:
        """Compile `rules`. `quantities` (CityConfig.quantities) gives the names used in sentences.

        timezone: the city's, an IANA name: what hour of the day it is for detectors that ask.
        """
        self.plan = compile_rules(rules, table, sites, gateways, detectors, timezone)
        self.heed: Callable[[Array], None] | None = None  # told of the samples of every slice, features in their place
        self._quantities = quantities or {}
        self._speakers: dict[int, Speaker] = {}
        self._soonest = watchdogs.FOREVER
        self._is_started = False
        self._traces = Traces()
        self._names: dict[str, Any] = {}
        self._memories = memories(self.plan.detectors, self.plan.layouts)
        slots = max(SAMPLES_MAX, self.plan.widest + 1)
        self._scratch = _Scratch(
            samples=np.empty(slots, SAMPLE),
            order=np.empty(slots, np.int32),
            starts=np.zeros(len(self.plan.detectors) + 1, np.int64),
        )

    # ── the step ────────────────────────────────────────────────────────────────────────────────

    def step(self, batch: ReadingBatch, now_ms: int, heard: GatewayHeard = NOTHING_HEARD) -> list[Transition]:
        """Take the readings and the gateways' news, let deadlines up to `now_ms` pass, return what changed, in order.

        batch.received_ms must not decrease within and across steps, nor exceed `now_ms`.
        """
        batch = _plain(batch)
        events, n_events = self._watch(batch, now_ms, heard)
        transitions: list[Transition] = []
        left = self._ahead(batch, events[:n_events])
        k = e = 0
        while k < len(left.readings) or e < n_events:  # in slices: what one slice needs stays in the cache
            k, e, n = self._fan_out(batch, left, events, n_events, k, e)
            self._features()
            if self.heed is not None:
                self.heed(self._scratch.samples[:n])
            changed = self._latch(n)
            transitions.extend(self._transition(outcome, batch) for outcome in self._scratch.outcomes[:changed])
        return transitions

    def warm_up(self) -> None:
        """Load every kernel these rules need, or compile it, now: on a new machine that takes half a minute.

        Changes no state. For the start of a service; without it the first step pays.
        """
        nothing = ReadingBatch.empty()
        self._bark(nothing, np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64), kernels.NEVER)
        left = self._ahead(nothing, self._scratch.events[:0])
        self._fan_out(nothing, left, self._scratch.events, 0, 0, 0)
        plan = self.plan
        ahead.warm_up(self._scratch.events[:0], plan.doors, plan.feeds, plan.lanes, plan.rules, self._memories)
        self._latch(0)
        used = set(self.plan.lane_detector.tolist())
        for d, (detector, layout) in enumerate(zip(self.plan.detectors, self.plan.layouts, strict=True)):
            if detector.kernel is not None and d in used:
                detector.kernel(self._scratch.samples, self._scratch.order[:0], *layout.params, *layout.memory)

    def _ahead(self, batch: ReadingBatch, events: Array) -> Left:
        """Take what may be taken ahead of the others; return what is left."""
        plan = self.plan
        return take_ahead(batch, events, plan.doors, plan.feeds, plan.lanes, plan.rules, self._memories)

    def _fan_out(
        self, batch: ReadingBatch, left: Left, events: Array, n_events: int, k: int, e: int
    ) -> tuple[int, int, int]:
        """Fill the samples with the next slice of what is left; return (next place, next event, samples)."""
        plan, scratch = self.plan, self._scratch
        scratch.turn = scratch.turn % TURNS_MAX + 1
        k, e, n, _ = fan_out(
            left.readings,
            left.sensor,
            left.taken,
            batch.time_ms,
            batch.value,
            batch.quality,
            batch.lane,
            events,
            n_events,
            plan.doors,
            plan.feeds,
            plan.lane_detector,
            plan.lanes,
            plan.rules,
            plan.members,
            self._memories,
            scratch.slopes,
            scratch.turn,
            k,
            e,
            scratch.samples,
            scratch.starts,
            scratch.order,
        )
        return k, e, n

    def _features(self) -> None:
        """Let every detector turn its samples' values into features."""
        plan, scratch = self.plan, self._scratch
        starts = scratch.starts.tolist()
        for d, detector in enumerate(plan.detectors):
            if detector.kernel is not None and starts[d] < starts[d + 1]:
                layout = plan.layouts[d]
                mine = scratch.order[starts[d] : starts[d + 1]]
                detector.kernel(scratch.samples, mine, *layout.params, *layout.memory)

    def _latch(self, n: int) -> int:
        """Run n samples through the latches; return how many outcomes there are in the scratch."""
        plan, scratch, traces = self.plan, self._scratch, self._traces
        scratch.outcomes, changed = kernels.latch_samples(
            scratch.samples,
            n,
            plan.lanes,
            plan.latches,
            plan.rules,
            plan.limits,
            plan.members,
            traces.points,
            traces.counts,
            traces.free,
            scratch.outcomes,
        )
        return int(changed)

    def _watch(self, batch: ReadingBatch, now_ms: int, heard: GatewayHeard) -> tuple[Array, int]:
        """Run the watchdogs over the batch; return what they found, in order of receive time."""
        plan, scratch = self.plan, self._scratch
        if len(plan.guards) == 0:
            return scratch.events, 0
        numbers = [plan.gateway_number.get(g, -1) for g in heard.gateway]
        known = [k for k, number in enumerate(numbers) if number >= 0]
        news_gateway = np.array([numbers[k] for k in known], np.int32)
        news_ms = np.asarray(heard.received_ms, np.int64)[known] if known else np.zeros(0, np.int64)
        kinds = [watchdogs.NEWS_OFFLINE if heard.is_offline[k] else watchdogs.NEWS_HEARD for k in known]
        if not self._is_started:
            start_ms = min([now_ms, *batch.received_ms[:1].tolist(), *news_ms[:1].tolist()])
            self.begin(start_ms)
        n_events = self._bark(batch, news_gateway, np.array(kinds, np.uint8), news_ms, now_ms)
        return scratch.events, n_events

    def _bark(self, batch: ReadingBatch, news_gateway: Array, news_kind: Array, news_ms: Array, now_ms: int) -> int:
        """Call the watchdogs' kernel; it leaves the earliest deadline to come and the events in their places."""
        plan, scratch = self.plan, self._scratch
        self._soonest, scratch.events, n_events, _ = watchdogs.watch(
            batch.sensor,
            batch.quality,
            batch.lane,
            batch.value,
            batch.received_ms,
            news_gateway,
            news_kind,
            news_ms,
            now_ms,
            plan.guards,
            plan.gates,
            plan.gate_sensors,
            plan.watched,
            self._soonest,
            scratch.events,
        )
        return int(n_events)

    def begin(self, start_ms: int) -> None:
        """Let the grace periods of watchdogs that never ran begin at `start_ms`; else the first step's stamp does."""
        guards = self.plan.guards
        guards["base_ms"][guards["base_ms"] == kernels.NEVER] = start_ms
        self._soonest = kernels.NEVER  # look at every guard in the next step
        self._is_started = True

    def resume(self, down_ms: int) -> None:
        """Extend every running watchdog by the time we were down ourselves: our silence is not the sensors'."""
        plan = self.plan
        guards = plan.guards
        is_gateway = guards["is_gateway"] == 1
        heard = np.full(len(guards), kernels.NEVER, np.int64)
        heard[is_gateway] = plan.gates["heard_ms"][guards["subject"][is_gateway]]
        heard[~is_gateway] = plan.watched["heard_ms"][guards["subject"][~is_gateway]]
        running = (guards["base_ms"] != kernels.NEVER) & (guards["state"] == watchdogs.ARMED)
        guards["base_ms"][running] = np.maximum(heard, guards["base_ms"])[running] + down_ms
        gone = plan.gates["offline_ms"] != kernels.NEVER
        plan.gates["offline_ms"][gone] += down_ms
        self._soonest = kernels.NEVER

    # ── what changed, in words ──────────────────────────────────────────────────────────────────

    def _speaker(self, lane: int) -> Speaker:
        if lane not in self._speakers:
            spec = self.plan.specs[lane]
            detector = self.plan.detectors[self.plan.lane_detector[lane]]
            self._speakers[lane] = Speaker(spec, detector, self._quantities)
        return self._speakers[lane]

    def _transition(self, outcome: Any, batch: ReadingBatch) -> Transition:
        """Turn one outcome into the noun. Rare, so plain Python."""
        plan = self.plan
        sample = self._scratch.samples[outcome["sample"]]
        lane = int(sample["lane"])
        rule = plan.specs[lane].rule
        kind = _KINDS[outcome["kind"]]
        was = Priority(int(outcome["was"])) if outcome["was"] else None
        level = Priority(int(outcome["level"])) if outcome["level"] else None
        limit = rule.limits[outcome["limit"]] if outcome["limit"] >= 0 else None
        event_ms, breach_ms, x = int(outcome["event_ms"]), int(outcome["breach_ms"]), float(outcome["x"])
        is_synthetic = sample["reading"] < 0
        is_watchdog = plan.detectors[sample["detector"]].is_watchdog
        crossed: tuple[Crossing, ...] = ()
        if kind in (TransitionKind.RAISE, TransitionKind.LEVEL):
            mask = int(outcome["crossed"])
            met = [k for k in range(len(rule.limits)) if mask >> k & 1]
            if not met and kind is TransitionKind.RAISE:
                met = [int(outcome["limit"])]
            crossed = tuple(
                Crossing(level=m.level, limit=m.value, side=m.side, origin=m.origin)
                for m in sorted((rule.limits[k] for k in met), key=lambda m: m.level)
            )
        lasted_ms = 0 if is_watchdog or breach_ms == kernels.NEVER else event_ms - breach_ms
        if is_watchdog and sample["seen"] == OVERDUE:
            breach_ms = event_ms - round(x * 1000)
        because = self._speaker(lane).because(kind, limit, was, x, lasted_ms / 1000, is_late=bool(outcome["late"]))
        cause = int(sample["cause"])
        return Transition(
            rule=rule.id,
            rule_version=rule.version,
            scope=plan.specs[lane].scope,
            kind=kind,
            level=level,
            event_ms=event_ms,
            received_ms=int(sample["time_ms"]) if is_synthetic else int(batch.received_ms[sample["reading"]]),
            value=float("nan") if is_watchdog else x,
            crossed=crossed,
            breach_ms=event_ms if breach_ms == kernels.NEVER else breach_ms,
            lane=Lane.HISTORY if outcome["late"] else Lane.LIVE,
            because=because,
            parent=f"{'|'.join(plan.specs.name(cause))}" if cause >= 0 else "",
        )

    # ── what it knows ───────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """Bring `plan.lanes` up to date: call it before reading `last_ms` or `last_x` there (rules.doors says why)."""
        memories = self._memories
        doors.settle(self.plan.doors, self.plan.feeds, self.plan.lanes, memories.stuck_rules, memories.stuck_runs)

    def why(self, rule_id: str, scope: str) -> Why:
        """Explain where one rule stands on one scope. KeyError when it does not apply there."""
        self.settle()
        lane = self.plan.lane_of[rule_id, scope]
        return explain(self.plan, lane, self._speaker(lane), self._traces)

    def active(self) -> dict[tuple[str, str], Priority]:
        """Return the level of every (rule id, scope) that is in alarm now."""
        lanes = self.plan.lanes
        return {
            self.plan.specs.name(k): Priority(int(lanes["level"][k])) for k in np.flatnonzero(lanes["level"]).tolist()
        }

    def _keys(self) -> dict[str, Any]:
        """Return the names of all lanes and latches: made for the first snapshot, and kept."""
        if not self._names:
            self._names = snapshot.layout_keys(self.plan)
        return self._names

    def state(self) -> dict[str, Any]:
        """Return everything the next step depends on, as plain arrays, lists and numbers (a copy)."""
        self.settle()
        return snapshot.save(self.plan, self._keys(), self._traces)

    def restore(self, state: Mapping[str, Any]) -> RestoreReport:
        """Take over a saved state, matched by rule, scope and limit; the rules may have changed since.

        Only for an engine that has not stepped yet.
        """
        report = snapshot.load(self.plan, self._keys(), self._traces, state)
        doors.shut(self.plan.doors)
        self._is_started = not (self.plan.guards["base_ms"] == kernels.NEVER).any()
        self._soonest = kernels.NEVER
        return report
