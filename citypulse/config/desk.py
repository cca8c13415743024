"""Who is told and what an order says: teams, channels, routes and order templates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from citypulse.domains import DOMAINS
from citypulse.model import ChannelConfig, OrderTemplate, Priority, Route, Team

from . import problems
from .extensions import Extensions
from .files import Document, Reading
from .inventory import Inventory, text_of, unknown
from .nodes import Node, Report, Table, did_you_mean, step, walk
from .order_templates import template_of

_SECRETS = ("password", "secret", "token", "api_key", "apikey", "access_key", "credential")


@dataclass(slots=True)
class Desk:
    """The people, the ways to reach them, and what their orders say."""

    teams: dict[str, Team] = field(default_factory=dict)
    channels: dict[str, ChannelConfig] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    templates: dict[str, OrderTemplate] = field(default_factory=dict)


def set_up_desk(reading: Reading, inventory: Inventory, extensions: Extensions, report: Report) -> Desk:
    """Return teams, channels, routes and templates of all documents; problems are noted."""
    desk = Desk()
    for document in reading.documents:
        _take_teams(document, desk, reading, inventory, report)
        _take_channels(document, desk, extensions, report)
        _take_templates(document, desk, report)
    for document in reading.documents:
        _take_routes(document, desk, reading, inventory, report)
        _check_fail_over(document, reading, report)
    return desk


def _twice(report: Report, node: Node, what: str, key: str) -> None:
    report.add("E301", node, f"{what} `{key}` is defined twice", "ids are unique over all included files")


def _take_teams(document: Document, desk: Desk, reading: Reading, inventory: Inventory, report: Report) -> None:
    table = walk(document.root, ["teams"])
    for key, model in document.model.teams.items():
        node = walk(table, [key])
        check_words(report, node, "domains", model.domains, DOMAINS, "domain")
        check_words(report, node, "areas", model.areas, inventory.areas, "area")
        declared = dict.fromkeys(reading.declared.get("order_templates", ()))
        check_words(report, node, "work", model.work, declared, "order template")
        if key in desk.teams:
            _twice(report, _key(table, key), "team", key)
            continue
        desk.teams[key] = Team(
            id=key,
            name=text_of(model.name),
            kind=model.kind,
            domains=model.domains,
            areas=model.areas,
            unit=model.unit,
            work=model.work,
        )


def _key(table: Node, key: str) -> Node:
    return table.key(key) if isinstance(table, Table) else table


def check_words(
    report: Report, node: Node, key: str, words: tuple[str, ...], known: Mapping[str, object], what: str
) -> None:
    """Note every word of a list that names nothing known."""
    value = step(node, key)
    for position, word in enumerate(words):
        if value is not None and word not in known:
            unknown(report, step(value, position) or value, what, word, known)


def _take_channels(document: Document, desk: Desk, extensions: Extensions, report: Report) -> None:
    table = walk(document.root, ["channels"])
    for key, model in document.model.channels.items():
        node = walk(table, [key])
        if key in desk.channels:
            _twice(report, _key(table, key), "channel", key)
            continue
        kind = extensions.channels.get(model.kind)
        if kind is None:
            hint = did_you_mean(model.kind, extensions.channels, several="there are")
            report.add("E302", walk(node, ["kind"]), f"channel kind `{model.kind}` does not exist", hint)
            continue
        settings = walk(node, ["settings"])
        if _has_secrets(report, settings, kind):
            continue
        try:
            built = kind.model_validate(model.settings)
        except ValidationError as error:
            problems.note(report, error, settings, kind)
            continue
        desk.channels[key] = ChannelConfig(id=key, kind=model.kind, settings=built, origin=_key(table, key).origin)


def _has_secrets(report: Report, node: Node, kind: type[BaseModel]) -> bool:
    if not isinstance(node, Table):
        return False
    before = len(report.found)
    for key, (place, _) in node.entries.items():
        is_indirect = key.endswith(("_env", "_file"))
        if not is_indirect and any(word in key.lower() for word in _SECRETS):
            ways = [f"`{name}`" for name in kind.model_fields if name in (f"{key}_env", f"{key}_file")]
            hint = "name it by " + (" or ".join(ways) or f"`{key}_env` or `{key}_file`")
            report.add("E116", place, f"`{key}` is a secret and must not stand in this file", hint)
    return len(report.found) > before


def _take_templates(document: Document, desk: Desk, report: Report) -> None:
    table = walk(document.root, ["order_templates"])
    for key, model in document.model.order_templates.items():
        if key in desk.templates:
            _twice(report, _key(table, key), "order template", key)
            continue
        desk.templates[key] = template_of(document, key, model, report)


def _check_fail_over(document: Document, reading: Reading, report: Report) -> None:
    declared = reading.declared.get("channels", set())
    table = walk(document.root, ["channels"])
    for key, model in document.model.channels.items():
        names = model.settings.get("fail_over_to", ())
        for position, word in enumerate(names if isinstance(names, list) else ()):
            node = walk(table, [key, "settings", "fail_over_to", position])
            if word == key:
                report.add("E106", node, f"channel `{key}` cannot take over from itself", "name another channel")
            elif isinstance(word, str) and word not in declared:
                unknown(report, node, "channel", word, declared)


def _take_routes(document: Document, desk: Desk, reading: Reading, inventory: Inventory, report: Report) -> None:
    for index, model in enumerate(document.model.routes):
        node = walk(document.root, ["routes", index])
        for key, section in (("to", "teams"), ("channel", "channels")):
            word: str = getattr(model, key)
            declared = reading.declared.get(section, set())
            if word not in declared:
                unknown(report, walk(node, [key]), "team" if key == "to" else key, word, declared)
        check_words(report, node, "domains", model.domains, DOMAINS, "domain")
        check_words(report, node, "areas", model.areas, inventory.areas, "area")
        check_words(report, node, "chain", model.chain, dict.fromkeys(reading.declared.get("chains", ())), "chain")
        if model.id in desk.routes:
            _twice(report, walk(node, ["id"]), "route", model.id)
            continue
        desk.routes[model.id] = Route(
            id=model.id,
            to=model.to,
            channel=model.channel,
            domains=model.domains,
            areas=model.areas,
            at_least=Priority.from_colour(model.at_least),
            chains=model.chain,
            origin=node.origin,
        )
