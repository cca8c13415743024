"""water_class: the class of a water site by its worst single item, and the black-odorous grade (GB 3838, 2015 guide).

GB 3838-2002 table 1 (domain.md 3.1): class I to V by limits, equality counts as in the class; worse than V is
劣V, here 6. The worst item decides (单因子评价). What is not measured is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from citypulse.config.values import DetectorSettings, DurationS
from citypulse.model import Rule, Text
from rules.detector import CALM, LOSS, LOUD, SKIP, SUSPECT, Array, Detector, LaneSpec, Layout, Quiet
from rules.example import Example, daily, merged
from rules.neighbourhood import City

CLASSES = 5

# Quantity → limits of classes I to V, canonical unit mg/L. An item is in the first class whose limit it keeps.
AT_MOST: dict[str, tuple[float, float, float, float, float]] = {
    "codmn": (2, 4, 6, 10, 15),
    "cod": (15, 15, 20, 30, 40),
    "bod5": (3, 3, 4, 6, 10),
    "nh3n": (0.15, 0.5, 1.0, 1.5, 2.0),
    "tp": (0.02, 0.1, 0.2, 0.3, 0.4),
}
AT_LEAST: dict[str, tuple[float, float, float, float, float]] = {"do": (7.5, 6, 5, 3, 2)}
WITHIN: dict[str, tuple[float, float]] = {"ph": (6, 9)}  # all classes alike; outside is 劣V
LAKE: dict[str, tuple[float, float, float, float, float]] = {  # the brackets of the table, and lakes only
    "tp": (0.01, 0.025, 0.05, 0.1, 0.2),
    "tn": (0.2, 0.5, 1.0, 1.5, 2.0),
}

# Black-odorous guide of 2015: light from … (equality included) and heavy beyond …; any one item decides.
BLACK_ODOROUS: dict[str, tuple[float, float, bool]] = {  # quantity → light from, heavy beyond, is small bad
    "clarity": (25, 10, True),
    "do": (2.0, 0.2, True),
    "orp": (50, -200, True),
    "nh3n": (8.0, 15, False),
}

ROMAN = {1.0: "I", 2.0: "II", 3.0: "III", 4.0: "IV", 5.0: "V"}
CLASS_NAMES = {k: Text(zh=f"{v} 类", en=f"class {v}") for k, v in ROMAN.items()} | {
    6.0: Text(zh="劣V类", en="worse than V")
}
GRADE_NAMES = {
    0.0: Text(zh="无黑臭", en="none"),
    1.0: Text(zh="轻度黑臭", en="light"),
    2.0: Text(zh="重度黑臭", en="heavy"),
}


class WaterClass(DetectorSettings):
    """The limits are on the class number 1 to 6 (劣V), e.g. `at_least: 5`.

    `lake`: use the limits for lakes and reservoirs, and judge total nitrogen. `max_age`: an item not measured for
    so long is unknown (automatic stations measure every 4 h).
    """

    scope: ClassVar[Literal["site"]] = "site"
    limits_in: ClassVar[Literal["none"]] = "none"
    lake: bool = False
    max_age: DurationS = Field(default=12 * 3600.0, gt=0)


class BlackOdorous(DetectorSettings):
    """The limits are on the grade: 1 light, 2 heavy. `max_age` as for water_class; a day, for manual clarity."""

    scope: ClassVar[Literal["site"]] = "site"
    limits_in: ClassVar[Literal["none"]] = "none"
    max_age: DurationS = Field(default=24 * 3600.0, gt=0)


# One row per (lane, slot): the grade is `first` plus the number of limits passed, from the mildest on. Sign +1: more
# is worse. Equality keeps a limit, except the first where it is strict.
ITEM = np.dtype(
    [
        ("limit", np.float64, (CLASSES,)),
        ("limits", np.int64),
        ("sign", np.float64),
        ("first", np.float64),
        ("strict", np.int64),
    ]
)
LANE = np.dtype([("max_age_ms", np.int64), ("inputs", np.int64), ("calm_low", np.float64), ("calm_high", np.float64)])
SEEN = np.dtype([("grade", np.float64), ("time_ms", np.int64)])
NEVER = -(2**62)


def _class_item(quantity: str, settings: WaterClass) -> tuple[tuple[float, ...], float] | None:
    if settings.lake and quantity in LAKE:
        return LAKE[quantity], 1.0
    if quantity in AT_MOST:
        return AT_MOST[quantity], 1.0
    if quantity in AT_LEAST:
        return AT_LEAST[quantity], -1.0
    return None


def class_layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane and input: the item's table, and the class it had when."""
    items, rows = _tables(lanes)
    for row, lane in enumerate(lanes):
        for slot, sensor in enumerate(lane.sensors):
            item = items[row, slot]
            item["first"] = 1.0
            found = _class_item(sensor.quantity, lane.settings)
            if found is not None:
                limits, item["sign"] = found
                item["limit"][:CLASSES] = limits
                item["limits"] = CLASSES
            else:  # pH: the distance from the middle keeps one limit or is 劣V
                low, high = WITHIN[sensor.quantity]
                item["limit"][0], item["limit"][1] = low, high
                item["limits"] = 0
    return Layout(params=(items, rows), memory=(_memory(lanes),))


def grade_layout(lanes: Sequence[LaneSpec]) -> Layout:
    """Per lane and input: the item's two limits, and the grade it had when."""
    items, rows = _tables(lanes)
    for row, lane in enumerate(lanes):
        for slot, sensor in enumerate(lane.sensors):
            light, heavy, is_small_bad = BLACK_ODOROUS[sensor.quantity]
            sign = -1.0 if is_small_bad else 1.0
            item = items[row, slot]
            item["limit"][:2] = light, heavy
            item["limits"] = 2
            item["sign"] = sign
            item["strict"] = 1  # the guide's ranges: light begins with its limit, heavy only beyond its own
    return Layout(params=(items, rows), memory=(_memory(lanes),))


def _tables(lanes: Sequence[LaneSpec]) -> tuple[Array, Array]:
    width = max((len(lane.inputs) for lane in lanes), default=0)
    rows = np.zeros(len(lanes), LANE)
    for row, lane in enumerate(lanes):
        rows[row] = (round(lane.settings.max_age * 1000), len(lane.inputs), *lane.calm)
    return np.zeros((len(lanes), width), ITEM), rows


def _memory(lanes: Sequence[LaneSpec]) -> Array:
    width = max((len(lane.inputs) for lane in lanes), default=0)
    seen = np.zeros((len(lanes), width), SEEN)
    seen["time_ms"] = NEVER
    return seen


def _inputs_among(rule: Rule, number: int, city: City, known: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(s for s in rule.sensors[number] if city.sensors[s].quantity in known)


def class_inputs(rule: Rule, number: int, city: City) -> tuple[str, ...]:
    """Return the site's sensors that the standard knows."""
    known = {**AT_MOST, **AT_LEAST, **WITHIN, **(LAKE if rule.settings.lake else {})}
    return _inputs_among(rule, number, city, known)


def grade_inputs(rule: Rule, number: int, city: City) -> tuple[str, ...]:
    """Return the site's sensors that the guide knows."""
    return _inputs_among(rule, number, city, BLACK_ODOROUS)


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def grade_of(item: Array, x: float) -> float:
    """Return the class or grade of one item."""
    if item["limits"] == 0:
        return 1.0 if item["limit"][0] <= x <= item["limit"][1] else CLASSES + 1.0
    grade = item["first"]
    for j in range(item["limits"]):
        towards = item["sign"] * (x - item["limit"][j])
        if towards < 0 or (towards == 0 and not (item["strict"] and j == 0)):
            break
        grade += 1.0
    return float(grade)


@njit(cache=True, nogil=True)
def feature(samples: Array, mine: NDArray[np.int32], items: Array, rows: Array, memory: Array) -> None:
    """The worst grade of the site's items that were measured lately enough.

    An item that was bad when last seen and is lost since may still be bad: then the grade of the others is
    evidence for an alarm only. One that was calm drops out.
    """
    for k in mine:
        sample = samples[k]
        row, slot, now_ms = sample["row"], sample["slot"], sample["time_ms"]
        if sample["seen"] > LOSS:
            continue
        lane = rows[row]
        own = memory[row, slot]
        if sample["seen"] == LOSS:
            own["time_ms"] = NEVER
            for j in range(lane["inputs"]):
                if memory[row, j]["time_ms"] != NEVER:
                    sample["seen"] = SKIP  # the others still see
            continue
        own["grade"] = grade_of(items[row, slot], sample["x"])
        own["time_ms"] = max(own["time_ms"], now_ms)
        worst = own["grade"]
        for j in range(lane["inputs"]):
            other = memory[row, j]
            if other["time_ms"] != NEVER and now_ms - other["time_ms"] <= lane["max_age_ms"]:
                worst = max(worst, other["grade"])
            elif other["grade"] > 0 and not lane["calm_low"] < other["grade"] < lane["calm_high"]:
                sample["seen"] = SUSPECT
        sample["x"] = worst


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def rests(now_ms: int, x: float, slot: int, items: Array, lane: Any, seen: Array) -> tuple[int, float]:
    """Take the reading if the worst grade stays calm, and no item that was not is lost."""
    grade = grade_of(items[slot], x)
    worst = grade
    for j in range(lane["inputs"]):
        other = seen[j]
        if j == slot:
            continue
        if other["time_ms"] != NEVER and now_ms - other["time_ms"] <= lane["max_age_ms"]:
            worst = max(worst, other["grade"])
        elif other["grade"] > 0 and not lane["calm_low"] < other["grade"] < lane["calm_high"]:
            return LOUD, 0.0
    if not lane["calm_low"] < worst < lane["calm_high"]:
        return LOUD, 0.0
    seen[slot]["grade"] = grade
    seen[slot]["time_ms"] = max(seen[slot]["time_ms"], now_ms)
    return CALM, worst


WATER_CLASS = Detector(
    name="water_class",
    settings=WaterClass,
    subject=Text(zh="水质类别", en="water class"),
    kernel=feature,
    layout=class_layout,
    quiet=Quiet.WATER_CLASS,
    inputs=class_inputs,
    names=CLASS_NAMES,
    example=Example(
        sensors=("mill-river.do", "mill-river.nh3n", "mill-river.ph"),
        limits=(("at_least", 5),),
        healthy=lambda rng: merged(
            daily(rng, "mill-river.do", days=2, mean=7, swing=1, noise=0.1),
            daily(rng, "mill-river.nh3n", days=2, mean=0.6, noise=0.03, every_s=14_400),
            daily(rng, "mill-river.ph", days=2, mean=7.4, noise=0.05),
        ),
        faulty=lambda rng: merged(
            daily(rng, "mill-river.do", days=2, mean=7, swing=1, noise=0.1),
            daily(rng, "mill-river.nh3n", days=2, mean=1.8, noise=0.03, every_s=14_400),
            daily(rng, "mill-river.ph", days=2, mean=7.4, noise=0.05),
        ),
        end_s=2 * 86_400,
    ),
)
BLACK_ODOROUS_WATER = Detector(
    name="black_odorous",
    settings=BlackOdorous,
    subject=Text(zh="黑臭水体等级", en="black-odorous grade"),
    kernel=feature,
    layout=grade_layout,
    quiet=Quiet.BLACK_ODOROUS,
    inputs=grade_inputs,
    names=GRADE_NAMES,
    example=Example(
        sensors=("mill-river.do", "mill-river.clarity"),
        limits=(("at_least", 1),),
        healthy=lambda rng: merged(
            daily(rng, "mill-river.do", days=2, mean=5, swing=1, noise=0.1),
            daily(rng, "mill-river.clarity", days=2, mean=60, noise=3, every_s=3600),
        ),
        faulty=lambda rng: merged(
            daily(rng, "mill-river.do", days=2, mean=5, swing=1, noise=0.1),
            daily(rng, "mill-river.clarity", days=2, mean=15, noise=1, every_s=3600),
        ),
        end_s=2 * 86_400,
    ),
)
