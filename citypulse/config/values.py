"""The markers by which a detector's settings say which of their numbers carry a unit, and their common base.

In YAML a person writes `window: 5 min`, `tolerance: 0.5 cm`, `drift: 2 cm/min` or `after: 3 * cadence`.
The loader knows the sensor a rule is bound to, so it resolves such scalars *before* it builds the
settings model: inside the model they are plain floats in seconds, in the quantity's canonical unit, or in
that unit per second.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from citypulse.model import Priority

LEVELS = ("red", "orange", "yellow", "blue")

DurationS = Annotated[
    float,
    "duration",
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(-?\d+(\.\d+)? *(ms|s|min|h|d|wk)|\d+(\.\d+)? *\* *cadence|cadence)$",
            "description": "a duration: 60 s · 5 min · 2 h · 1 d · 3 * cadence",
        }
    ),
]
"""Seconds. YAML: `60 s`, `5 min`, `2 h`, `1 d`, or `3 * cadence` (of the sensor the rule is bound to)."""

ValueIn = Annotated[
    float,
    "value",
    WithJsonSchema({"type": ["string", "number"], "description": "a number with its unit: 15 cm · 0.5 mg/L · 1 %VOL"}),
]
"""A value in the quantity's canonical unit. YAML: `15 cm`, `0.5 mg/L`; the unit may be any of its dimension."""

RateIn = Annotated[
    float,
    "rate",
    WithJsonSchema({"type": "string", "description": "a change over time: 5 cm/5 min · 2 %/min · 3 mm/d"}),
]
"""A change in canonical unit per second. YAML: `5 cm/5 min`, `2 %/min`."""

Marker = Literal["duration", "value", "rate"]
MARKERS: tuple[Marker, ...] = ("duration", "value", "rate")


def _level(value: Any) -> Any:
    return Priority.from_colour(value) if value in LEVELS else value


Level = Annotated[Priority, BeforeValidator(_level), WithJsonSchema({"enum": list(LEVELS)})]
"""A warning level: YAML `red | orange | yellow | blue`, inside `Priority`."""


class Strict(BaseModel):
    """Base of every model a configuration file is checked against: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


class DetectorSettings(Strict):
    """Base of every detector's settings: what stands in the rule under the detector's name.

    A watchdog (`needs_limits = False`) has no `limits:`; the rule gives one `level:` instead, from which the
    loader makes the rule's only `Limit`: side AT_LEAST, value = the settings' field `after` in seconds when
    there is one, else the gateway's `silent_after_s` (scope "gateway"), else 0.

    A field called `rules` names other rules; the loader sees to it that they exist.
    """

    scope: ClassVar[Literal["sensor", "site", "gateway"]] = "sensor"
    """What one latch of the rule belongs to: each matched sensor, each site with all of them, each gateway."""

    limits_in: ClassVar[Literal["value", "rate", "seconds", "none"]] = "value"
    """Unit of the limits inside the house: the quantity's canonical unit, that per second, seconds, a bare number."""

    inputs_max: ClassVar[int | None] = None
    """At most so many sensors in one scope (a site with more is an error); None: any number."""

    needs_limits: ClassVar[bool] = True
    """Whether the rule must give `limits:` (True) or a single `level:` (False)."""
