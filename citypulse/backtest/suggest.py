"""Suggest: runs a rule's candidate limits side by side on the live engine over recorded readings, in one pass."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from citypulse.errors import CityError
from citypulse.model import CityConfig, Limit, ReadingBatch, Rule, Text, Transition, TransitionKind
from rules.backtest import DAY_MS, Label, Occurrence
from rules.because import number
from rules.suggest import RISING, SAMPLE_MAX, Point, candidates, choose, curve, room, variants

from .history import History
from .run import Show, Trial

STEP_ROWS = 5_000  # readings between two looks at the features: a sample of them, in which no lane is missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The curve of one limit, the number of the suggested point if there is one, and the patch that would set it."""

    rule: Rule
    limit: Limit
    unit: str
    points: tuple[Point, ...]
    chosen: int | None
    patch: str
    days: float
    readings: int


def rules_of(config: CityConfig, rule_id: str) -> tuple[Rule, ...]:
    """Return a rule's variants in this city. CityError names the nearest when there is none."""
    found = tuple(rule for rule in config.rules if rule.id == rule_id)
    if found:
        return found
    near = difflib.get_close_matches(rule_id, {rule.id for rule in config.rules}, n=1)
    raise CityError(f"no rule {rule_id!r} is bound in this city" + (f"; did you mean {near[0]!r}?" if near else ""))


def limits_of(rules: Sequence[Rule], level: str | None, side: str | None = None) -> tuple[Limit, ...]:
    """Return the limits that are meant: of the named level, else of the mildest; of both sides unless one is named.

    side: "low" or "high". Raises CityError where there is no such limit, and says which there are.
    """
    limits = rules[0].limits
    if not rules[0].settings.needs_limits:
        raise CityError(f"{rules[0].id} is a watchdog: it has no limit to suggest")
    on_side = [m for m in limits if side in (None, side_of(m))]
    meant = level or (max(on_side, key=lambda m: m.level).level.colour if on_side else "")
    found = tuple(sorted((m for m in on_side if m.level.colour == meant), key=lambda m: m.side in RISING))
    if not found:
        wanted = " ".join(filter(None, (level, side)))
        there = ", ".join(f"{m.level.colour} {side_of(m)}" for m in limits)
        raise CityError(f"{rules[0].id} has no {wanted} limit; it has {there}")
    return found


def side_of(limit: Limit) -> str:
    """Return "high" for a limit that is crossed upwards, "low" for the others."""
    return "high" if limit.side in RISING else "low"


def suggest(
    config: CityConfig,
    rule_id: str,
    history: History,
    *,
    level: str | None = None,
    side: str | None = None,
    labels: Sequence[Label] | None = None,
    per_day_max: float | None = None,
    early_ms: int = 1_800_000,
    show: Show = lambda *_: None,
) -> tuple[Suggestion, ...]:
    """Return a suggestion for each limit that is meant: two where a level has a limit on both sides.

    Two share `per_day_max` evenly. Raises CityError.
    """
    rules = rules_of(config, rule_id)
    limits = limits_of(rules, level, side)
    found = []
    for k, limit in enumerate(limits):

        def share(done: float, readings: int, alarms: int, k: int = k) -> None:
            show((k + done) / len(limits), readings, alarms)

        bound = None if per_day_max is None else per_day_max / len(limits)
        found.append(_of_limit(config, rules, limit, history, labels, bound, early_ms, share))
    return tuple(found)


def _of_limit(
    config: CityConfig,
    rules: Sequence[Rule],
    limit: Limit,
    history: History,
    labels: Sequence[Label] | None,
    per_day_max: float | None,
    early_ms: int,
    show: Show,
) -> Suggestion:
    """Measure the rule's own feature over the history, then run every candidate for this limit over it."""
    which = rules[0].limits.index(limit)
    alike = tuple(r for r in rules if len(r.limits) > which and _stands_alike(r.limits[which], limit))
    features = _features(replace(config, rules=alike), history, show)
    values = candidates(features, limit, between=room(limit, rules[0].limits))
    trial = Trial(replace(config, rules=variants(alike, which, values)))
    readings, since_ms, until_ms = 0, 2**62, -(2**62)
    transitions: list[Transition] = []
    for columns in history:
        if not len(columns):
            continue
        batch = trial.batch(columns)
        transitions += trial.engine.step(batch, int(columns.time_ms[-1]))
        readings += len(batch)
        since_ms, until_ms = min(since_ms, int(columns.time_ms[0])), max(until_ms, int(columns.time_ms[-1]))
        show(0.5 + columns.share_done / 2, readings, len(transitions) // 2)
    found = _occurrences(transitions, trial, len(values))
    days = max((until_ms - since_ms) / DAY_MS, 1 / 24)
    points = curve(found, values, current=limit.value, labels=labels, days=days, early_ms=early_ms, until_ms=until_ms)
    chosen = choose(points, per_day_max=per_day_max)
    unit = _unit(alike[0])
    return Suggestion(
        rule=alike[0],
        limit=limit,
        unit=unit,
        points=points,
        chosen=chosen,
        patch="" if chosen is None else patch_of(alike[0], [(limit, points[chosen].value)], unit),
        days=days,
        readings=readings,
    )


def _stands_alike(one: Limit, other: Limit) -> bool:
    return (one.level, one.side, one.value) == (other.level, other.side, other.value)


def _features(config: CityConfig, history: History, show: Show) -> NDArray[np.float64]:
    """Return a sample of what the rule compares with its limits: every lane's feature after each few readings."""
    trial = Trial(config)
    samples: list[NDArray[np.float64]] = []
    taken = readings = 0
    for columns in history:
        whole = trial.batch(columns)
        readings += len(whole)
        for start in range(0, len(whole), STEP_ROWS):
            batch = whole.take(slice(start, start + STEP_ROWS))
            trial.engine.step(batch, int(batch.received_ms[-1]))
            if taken < SAMPLE_MAX:
                trial.engine.settle()
                seen = trial.engine.plan.lanes["last_x"].copy()
                samples.append(seen[np.isfinite(seen)])
                taken += len(samples[-1])
        show(columns.share_done / 2, readings, 0)
    if not readings:
        raise CityError("没有读数 none of the readings is of a configured sensor")
    if config.rules[0].detector == "threshold":  # its feature is the value itself: no need for a sample of it
        samples.append(_extremes(config, history))
    return np.concatenate(samples) if samples else np.empty(0)


def _extremes(config: CityConfig, history: History) -> NDArray[np.float64]:
    """Return the values of the rule's sensors, thinned to SAMPLE_MAX evenly."""
    trial = Trial(replace(config, rules=()))
    wanted = np.zeros(len(trial.table) + 1, np.bool_)
    wanted[[trial.table.index[s] for rule in config.rules for scope in rule.sensors for s in scope]] = True
    parts: list[NDArray[np.float64]] = []
    for columns in history:
        batch: ReadingBatch = trial.batch(columns)
        parts.append(batch.value[wanted[batch.sensor] & (batch.quality <= 2)])
    values = np.concatenate(parts) if parts else np.empty(0)
    return np.sort(values)[:: max(1, len(values) // SAMPLE_MAX)]


def _occurrences(transitions: Sequence[Transition], trial: Trial, count: int) -> list[list[Occurrence]]:
    """Fold the engine's raises and clears of each candidate into alarms."""
    found: list[list[Occurrence]] = [[] for _ in range(count)]
    running: dict[tuple[str, str], Transition] = {}
    sites = {s.id: s.site for s in trial.config.sensors}

    def close(key: tuple[str, str], end_ms: int | None) -> None:
        begun = running.pop(key)
        rule, _, k = begun.rule.rpartition("#")
        found[int(k)].append(
            Occurrence(
                rule=rule,
                scope=begun.scope,
                site=sites.get(begun.scope, begun.scope),
                level=begun.level or trial.config.rules[0].limits[0].level,
                start_ms=begun.event_ms,
                end_ms=end_ms,
                peak=begun.value,
                because=Text(zh=begun.because.zh, en=begun.because.en),
                origin="",
            )
        )

    for t in transitions:
        key = t.rule, t.scope
        if t.kind is TransitionKind.RAISE and key not in running:
            running[key] = t
        elif t.kind is TransitionKind.CLEAR and key in running:
            close(key, t.event_ms)
    for key in list(running):
        close(key, None)
    return found


# ── the patch ───────────────────────────────────────────────────────────────────────────────────

_PERIODS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0))


def _unit(rule: Rule) -> str:
    return rule.unit if rule.settings.limits_in == "value" else ""


def written(rule: Rule, value: float, unit: str) -> str:
    """Write a limit's value as the configuration wants it: with its unit, a rate per a fitting period."""
    kind = rule.settings.limits_in
    if kind == "rate":
        base = rule.unit.split("/s")[0] if rule.unit.endswith("/s") else rule.unit
        name, size = next(((n, s) for n, s in _PERIODS if abs(value) * s >= 0.5), _PERIODS[-1])
        return f"{number(value * size)} {base}/{name}"
    if kind == "seconds":
        name, size = next(((n, s) for n, s in reversed(_PERIODS) if value >= s), _PERIODS[0])
        return f"{number(value / size)} {name}"
    return f"{number(value)} {unit}".strip() if kind == "value" else number(value)


def patch_of(rule: Rule, moved: Sequence[tuple[Limit, float]], unit: str) -> str:
    """Return the YAML that moves these limits, to be put under `overrides:`; it leaves everything else as it was."""
    lines = [
        "overrides:",
        f"  - rule: {rule.id}",
        f"    applies_to: {{sensor: [{', '.join(rule.scopes)}]}}" if _is_part(rule) else "",
        "    limits:",
        *(f"      - {{level: {m.level.colour}, {m.side.value}: {written(rule, value, unit)}}}" for m, value in moved),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def patch_of_all(found: Sequence[Suggestion]) -> str:
    """Return one patch for the suggestions of one rule; "" when none of them has one."""
    moved = [(s.limit, s.points[s.chosen].value) for s in found if s.chosen is not None]
    return patch_of(found[0].rule, moved, found[0].unit) if moved else ""


def _is_part(rule: Rule) -> bool:
    """Whether to name the sensors: only for few; a rule with many is meant as a whole."""
    return 0 < len(rule.scopes) <= 3 and all("." in scope for scope in rule.scopes)
