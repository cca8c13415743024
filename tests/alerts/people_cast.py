"""The people of Mill City: duty Dan and Dee, lead Lea, Sun of the street, Bao of the district; a rota and a chain."""

from __future__ import annotations

from typing import Any

from alerts.people.rota import Roster
from citypulse.model import (
    Chain,
    ChainStep,
    ChannelConfig,
    CityConfig,
    Origin,
    Person,
    Priority,
    Rota,
    Route,
    Shift,
)
from tests.alerts.cast import HERE, RED, YELLOW, city, text

LINE = Origin(file="city.yaml", line=40)


def person(name: str, role: str, **more: Any) -> Person:
    given: dict[str, Any] = {"teams": ("desk",), "unit": "desk", "contacts": (("phone", f"+86 {name}"),)}
    return Person(id=name, name=text(name.title()), role=role, **(given | more))


PEOPLE = {
    p.id: p
    for p in (
        person("dan", "duty"),
        person("dee", "duty"),
        person("lea", "lead"),
        person("ada", "crew", teams=("pumps",), unit="pumps", level="person", domains=("flood",)),
        person("sun", "supervisor", teams=(), level="street", areas=("north",)),
        person("bao", "boss", teams=(), level="district"),
    )
}
DESK = Rota(
    team="desk",
    timezone="Asia/Shanghai",
    first_day="2026-11-22",
    shifts=(
        Shift(id="day", starts_s=8 * 3600, ends_s=20 * 3600, groups=(("dan", "lea"), ("dee",)), origin=LINE),
        Shift(id="night", starts_s=20 * 3600, ends_s=32 * 3600, groups=(("dee",), ("dan",)), origin=LINE),
    ),
    fallback=("lea",),
    origin=LINE,
)


def step(after_s: int, *to: str, by: tuple[str, ...] = ()) -> ChainStep:
    return ChainStep(after_s=after_s, to=to, by=by, origin=Origin(file="city.yaml", line=50 + after_s // 60))


RED_CHAIN = Chain(
    id="red", name=text("red"), levels=(RED,), every_s=1800, rounds=2, origin=LINE,
    steps=(step(0, "on-duty", by=("phone",)), step(120, "on-duty", by=("phone",)),
           step(300, "lead-on-duty", by=("phone",)), step(600, "level:street", "level:district", by=("phone",))),
)  # fmt: skip
MILD_CHAIN = Chain(
    id="mild", name=text("mild"), levels=(Priority.P2, YELLOW), origin=LINE,
    steps=(step(600, "routes"), step(1200, "every-desk", "team:pumps")),
)  # fmt: skip


def peopled(**more: Any) -> CityConfig:
    given: dict[str, Any] = {
        "people": PEOPLE,
        "rotas": {"desk": DESK},
        "chains": {"red": RED_CHAIN, "mild": MILD_CHAIN},
        "routes": (
            Route(id="all-to-desk", to="desk", channel="board", chains=("red", "mild"), origin=HERE),
            Route(id="pump-crew", to="pumps", channel="phone", domains=("flood",), origin=HERE),
        ),
        "channels": {
            "board": ChannelConfig(id="board", kind="log", settings=None, origin=HERE),
            "phone": ChannelConfig(id="phone", kind="sms", settings=None, origin=HERE),
        },
    }
    return city(**(given | more))


def roster(config: CityConfig | None = None) -> Roster:
    return Roster(config or peopled())
