"""What a detector is: it turns each reading of its lane into one number, the feature; one common latch does the rest.

A *lane* is one rule on one scope (a sensor, a site, a gateway). A detector brings its settings model, a
layout (its parameters and its memory, one row per lane) and a kernel that writes the feature of every sample.
The rule's limits, deadbands, delays and gap policy are applied to that feature by `rules.latch`, the
same for every detector. docs/extend/detector.md shows how to write one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citypulse.config.values import DetectorSettings
from citypulse.model import Rule, Text

from .example import Example
from .lanes import Lanes, LaneSpec
from .neighbourhood import City

__all__ = [
    "CALM", "GOOD", "HEARD", "HISTORY", "LOSS", "LOUD", "MUTE", "OVERDUE", "SAMPLE", "SKIP", "SUSPECT", "TOUCH_AHEAD",
    "Array", "Detector", "Kernel", "LaneSpec", "Layout", "Quiet", "by_rule", "inputs_of_rule",
]  # fmt: skip

# How a lane sees one sample. Smaller is better; a kernel may change it.
GOOD = 0  # evaluates fully
SUSPECT = 1  # accepted by this rule: evidence for an alarm, never against one
LOSS = 2  # a reading that cannot be used: the lane is blind until the next good one
HISTORY = 3  # late: may make a dated occurrence, never moves the live latches
SKIP = 4  # says nothing (not enough points yet): as if it had not come
OVERDUE = 5  # a watchdog's deadline has passed (synthetic: made by rules.watchdogs, for its own lane)
HEARD = 6  # a raised watchdog was heard again (synthetic)

# What a detector's quiet path (rules.quiet) answers besides the feature
LOUD = 0  # take the long way; nothing was changed that the long way would not change alike
MUTE = 1  # taken; there is nothing to say (the long way would have said SKIP)
CALM = 2  # taken; the feature is calm

TOUCH_AHEAD = 128  # rows that are fetched before they are needed: they fit the first-level cache


class Quiet(IntEnum):
    """Which quiet path a detector has: one number for each branch in `rules.quiet`."""

    NEVER = 0  # every reading becomes a sample
    VALUE = 1  # the feature is the value itself
    STUCK = 2
    RATE = 3
    COMPOSITE = 4
    NEIGHBOURS = 5
    RAIN_CONTEXT = 6
    WATER_CLASS = 7
    BLACK_ODOROUS = 8
    FORECAST = 9
    SUDDEN_CHANGE = 10


SAMPLE = np.dtype(
    [
        ("time_ms", np.int64),  # event time; for a synthetic sample the watchdog's deadline
        ("x", np.float64),  # the value on entry to a detector's kernel, the feature on exit
        ("reading", np.int32),  # index in the batch; -1 for a synthetic sample
        ("lane", np.int32),
        ("row", np.int32),  # the lane's row in its detector's memory
        ("rule", np.int32),  # the rule's row in its detector's params
        ("cause", np.int32),  # lane that explains a loss (a silent gateway), or -1
        ("slot", np.int16),  # which of the lane's inputs this is; -1 for a synthetic sample
        ("detector", np.uint8),
        ("seen", np.uint8),  # GOOD … HEARD above
    ],
    align=True,
)
"""One reading as one lane sees it: the work item that features and latches are computed on."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`params` never change; `memory` is the detector's state: the first axis of each of its arrays is the lanes."""

    params: tuple[Array, ...] = ()
    memory: tuple[Array, ...] = ()


Kernel = Callable[..., Any]
"""kernel(samples, mine, *params, *memory): for every k in `mine`, in order, replace samples[k]["x"] by the feature.

`samples` is a SAMPLE array, `mine` int32 indexes of this detector's samples. A kernel must look only at what
came before, must not change its memory for samples seen as HISTORY or worse, and sets `seen` to SKIP where it
cannot yet say anything.
"""


def by_rule(lanes: Sequence[LaneSpec], dtype: np.dtype[Any], row: Callable[[LaneSpec], tuple[Any, ...]]) -> Array:
    """Return a table with one row of parameters per rule, indexed by `sample["rule"]`: small, so always cached."""
    each = lanes.one_of_each_rule() if isinstance(lanes, Lanes) else {lane.rule_row: lane for lane in lanes}.values()
    table = np.zeros(max((lane.rule_row for lane in each), default=0) + 1, dtype)
    for lane in each:
        table[lane.rule_row] = row(lane)
    return table


def _no_layout(_: Sequence[LaneSpec]) -> Layout:
    return Layout()


def inputs_of_rule(rule: Rule, number: int, _: City) -> tuple[str, ...]:
    """Return the ids of the sensors that the rule itself names for one of its scopes."""
    return rule.sensors[number]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One row of DETECTORS."""

    name: str  # the section's name in a rule
    settings: type[DetectorSettings]
    subject: Text  # the feature in words; "{quantity}" stands for the quantity's name
    kernel: Kernel | None = None  # None: the feature is the value itself
    layout: Callable[[Sequence[LaneSpec]], Layout] = _no_layout
    inputs: Callable[[Rule, int, City], tuple[str, ...]] = inputs_of_rule  # (rule, number of its scope, city)
    is_watchdog: bool = False  # driven by receive time in rules.watchdogs, not by readings
    sees_history: bool = False  # the feature needs no memory, so late readings can be judged too
    members: Callable[[Any], tuple[str, ...]] | None = None  # other rules this one looks at, from its settings
    names: Mapping[float, Text] = field(default_factory=dict)  # features that are codes: how people call them
    quiet: Quiet = Quiet.NEVER  # optional: how a reading that changes nothing is taken without becoming a sample
    example: Example | None = None  # its own fault, and healthy data: the battery in tests/contracts runs it
