"""Checks a whole configuration, finds every problem in one run, and makes the city of it. Start reading here."""

from __future__ import annotations

import functools
import zoneinfo
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, create_model

from citypulse.domains import QUANTITIES
from citypulse.errors import ConfigError
from citypulse.model import CityConfig

from .alarms import check_ceilings, take_alarms
from .binding import Binding, SwitchedOff, bind_rules
from .budget import take_budgets
from .causes import storm_plan
from .desk import Desk, set_up_desk
from .diagnostics import Diagnostic, Severity, in_reading_order
from .extensions import Extensions
from .files import Reading, read_all, shown_name
from .inventory import Inventory, take_inventory, text_of
from .keeping import contacts_kept_s, take_watchdog
from .lint import lint
from .nodes import Node, Report, did_you_mean, walk
from .people import Crowd, take_people
from .quality import QualityPlan, read_quality
from .schema import BrokerIn, CityIn, FileIn, OverrideIn, RuleIn
from .windows import take_drills, take_windows
from .workdays import take_workdays


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A checked configuration with what is needed to explain it; city is None when there are errors."""

    city: CityConfig | None
    diagnostics: tuple[Diagnostic, ...]
    reading: Reading
    inventory: Inventory
    bindings: tuple[Binding, ...]
    switched_off: tuple[SwitchedOff, ...]
    desk: Desk
    quality: QualityPlan

    @property
    def errors(self) -> int:
        """How many problems stop the configuration from being used."""
        return sum(d.severity is Severity.ERROR for d in self.diagnostics)

    @property
    def warnings(self) -> int:
        """How many problems do not."""
        return len(self.diagnostics) - self.errors


def load_city(path: Path | str, extensions: Extensions) -> CityConfig:
    """Return the city, or raise ConfigError with every problem found. Warnings do not stop it."""
    loaded = inspect_city(path, extensions)
    if loaded.city is None:
        raise ConfigError(loaded.diagnostics)
    return loaded.city


def check_city(path: Path | str, extensions: Extensions) -> tuple[CityConfig | None, list[Diagnostic]]:
    """Return the city (None when there are errors) and every error and warning in reading order."""
    loaded = inspect_city(path, extensions)
    return loaded.city, list(loaded.diagnostics)


def inspect_city(path: Path | str, extensions: Extensions) -> Loaded:
    """Return everything known of a configuration, sound or not."""
    report = Report()
    path = Path(path)
    reading = read_all(path, file_model(extensions), report)
    city, broker, quality_section = _whole(reading, path, report)
    _check_codecs(reading, extensions, report)
    inventory = take_inventory(reading, report)
    quality = read_quality(quality_section, extensions.quality, inventory, report)
    desk = set_up_desk(reading, inventory, extensions, report)
    crowd = take_people(reading, inventory, desk, city.timezone if city else "UTC", report)
    storm = storm_plan(reading, desk, report)
    windows = take_windows(reading, inventory, city.timezone if city else "UTC", report)
    drills = take_drills(reading, report)
    budget = take_budgets(reading, report)
    alarms = take_alarms(reading, report)
    workdays, kept_s = take_workdays(reading, report), contacts_kept_s(reading, report)
    watchdog = take_watchdog(reading, report)
    bindings, switched_off = bind_rules(reading, inventory, extensions, report)
    check_ceilings(reading, alarms, bindings, report)
    is_sound = reading.is_whole and not any(d.severity is Severity.ERROR for d in report.found)
    if is_sound:
        lint(reading, inventory, bindings, desk, report)
    made = None
    if is_sound and city and broker:
        made = replace(_made(city, broker, reading, inventory, desk, crowd, bindings, quality.built), storm=storm)
        made = replace(made, windows=windows, drills=drills, budget=budget, alarms=alarms)
        made = replace(made, workdays=workdays, contacts_kept_s=kept_s, watchdog=watchdog)
        made = replace(made, calendar_warn_days=city.calendar_warning_days)
        made = made if _runs(made, bindings, extensions, report) else None
    return Loaded(
        city=made,
        # Warnings of a broken configuration mislead: a rule may match nothing because its site was left out.
        diagnostics=tuple(in_reading_order(d for d in report.found if is_sound or d.severity is Severity.ERROR)),
        reading=reading,
        inventory=inventory,
        bindings=tuple(bindings),
        switched_off=tuple(switched_off),
        desk=desk,
        quality=quality,
    )


def _runs(city: CityConfig, bindings: list[Binding], extensions: Extensions, report: Report) -> bool:
    """Try the rules out; note those that a detector refuses as bound, at their sections."""
    refused = extensions.trial(city) if extensions.trial is not None else ()
    section = {id(binding.rule): binding.layers.section for binding in bindings}
    for rule, why in refused:
        report.add("E109", section[id(rule)], f"rule `{rule.id}` cannot run: {why}", "narrow its `applies_to`")
    return not refused


def file_model(extensions: Extensions) -> type[FileIn]:
    """Return the file's model with a section for every detector in rules and overrides."""
    return _file_model(tuple(extensions.detectors), extensions.quality)


@functools.cache
def _file_model(detectors: tuple[str, ...], quality: type[BaseModel] | None) -> type[FileIn]:
    # What a section holds is checked when its rule is bound: only then are units and cadence known.
    sections: dict[str, Any] = dict.fromkeys(detectors, (dict[str, Any] | None, None))
    rule = create_model("Rule", __base__=RuleIn, **sections)
    override = create_model("Override", __base__=OverrideIn, **sections)
    fields: dict[str, Any] = {"rules": (tuple[rule, ...], ()), "overrides": (tuple[override, ...], ())}
    if quality is not None:
        fields["quality"] = (dict[str, Any] | None, None)  # its numbers have units: see quality.py
    return create_model("File", __base__=FileIn, **fields)


def _whole(reading: Reading, path: Path, report: Report) -> tuple[CityIn | None, BrokerIn | None, Any]:
    """Return the city, broker and quality sections: each at most once over all files, the first two at least once."""
    found: dict[str, Any] = {}
    for document in reading.documents:
        for key in ("city", "broker", "quality"):
            value = getattr(document.model, key, None)
            node = document.root.key(key)
            if value is not None and key in found:
                report.add("E301", node, f"`{key}` is given twice", "keep it in one file")
            elif value is not None:
                found[key] = value if key != "quality" else document.root.get(key)
                if key == "city":
                    _check_timezone(value, walk(document.root, ["city", "timezone"]), report)
    if reading.is_whole:
        for key in ("city", "broker"):
            if key not in found:
                report.add_file("E101", shown_name(path), f"`{key}` is missing", f"add `{key}:`")
    return found.get("city"), found.get("broker"), found.get("quality")


def _check_timezone(city: CityIn, node: Node, report: Report) -> None:
    try:
        zoneinfo.ZoneInfo(city.timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(city.timezone, zoneinfo.available_timezones(), several="for example")
        report.add("E103", node, f"time zone `{city.timezone}` does not exist", hint)


def _check_codecs(reading: Reading, extensions: Extensions, report: Report) -> None:
    for document in reading.documents:
        for index, gateway in enumerate(document.model.gateways):
            if gateway.codec not in extensions.codecs:
                node = walk(document.root, ["gateways", index, "codec"])
                hint = did_you_mean(gateway.codec, extensions.codecs, several="there are")
                report.add("E302", node, f"codec `{gateway.codec}` does not exist", hint)


def _made(
    city: CityIn,
    broker: BrokerIn,
    reading: Reading,
    inventory: Inventory,
    desk: Desk,
    crowd: Crowd,
    bindings: list[Binding],
    quality: Any,
) -> CityConfig:
    return CityConfig(
        name=text_of(city.name),
        timezone=city.timezone,
        public_url=(city.public_url or "").rstrip("/"),
        broker_url=broker.url,
        sites=inventory.sites,
        gateways=inventory.gateways,
        quantities=QUANTITIES,
        sensors=tuple(inventory.sensors.values()),
        rules=tuple(b.rule for b in bindings),
        teams=desk.teams,
        routes=tuple(desk.routes.values()),
        channels=desk.channels,
        templates=desk.templates,
        fingerprint=reading.fingerprint,
        files=tuple(s.name for s in reading.sources),
        areas=inventory.areas,
        quality=quality,
        people=crowd.people,
        rotas=crowd.rotas,
        chains=crowd.chains,
        profiles=crowd.profiles,
    )
