"""A district for storm tests: 1,000 sensors on 40 gateways, five rules each, two desks of four officers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from citypulse.model import (
    CityConfig,
    Crossing,
    Gateway,
    OrderPlan,
    Origin,
    Person,
    Priority,
    Route,
    Sensor,
    SensorTable,
    Side,
    Site,
    Team,
    Text,
    Transition,
    TransitionKind,
)
from tests.alerts.cast import BY_GATEWAY, CM, HERE, T0, YELLOW, city, rule, text

DOMAINS = ("flood", "water", "road", "gas")
QUANTITY = {"flood": "depth", "water": "do", "road": "void", "gas": "ch4"}
PER_SITE = 1
RULES_EACH = 5
# How serious a storm's alarms are: ISA-18.2's 80/15/5, of which one in five is red; and how many are about gas.
LEVELS = [Priority.P4] * 50 + [Priority.P3] * 30 + [Priority.P2] * 19 + [Priority.P1] * 1
GAS_SHARE = 0.02


def storm_city(sensors: int = 1000, *, gateways: int = 40, **more: Any) -> tuple[CityConfig, SensorTable]:
    """Return a city of so many sensors, two on a site, and their table."""
    sites: dict[str, Site] = {}
    all_sensors: list[Sensor] = []
    for number in range(sensors // PER_SITE):
        domain, gateway = DOMAINS[number % 4], f"gw-{number % gateways:02d}"
        name, area = f"s{number:04d}", ("north", "south", "east", "west")[number // 4 % 4]
        sites[name] = Site(id=name, name=Text(zh=f"{area}{number}号点", en=f"{area} point {number}"), domain=domain,
                           kind="underpass", area=area, lat=30.2 + number / 1e4, lon=120.1 + number % 7 / 1e3,
                           gateway=gateway)  # fmt: skip
        for channel in range(PER_SITE):
            quantity = QUANTITY[domain] + (str(channel) if channel else "")
            all_sensors.append(
                Sensor(id=f"{name}.{quantity}", site=name, gateway=gateway, quantity=quantity, domain=domain,
                       site_kind="underpass", area=area, unit="cm", scale=1.0, offset=0.0, low=0.0, high=500.0,
                       cadence_s=60, origin=HERE)
            )  # fmt: skip
    rules = []
    for domain in DOMAINS:
        scopes = tuple(s.id for s in all_sensors if s.domain == domain)
        own = tuple((s,) for s in scopes)
        for k in range(RULES_EACH):
            plan = OrderPlan(template=f"work-{domain}", verify_for_s=1800.0, opens_at=YELLOW) if k < 3 else None
            rules.append(rule(f"{domain}-{k}", "threshold", scopes, own, domain=domain, order=plan,
                              inhibited_by=(BY_GATEWAY,)))  # fmt: skip
    names = tuple(f"gw-{k:02d}" for k in range(gateways))
    rules.append(rule("gateway-silent", "gateway_silent", names, tuple(() for _ in names), is_diagnostic=True,
                      limits=(), domain=""))  # fmt: skip
    desks = [Team(id=f"desk-{k}", name=Text(zh=f"{k}班", en=f"desk {k}"), kind="duty", unit="desk") for k in "ab"]
    crews = [Team(id=f"crew-{d}", name=text(d), kind="crew", domains=(d,), unit=d) for d in DOMAINS]
    people = {
        f"{team.id}-{k}": Person(id=f"{team.id}-{k}", name=text(f"officer {k}"), role="duty", teams=(team.id,))
        for team in desks
        for k in range(4)
    }
    routes = (
        Route(id="west-east", to="desk-a", channel="robot-a", areas=("west", "east"), origin=HERE),
        Route(id="north-south", to="desk-b", channel="robot-b", areas=("north", "south"), origin=HERE),
        Route(id="red", to="desk-a", channel="phone", at_least=Priority.P1, origin=HERE),
    )
    given: dict[str, Any] = {
        "sites": sites, "sensors": tuple(all_sensors), "teams": {t.id: t for t in (*desks, *crews)}, "people": people,
        "gateways": {g: Gateway(id=g, codec="json", silent_after_s=180, area="north") for g in names},
        "routes": routes,
    }  # fmt: skip
    return city(tuple(rules), **(given | more)), SensorTable.build(tuple(s.id for s in all_sensors), tuple(all_sensors))


def storm(config: CityConfig, alarms: int = 5_000, *, seed: int = 7, start_ms: int = T0) -> Iterator[Transition]:
    """Yield `alarms` raises of different keys over 60 s, in order of time."""
    random_ = random.Random(seed)
    gas = [(r, scope) for r in config.rules if r.limits and r.domain == "gas" for scope in r.scopes]
    keys = [(r, scope) for r in config.rules if r.limits and r.domain != "gas" for scope in r.scopes]
    random_.shuffle(gas)
    random_.shuffle(keys)
    for number in range(alarms):
        # What stands already is raised anew by a later version of its rule, as after a turn of the weather.
        of = gas if random_.random() < GAS_SHARE else keys
        chosen, scope = of[number % len(of)]
        at_ms = start_ms + number * 60_000 // alarms
        yield raised(chosen.id, scope, random_.choice(LEVELS), at_ms)


def raised(rule_id: str, scope: str, level: Priority, at_ms: int, value: float = 30.0) -> Transition:
    """A raise as the rules would say it."""
    crossed = tuple(
        Crossing(level=at, limit=cm, side=Side.AT_LEAST, origin=Origin(file="rules.yaml", line=10 + at))
        for at, cm in CM.items()
        if at >= level
    )
    because = Text(zh=f"{scope} 水深 {value} cm, 持续 60 s", en=f"{scope} is {value} cm for 60 s")
    return Transition(
        rule=rule_id,
        rule_version="v1",
        scope=scope,
        kind=TransitionKind.RAISE,
        level=level,
        event_ms=at_ms - 500,
        received_ms=at_ms,
        value=value,
        crossed=crossed,
        because=because,
    )


def cleared(raise_: Transition, at_ms: int) -> Transition:
    """The end of a raise."""
    return replace(raise_, kind=TransitionKind.CLEAR, level=None, event_ms=at_ms - 500, received_ms=at_ms, value=1.0,
                   crossed=())  # fmt: skip
