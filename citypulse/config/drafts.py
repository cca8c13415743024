"""Rules and overrides as found in the files, each with its one detector, before anything is bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .causes import causes_of, check_reach, hides_its_like
from .extensions import Extensions
from .files import Reading
from .inventory import Inventory, unknown
from .nodes import Listing, Report, Table, did_you_mean, walk
from .schema import OverrideIn, RuleIn
from .selectors import Selector, check_selector
from .values import DetectorSettings


@dataclass(frozen=True, slots=True, eq=False)
class Override:
    """A checked override of one rule; order counts from the first one read."""

    model: OverrideIn
    node: Table
    selector: Selector
    order: int


@dataclass(slots=True, eq=False)
class Draft:
    """A rule with the name of its detector and its overrides."""

    model: RuleIn
    node: Table
    detector: str
    overrides: list[Override] = field(default_factory=list)


def draft_rules(reading: Reading, inventory: Inventory, extensions: Extensions, report: Report) -> dict[str, Draft]:
    """Return every sound rule by id, its overrides attached; problems are noted."""
    drafts: dict[str, Draft] = {}
    for document in reading.documents:
        for index, model in enumerate(document.model.rules):
            node = walk(document.root, ["rules", index])
            assert isinstance(node, Table)  # noqa: S101 - the schema has checked it
            check_selector(model.applies_to, walk(node, ["applies_to"]), inventory, reading, report)
            if model.id in drafts:
                message = f"rule `{model.id}` is defined twice"
                report.add("E301", walk(node, ["id"]), message, "use `overrides:` to change a rule")
                continue
            named = [name for name in extensions.detectors if name in node.entries]
            if len(named) != 1:
                _note_detectors(report, node, named, extensions)
            elif section_is_sound(report, node, named[0], extensions.detectors[named[0]], is_override=False):
                drafts[model.id] = Draft(model, node, named[0])
    _attach_overrides(reading, inventory, drafts, report)
    _check_inhibitors(drafts, reading, report)
    _check_members(drafts, reading, report)
    return drafts


def _note_detectors(report: Report, node: Table, named: Sequence[str], extensions: Extensions) -> None:
    if named:
        message = f"a rule has one detector, not `{named[0]}` and `{named[1]}`"
        report.add("E111", node.key(named[1]), message, "make two rules of it")
        return
    hint = "one of " + ", ".join(f"`{name}`" for name in extensions.detectors)
    report.add("E110", node.key("id"), "a rule needs a detector section", hint)


def section_is_sound(
    report: Report, node: Table, name: str, settings: type[DetectorSettings], *, is_override: bool
) -> bool:
    """Check the keys of a detector's section: known all, and in a rule none of the required missing."""
    section = node.get(name)
    entries = section.entries if isinstance(section, Table) else {}
    fields = settings.model_fields
    before = len(report.found)
    for key, (place, _) in entries.items():
        if key not in fields:
            report.add("E104", place, f"unknown key `{key}` in `{name}`", did_you_mean(key, fields, several="keys"))
    if not is_override:
        for key, info in fields.items():
            if info.is_required() and key not in entries:
                report.add("E101", node.key(name), f"`{key}` is missing in `{name}`", f"add `{key}:`")
        if settings.needs_limits and "limits" not in node.entries:
            report.add("E112", node.key(name), f"`{name}` needs `limits:`", "give at least one level with its limit")
        if not settings.needs_limits and "level" not in node.entries:
            report.add("E114", node.key(name), f"watchdog `{name}` needs `level:`", "red, orange, yellow or blue")
    if not settings.needs_limits and "limits" in node.entries:
        report.add("E113", node.key("limits"), f"watchdog `{name}` has no limits", "give it one `level:` instead")
    if settings.needs_limits and "level" in node.entries:
        report.add("E113", node.key("level"), f"`{name}` takes its levels from `limits:`", "remove `level:`")
    return len(report.found) == before


def _attach_overrides(reading: Reading, inventory: Inventory, drafts: dict[str, Draft], report: Report) -> None:
    order = 0
    known = reading.declared.get("rules", set())
    for document in reading.documents:
        for index, model in enumerate(document.model.overrides):
            node = walk(document.root, ["overrides", index])
            assert isinstance(node, Table)  # noqa: S101 - the schema has checked it
            check_selector(model.applies_to, walk(node, ["applies_to"]), inventory, reading, report)
            if model.rule not in known:
                unknown(report, walk(node, ["rule"]), "rule", model.rule, known)
            elif model.rule in drafts:
                order += 1
                drafts[model.rule].overrides.append(Override(model, node, Selector.of(model.applies_to), order))


def _check_inhibitors(drafts: dict[str, Draft], reading: Reading, report: Report) -> None:
    known = reading.declared.get("rules", set())
    for draft in drafts.values():
        for said in (draft.node, *(o.node for o in draft.overrides)):
            value = said.get("inhibited_by")
            check_reach(value, report)
            for node, cause in causes_of(value):
                word, own = cause.rule, draft.model.id
                if word not in known:
                    unknown(report, node, "rule", word, known)
                elif hides_its_like(cause, own) or (word != own and _inhibits_back(drafts, word, own)):
                    message = f"`{own}` and `{word}` would hide each other"
                    report.add("E304", node, message, "the cause hides the effect; remove the other direction")


def _check_members(drafts: dict[str, Draft], reading: Reading, report: Report) -> None:
    """A detector that looks at other rules names them in `rules`: each must exist, and none may be the rule itself."""
    known = reading.declared.get("rules", set())
    for draft in drafts.values():
        for said in (draft.node, *(o.node for o in draft.overrides)):
            value = walk(said, [draft.detector, "rules"])
            for node in value.items if isinstance(value, Listing) else ():
                word = node.data()
                if word == draft.model.id:
                    report.add("E304", node, f"rule `{word}` looks at itself", "remove it")
                elif isinstance(word, str) and word not in known:
                    unknown(report, node, "rule", word, known)


def _inhibits_back(drafts: dict[str, Draft], rule: str, target: str) -> bool:
    """Whether `rule` is itself hidden by `target`, directly or over others."""
    seen: set[str] = set()
    waiting = [rule]
    while waiting:
        current = waiting.pop()
        if current in seen or current not in drafts:
            continue
        seen.add(current)
        above = {cause.rule for cause in drafts[current].model.inhibited_by or ()} - {current}
        if target in above:
            return True
        waiting += sorted(above)
    return False
