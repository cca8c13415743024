"""The demo's whole city in one process: broker, gateways, service, console, providers of messages, and people."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from alerts.channels import CHANNELS
from alerts.people.rota import Roster
from citypulse.app import Service
from citypulse.clock import SpedClock
from citypulse.config import load_city
from citypulse.model import ChannelConfig, CityConfig, Drills, Origin
from citypulse.vocabulary import extensions
from simulators.broker import DemoBroker
from simulators.crews import Crews
from simulators.district import District
from simulators.phones import Phones, digits
from simulators.providers import Providers
from simulators.story import Story, demo_story

from .demo_drill import Drill
from .serving import serve_console

EVENING: Final = datetime(2026, 11, 20, 21, 0)
"""When the demo begins. Always the same evening: who is on duty and how it drizzles is then the same for everybody."""
PACE: Final = 0.2  # the demo's crews are quick, so that a loop closes while somebody watches
POLL_S: Final = 0.5
WAIT_MIN_S: Final = 0.05
LEAD_ANSWERS_S: Final = 110.0  # after the first text: by then the chain has gone one step further
PEOPLE: Final = (("duty", "duty", "centre"), ("lead", "lead", "centre"), ("checker", "checker", "inspection"))
ORIGIN: Final = Origin(file="demo", line=0)
ROBOT, SMS = "robot", "sms"
ROBOT_PER_MINUTE: Final = 15  # of the 20 it takes: at a sped clock the way there is long


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoCity:
    """Everything that runs. facts: what the head of the view says about it."""

    service: Service
    district: District
    crews: Crews
    phones: Phones
    providers: Providers
    drill: Drill
    story: Story
    facts: dict[str, str]

    def stop_people(self) -> None:
        """Send everybody home, so that what is counted stands still."""
        self.drill.stop()
        self.crews.stop()
        self.phones.stop()


@contextmanager
def demo_city(
    config_path: Path, seed: int, speed: float, http: str, data_dir: Path | None, *, is_embedded: bool
) -> Iterator[DemoCity]:
    """Run a city while the block runs. Raises ConfigError and CityError as its parts do."""
    config = load_city(config_path, extensions())
    start_ms = round(EVENING.replace(tzinfo=ZoneInfo(config.timezone)).timestamp() * 1000)
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="citypulse-demo-")))
        broker = stack.enter_context(DemoBroker(is_embedded=is_embedded))
        clock = SpedClock(start_ms=start_ms, speed=speed, is_held=True, wait_min_s=WAIT_MIN_S)
        providers = stack.enter_context(Providers(clock.now_ms))
        config = wired(config, providers)
        service = Service(config=config, data_dir=folder, clock=clock, broker_url=broker.url)
        stack.enter_context(service)
        server = stack.enter_context(serve_console(service, http, folder))
        # The links in messages lead to this very console, on whatever port it got.
        service.signer.public_url = server.address
        tokens = {role: service.users.add(f"sim-{name}", role=role, unit=unit) for name, role, unit in PEOPLE}
        for team in config.teams.values():
            if team.kind == "crew":
                tokens[f"crew:{team.id}"] = service.users.add(f"sim-{team.id}", role="crew", unit=team.unit)
                tokens.setdefault("crew", tokens[f"crew:{team.id}"])
        story = demo_story(config.sites, config.sensors, seed, start_ms)
        district = District(
            config,
            seed,
            clock,
            broker.url,
            connections=0 if broker.kind == "mosquitto" else 4,
            incidents=story.incidents,
            faults=story.faults,
            cells=story.cells,
            has_storms=False,
        )
        crews = Crews(
            server.address,
            tokens,
            clock,
            district.repair,
            seed,
            teams=config.teams,
            sites=config.sites,
            pace=PACE,
            poll_s=POLL_S,
            leaves=_is_for_the_phone,
            botches=lambda order: story.is_botched(order["asset"], order.get("rework_count", 0)),
        )
        phones = Phones(providers, clock, awake_at(config, start_ms))
        drill = Drill(server.address, tokens["lead"], clock, story.drill, story.drill_ms)
        people = (crews, phones, drill)
        clock.go()
        district.start()
        for one in people:
            one.start()
        facts = {"broker": f"{broker.kind} (not durable)", "console": server.address, "data": str(folder)}
        city = DemoCity(
            service=service,
            district=district,
            crews=crews,
            phones=phones,
            providers=providers,
            drill=drill,
            story=story,
            facts=facts,
        )
        try:
            yield city
        finally:
            city.stop_people()
            district.stop()


def wired(config: CityConfig, providers: Providers) -> CityConfig:
    """Return the city with the demo's ways out in place of its own: desks by robot, people and crews by SMS.

    Everything else, routes, rota, chains, rules and clocks, stays as the file says.
    """
    robot = {"url": providers.robot_url, "per_minute": ROBOT_PER_MINUTE, "fail_over_to": [SMS]}
    sms = {"url": providers.sms_url, "success": "code", "success_values": [0], "fail_over_to": [ROBOT]}
    channels = {ROBOT: _channel(ROBOT, "dingtalk", robot), SMS: _channel(SMS, "sms", sms)}
    duty = {team.id for team in config.teams.values() if team.kind == "duty"}
    reached = {t for p in config.people.values() for t in p.teams if p.address("phone")}
    routes = tuple(replace(r, channel=SMS if r.to not in duty and r.to in reached else ROBOT) for r in config.routes)
    chains = {
        name: replace(chain, steps=tuple(replace(step, by=(SMS,)) for step in chain.steps))
        for name, chain in config.chains.items()
    }
    drills = Drills(channels=(ROBOT, SMS), longest_s=config.drills.longest_s)
    # Links are written only where the address is known; it is given once the console listens.
    return replace(
        config, channels=channels, routes=routes, chains=chains, drills=drills, public_url="http://127.0.0.1"
    )


def awake_at(config: CityConfig, at_ms: int) -> dict[str, float]:
    """Return who answers a text that night: the leads on duty, by telephone number. The officers do not hear it."""
    roster = Roster(config)
    leads = [p for team in config.teams.values() if team.kind == "duty" for p in roster.leads(team.id, at_ms)]
    return {digits(config.people[p].address("phone")): LEAD_ANSWERS_S for p in leads}


def _channel(name: str, kind: str, settings: dict[str, Any]) -> ChannelConfig:
    return ChannelConfig(id=name, kind=kind, settings=CHANNELS[kind].settings(**settings), origin=ORIGIN)


def _is_for_the_phone(alarm: dict[str, Any]) -> bool:
    """Return whether nobody at the desk gets to this alarm: red gas, that night; not in the drill."""
    return alarm["domain"] == "gas" and alarm["level"] == 1 and not alarm.get("exercise")
