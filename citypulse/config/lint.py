"""Warnings: what is allowed and yet hardly meant. A rule that cannot fire, cannot clear, or that nobody hears of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from citypulse.model import Limit, Priority, Rule, Sensor, Side
from citypulse.units import spell, spell_duration

from .binding import Binding
from .desk import Desk
from .files import Reading
from .inventory import Inventory
from .layers import LimitLayer
from .nodes import Node, Report, walk

_RISING = (Side.AT_LEAST, Side.ABOVE)
_JUDGES_VALUE = ("threshold", "rain_context")  # detectors of which the feature is the reading itself
_GOALS = ("at_least", "at_most", "reaches", "falls_to")  # settings that are compared with readings
CLEARS_WITHIN_S = 7 * 86_400.0  # a return that takes longer is hardly meant


def lint(reading: Reading, inventory: Inventory, bindings: Sequence[Binding], desk: Desk, report: Report) -> None:
    """Note every warning about a configuration whose entries are all sound."""
    _lint_bounds(reading, inventory, report)
    for binding in bindings:
        sensors = [inventory.sensors[k] for members in binding.rule.sensors for k in members]
        _lint_levels(binding, report)
        _lint_reach(binding, sensors, report)
        _lint_clearing(binding, report)
        _lint_goals(binding, sensors, report)
        _lint_pace(binding, sensors, report)
        _lint_order(binding, desk, report)
        _lint_routes(binding, inventory, desk, report)
    _lint_gateways(inventory, report)


def _layer(binding: Binding, limit: Limit) -> LimitLayer | None:
    return binding.layers.limits.get((limit.level.colour, limit.side in _RISING))


def _lint_bounds(reading: Reading, inventory: Inventory, report: Report) -> None:
    for document in reading.documents:
        city = document.model.city
        if city is None or city.bounds is None:
            continue
        box = city.bounds
        for site in inventory.sites.values():
            if not (box.south <= site.lat <= box.north and box.west <= site.lon <= box.east):
                node = inventory.places[f"site:{site.id}"]
                message = f"site `{site.id}` at {site.lat}, {site.lon} lies outside the district"
                report.add("W205", node, message, "latitude comes first; positions are WGS 84, not GCJ-02")


def _lint_levels(binding: Binding, report: Report) -> None:
    """Every more serious level must lie further out than every less serious one."""
    for rising in (True, False):
        limits = [lim for lim in binding.rule.limits if (lim.side in _RISING) is rising]
        for serious, mild in itertools.pairwise(limits):
            in_order = serious.value > mild.value if rising else serious.value < mild.value
            layer = _layer(binding, serious)
            if not in_order and layer is not None:
                word = "above" if rising else "below"
                high, low = serious.level.colour, mild.level.colour
                message = f"{high} is not {word} {low}: {low} could never stand alone"
                report.add("W202", layer.keys[layer.side], message, f"order the levels: red lies furthest {word}")


def _lint_reach(binding: Binding, sensors: Sequence[Sensor], report: Report) -> None:
    """A threshold must lie where the sensor can measure, and leave room to clear."""
    is_scaled = getattr(binding.rule.settings, "effect", "") == "scale"
    if binding.rule.detector not in _JUDGES_VALUE or is_scaled or not sensors:
        return
    low, high = min(s.low for s in sensors), max(s.high for s in sensors)
    unit = binding.rule.unit
    for limit in binding.rule.limits:
        layer = _layer(binding, limit)
        if layer is None:
            continue
        node = layer.keys[layer.side]
        if not low <= limit.value <= high:
            message = f"limit {spell(limit.value, unit)} lies outside the sensors' range {low:g} to {spell(high, unit)}"
            report.add("W201", node, message, "check the unit; beyond the range a reading counts as failed")
            continue
        calm = limit.value - limit.deadband if limit.side in _RISING else limit.value + limit.deadband
        strict = limit.side in (Side.AT_LEAST, Side.AT_MOST)  # equality breaches, so it cannot clear either
        reachable = (
            (low < calm or (low == calm and not strict))
            if limit.side in _RISING
            else (calm < high or (calm == high and not strict))
        )
        if not reachable:
            word = "below" if limit.side in _RISING else "above"
            message = f"{limit.level.colour} would never clear: it needs a value {word} {spell(calm, unit)}"
            report.add("W204", layer.keys.get("deadband", node), message, "make the dead band narrower")


def _lint_clearing(binding: Binding, report: Report) -> None:
    """A count, a ratio or a duration is never below nought, and a return must come within a week."""
    is_at_least_nought = type(binding.rule.settings).limits_in in ("seconds", "none")
    for limit in binding.rule.limits:
        layer = _layer(binding, limit)
        if layer is None:
            continue
        calm = limit.value - limit.deadband
        if is_at_least_nought and limit.side in _RISING and (calm < 0 or (calm == 0 and limit.side is Side.AT_LEAST)):
            node = layer.keys.get("deadband", layer.keys[layer.side])
            message = f"{limit.level.colour} would never clear: it needs less than {calm:g}"
            report.add("W204", node, message, "make the dead band narrower")
        if limit.off_delay_s > CLEARS_WITHIN_S:
            message = f"{limit.level.colour} clears only after {spell_duration(limit.off_delay_s)} of calm"
            hint = "at most a week; an alarm that somebody must reset is `latch: true`"
            report.add("W213", layer.keys["off_delay"], message, hint)


def _lint_goals(binding: Binding, sensors: Sequence[Sensor], report: Report) -> None:
    """A value that readings are compared with in the settings must lie where the sensors can measure."""
    settings: Any = binding.rule.settings
    for key in _GOALS:
        value = getattr(settings, key, None)
        if key not in binding.layers.settings or not isinstance(value, float) or not sensors:
            continue
        low, high = min(s.low for s in sensors), max(s.high for s in sensors)
        if not low <= value <= high:
            unit = sensors[0].unit
            message = f"`{key}` {spell(value, unit)} lies outside the sensors' range {low:g} to {spell(high, unit)}"
            report.add("W201", _setting(binding, key), message, "check the unit; no good reading is ever there")


def _lint_pace(binding: Binding, sensors: Sequence[Sensor], report: Report) -> None:
    """A window must hold enough readings to judge, and a watchdog must wait longer than one cadence."""
    settings: Any = binding.rule.settings
    slowest_s = max((s.cadence_s for s in sensors), default=0)
    window_s, points = getattr(settings, "window", None), getattr(settings, "min_points", None)
    if isinstance(window_s, float) and isinstance(points, int) and (points - 1) * slowest_s > window_s:
        message = (
            f"a window of {spell_duration(window_s)} never holds {points} readings"
            f" taken every {spell_duration(slowest_s)}: the rule cannot fire"
        )
        report.add("W211", _setting(binding, "window"), message, "widen the window or lower `min_points`")
    after_s = getattr(settings, "after", None)
    if isinstance(after_s, float) and binding.rule.limits and 0 < after_s < slowest_s:
        message = (
            f"{spell_duration(after_s)} is shorter than the cadence of {spell_duration(slowest_s)}: it alarms always"
        )
        report.add("W210", _setting(binding, "after"), message, "write for example `3 * cadence`")


def _setting(binding: Binding, key: str) -> Node:
    entry = binding.layers.settings.get(key)
    return entry[1] if entry else binding.layers.section


def _lint_order(binding: Binding, desk: Desk, report: Report) -> None:
    rule = binding.rule
    if rule.order is None:
        return
    node = binding.layers.fields["order"]
    if rule.limits and min(lim.level for lim in rule.limits) > rule.order.opens_at:
        message = f"no level of `{rule.id}` is as serious as {rule.order.opens_at.colour}: no order would ever open"
        report.add("W207", walk(node, ["opens_at"]), message, "lower `opens_at`, or remove `order:`")
    crews = [t for t in desk.teams.values() if t.kind == "crew"]
    if not any(not t.domains or rule.domain in t.domains for t in crews):
        message = f"no crew works in {rule.domain or 'every domain'}: the order of `{rule.id}` has nobody to go to"
        report.add("W209", node, message, "add the domain to a crew in `teams:`")


def _lint_routes(binding: Binding, inventory: Inventory, desk: Desk, report: Report) -> None:
    rule = binding.rule
    if not rule.limits:
        return
    worst = min(lim.level for lim in rule.limits)
    areas = _areas(rule, inventory)
    unheard = sorted(a for a in areas if not _is_heard(rule, worst, a, desk))
    if unheard:
        where = "" if len(unheard) == len(areas) else " in " + ", ".join(unheard[:5])
        message = f"nobody hears of `{rule.id}`{where}: no route takes {worst.colour} of {rule.domain or 'gateways'}"
        report.add("W206", binding.layers.node.key("id"), message, "add a route, or lower its `at_least`")


def _areas(rule: Rule, inventory: Inventory) -> set[str]:
    areas = {inventory.sensors[k].area for members in rule.sensors for k in members}
    return areas or {inventory.gateways[k].area for k in rule.scopes if k in inventory.gateways}


def _is_heard(rule: Rule, level: Priority, area: str, desk: Desk) -> bool:
    return any(
        level <= route.at_least
        and (not route.domains or rule.domain in route.domains)
        and (not route.areas or area in route.areas)
        for route in desk.routes.values()
    )


def _lint_gateways(inventory: Inventory, report: Report) -> None:
    """A gateway must have sensors, and must be given longer than the fastest of them before it counts as silent."""
    fastest_s: dict[str, int] = {}
    for sensor in inventory.sensors.values():
        fastest_s[sensor.gateway] = min(sensor.cadence_s, fastest_s.get(sensor.gateway, sensor.cadence_s))
    for key, gateway in inventory.gateways.items():
        node = inventory.places[f"gateway:{key}"]
        if key not in fastest_s:
            report.add("W208", node, f"gateway `{key}` has no sensor", "remove it, or give it to a site")
        elif gateway.silent_after_s <= fastest_s[key]:
            silent, pace = spell_duration(gateway.silent_after_s), spell_duration(fastest_s[key])
            message = f"`{key}` counts as silent after {silent}, but its fastest sensor reports every {pace}"
            report.add("W212", node, message, "make `silent_after` two or three times the cadence")
