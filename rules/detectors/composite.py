"""composite: how many of several other rules are in alarm on one site: all, any or k of n, by the limit's number.

The counting is in `rules.kernels.count_members`, because it must see the latches as they are at each sample.
A member that cannot see (its data is lost) and is not in alarm might be: it never helps to clear.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from citypulse.config.values import DetectorSettings
from citypulse.model import Text
from rules.detector import Detector, Quiet
from rules.example import Example, daily, merged


class Composite(DetectorSettings):
    """`rules`: ids of the rules to look at, on this site and its sensors. Limits: how many must be in alarm."""

    scope: ClassVar[Literal["site"]] = "site"
    limits_in: ClassVar[Literal["none"]] = "none"
    rules: tuple[str, ...] = Field(min_length=1)


def members(settings: Any) -> tuple[str, ...]:
    """Return the ids of the rules a composite looks at."""
    return tuple(settings.rules)


COMPOSITE = Detector(
    name="composite",
    settings=Composite,
    subject=Text(zh="同时报警的规则数", en="rules in alarm together:"),
    members=members,
    quiet=Quiet.COMPOSITE,
    example=Example(
        sensors=("mill-river.do", "mill-river.turb"),
        limits=(("at_least", 2),),
        settings={"rules": ("low-oxygen", "cloudy")},
        others=(
            ("low-oxygen", "threshold", {}, (("below", 3),)),
            ("cloudy", "threshold", {}, (("at_least", 100),)),
        ),
        healthy=lambda rng: merged(
            daily(rng, "mill-river.do", days=1, mean=2, noise=0.1),
            daily(rng, "mill-river.turb", days=1, mean=30, noise=5),
        ),
        faulty=lambda rng: merged(
            daily(rng, "mill-river.do", days=1, mean=2, noise=0.1),
            daily(rng, "mill-river.turb", days=1, mean=200, noise=5),
        ),
        end_s=86_400,
    ),
)
