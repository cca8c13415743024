"""A configuration comes into force: the parts made for it, and what it changes for the alarms that stand.

Promise: nothing ends silently. Every standing alarm whose rule is another one now gets a line in its record; what can
no longer be raised is withdrawn with a reason; what the rules hold to be in alarm has an alarm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from alerts.desk import Desk
from alerts.pen import Pen
from citypulse.ledger import OpenState
from citypulse.model import (
    Alarm,
    CityConfig,
    Condition,
    Crossing,
    Effects,
    Limit,
    Priority,
    Rule,
    SensorTable,
    Text,
    Transition,
    TransitionKind,
)
from citypulse.terms_changed import changed_terms, note_terms
from ingest.gateways import Gateways
from ingest.intake import Intake
from ingest.qc.controller import QualityControl
from ingest.quality import Grader
from ingest.registry import Registry
from rules.because import number
from rules.engine import Engine
from rules.why import Why

LATCHED_STATES = frozenset({"active", "clearing"})  # latches that hold an alarm (rules.kernels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regime:
    """A configuration with the parts made for it; they hold no state until they enter into force."""

    config: CityConfig
    table: SensorTable
    intake: Intake
    engine: Engine

    @classmethod
    def of(cls, config: CityConfig, table: SensorTable) -> Regime:
        """Make the parts. Takes about a second for a whole city; may run on any thread."""
        registry = Registry(config, table)
        engine = Engine(
            config.rules,
            table,
            config.sites,
            config.gateways,
            quantities=config.quantities,
            timezone=config.timezone,
        )
        engine.warm_up()  # kernels are loaded or compiled here, never on the heart's thread
        return cls(
            config=config,
            table=table,
            intake=Intake(registry, Gateways(), Grader(registry, QualityControl.of_config(config, table))),
            engine=engine,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A regime that took over, and the effects and transitions its first tick begins with."""

    regime: Regime
    desk: Desk
    effects: Effects
    transitions: tuple[Transition, ...]
    changed: int  # standing alarms whose rule is another one now
    withdrawn: int  # of them: those that end
    terms: tuple[Text, ...] = ()  # what the `alarms:` section says otherwise than before


def turn(
    regime: Regime, state: Mapping[str, Any] | None, opening: OpenState, before: CityConfig | None, now_ms: int
) -> Turn:
    """Hand the state of the parts before to a fresh regime, and compare what stands with what its rules say.

    `opening` is what the ledger holds as open; `before` gives the limits that were, None when nobody knows them.
    """
    ended: set[str] = set()
    if state is not None:
        regime.intake.restore(state["intake"])
        report = regime.engine.restore(state["rules"])
        ended = {f"{rule}|{scope}" for rule, scope in report.closed}
        ended |= {f"{rule}|{scope}" for rule, scope, level in report.changed if level is None}
    pen = Pen(now_ms=now_ms)
    rules, rules_before = _by_scope(regime.config), {} if before is None else _by_scope(before)
    alarms: list[Alarm] = []
    withdrawn: dict[str, str] = {}
    for alarm in opening.alarms:
        key = (alarm.rule, alarm.scope)
        rule = rules.get(key)
        is_ended = rule is None or alarm.dedup_key in ended
        if alarm.condition is Condition.NORMAL or not (is_ended or (rule and rule.version != alarm.rule_version)):
            alarms.append(alarm)
            continue
        new = _note(pen, alarm, rule, rules_before.get(key), is_ended=is_ended)
        alarms.append(new)
        if is_ended:
            what = "no rule" if rule is None else f"no limit of rule {rule.version} ({rule.origin})"
            withdrawn[new.id] = f"配置变更, 规则不再成立, 撤销 | withdrawn: {what} raises it any more"
    if before is not None and before.alarms != regime.config.alarms:
        alarms = [note_terms(pen, alarm, before.alarms, regime.config.alarms) for alarm in alarms]
    desk = Desk(regime.config, regime.table, _with_alarms(opening, alarms))
    desk.withdraw(withdrawn)
    if state is not None:
        desk.restore(state["desk"])
    return Turn(
        regime=regime,
        desk=desk,
        effects=pen.effects,
        transitions=tuple(_missing(regime.engine, desk, now_ms)),
        changed=len(pen.effects.events),
        withdrawn=len(withdrawn),
        terms=() if before is None else changed_terms(before.alarms, regime.config),
    )


def _by_scope(config: CityConfig) -> dict[tuple[str, str], Rule]:
    return {(rule.id, scope): rule for rule in config.rules for scope in rule.scopes}


def _with_alarms(opening: OpenState, alarms: list[Alarm]) -> OpenState:
    return replace(opening, alarms=tuple(alarms))


def _note(pen: Pen, alarm: Alarm, rule: Rule | None, before: Rule | None, *, is_ended: bool) -> Alarm:
    """Write on an alarm's record which rule it stands under now."""
    limit = None if rule is None else _limit_of(rule, alarm.level)
    limit_before = None if before is None else _limit_of(before, alarm.level)
    version = "" if rule is None else rule.version
    origin = "" if rule is None else str(rule.origin if limit is None else limit.origin)
    data = {
        "old_version": alarm.rule_version,
        "new_version": version,
        "old_origin": alarm.rule_origin,
        "new_origin": origin,
        "old_limit": _words(limit_before, before),
        "new_limit": _words(limit, rule),
        "outcome": "withdrawn" if is_ended else alarm.condition.value,
    }
    old = f"{alarm.rule_version} ({alarm.rule_origin}) {data['old_limit']}".strip()
    new = f"{version} ({origin}) {data['new_limit']}".strip() if rule is not None else "—"
    zh, en = ("告警撤销", "the alarm is withdrawn") if is_ended else ("告警保持", "the alarm stands")
    why = f"配置变更: 规则 {alarm.rule} {old} → {new}, {zh} | configuration changed: {en}"
    changes = {} if rule is None else {"rule_version": version, "rule_origin": origin}
    return pen.alarm(alarm, "rule_changed", why, data=data, changes=changes)


def _limit_of(rule: Rule, level: Priority) -> Limit | None:
    return next((limit for limit in rule.limits if limit.level == level), None)


def _words(limit: Limit | None, rule: Rule | None) -> str:
    return "" if limit is None or rule is None else f"{limit.side.sign} {number(limit.value)} {rule.unit}".strip()


def _missing(engine: Engine, desk: Desk, now_ms: int) -> list[Transition]:
    """Return what the desk has not heard of: lanes in alarm without an alarm, or at another level than theirs."""
    found = []
    for (rule, scope), level in sorted(engine.active().items()):
        alarm = desk.live(f"{rule}|{scope}")
        is_open = alarm is not None and alarm.condition is Condition.ACTIVE
        if alarm is None or not is_open or alarm.level != level:
            kind = TransitionKind.LEVEL if is_open else TransitionKind.RAISE
            found.append(_said(engine.why(rule, scope), kind, level, now_ms))
    return found


def _said(why: Why, kind: TransitionKind, level: Priority, now_ms: int) -> Transition:
    """Say a lane's level as the engine itself would have."""
    held = [view for view in why.latches if view.state in LATCHED_STATES]
    event_ms = now_ms if why.last_ms is None else why.last_ms
    return Transition(
        rule=why.rule.id,
        rule_version=why.rule.version,
        scope=why.scope,
        kind=kind,
        level=level,
        event_ms=event_ms,
        received_ms=now_ms,
        value=why.last_x,
        crossed=tuple(
            Crossing(level=v.limit.level, limit=v.limit.value, side=v.limit.side, origin=v.limit.origin)
            for v in sorted(held, key=lambda v: v.limit.level)
        ),
        breach_ms=min((v.since_ms for v in held if v.since_ms is not None), default=event_ms),
        because=Text(
            zh=f"{why.subject.zh} {why.feature.zh}, 配置变更后为{level.colour_zh}级",
            en=f"{why.subject.en} {why.feature.en}: {level.colour} under the changed configuration",
        ),
    )
