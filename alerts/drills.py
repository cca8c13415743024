"""Drills: scripted alarms that run the whole loop, alarm to closed order, apart from everything real.

A drill's alarms have keys of their own, so that they neither meet, hide nor blind real ones; its orders join no real
order; every text begins with [演练]; and what it says goes out only by the drill's own channels and to nobody outside.
It ends by itself, and leaves nothing on the board. A real sensor is never touched: the script speaks for it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from alerts.orders.table import ENDS, VERIFIED_STATES
from citypulse.model import (
    SYSTEM,
    Actor,
    Alarm,
    Answer,
    Command,
    Condition,
    DrillStep,
    Exercise,
    Notice,
    Priority,
    Rule,
    Text,
    Transition,
    TransitionKind,
    WorkOrder,
)

from .facts import Atlas
from .guards import missing
from .pen import Pen
from .revise import revised
from .texts import span

STARTERS: Final = ("lead", "boss", "supervisor", "admin")
RUNNING_MAX: Final = 5  # at one time
STEPS_MAX: Final = 200  # of one script
MINUTES_DEFAULT: Final = 60
MARK: Final = Text(zh="[演练]", en="[exercise]")
KINDS: Final = {k.value: k for k in (TransitionKind.RAISE, TransitionKind.LEVEL, TransitionKind.CLEAR)}


class Orders(Protocol):
    """What a drill needs of the orders."""

    orders: dict[str, WorkOrder]

    def end_exercise(self, pen: Pen, exercise: str, why: str) -> None:
        """Cancel what is still open of a drill."""
        ...


class Desk(Protocol):
    """What a drill needs of the desk."""

    alarms: dict[str, Alarm]

    def live(self, dedup_key: str) -> Alarm | None:
        """Return the retained alarm of a key, or None."""
        ...

    def step(self, pen: Pen, alarm: Alarm, event: str, kind: str, why: str, **more: Any) -> Alarm:
        """Move an alarm by the table and write it."""
        ...

    def hear(self, pen: Pen, t: Transition) -> None:
        """Take one change and write what it makes known."""
        ...

    def settle(self, pen: Pen, alarm: Alarm, why: str) -> Alarm:
        """End its chatter, and tell what it ended in."""
        ...


class DrillRoom:
    """The drills that run, what they say next, and what they may send."""

    def __init__(self, atlas: Atlas, running: Iterable[Exercise], desk: Desk, book: Orders) -> None:
        """Stand where the ledger stood."""
        self._atlas, self._desk, self._book = atlas, desk, book
        self._people = atlas.config.people
        self.running = {e.id: e for e in running}

    # ── time ────────────────────────────────────────────────────────────────────────────────────

    def play(self, pen: Pen) -> None:
        """Say what the scripts of running drills say now, and end those whose time has come."""
        if not self.running:
            return
        for transition in self._due(pen):
            self._desk.hear(pen, transition)
        for one in list(self.running.values()):
            if one.ended_ms is None and (pen.now_ms >= one.ends_ms or self._is_done(one)):
                self._end(pen, one, "its time is over or all is done | 时间到或已全部完成", SYSTEM)

    def _due(self, pen: Pen) -> list[Transition]:
        """Return what the scripts say now; also the ends of what crews have reported repaired."""
        said: list[Transition] = []
        orders = self._book.orders
        for one in [e for e in self.running.values() if e.ended_ms is None]:
            steps = [s for s in one.steps[one.taken :] if one.started_ms + s.at_s * 1000 <= pen.now_ms]
            if steps and pen.now_ms < one.ends_ms:
                why = f"{len(steps)} steps of the script | 按脚本推进 {len(steps)} 步"
                self._write(pen, one, "played", why, changes={"taken": one.taken + len(steps)})
                said += [self._say(one, s, pen.now_ms) for s in steps]
            for key in _keys(self.running[one.id]):
                alarm = self._desk.live(key)
                order = orders.get(alarm.order_id) if alarm is not None else None
                is_mended = order is not None and order.state in VERIFIED_STATES
                if alarm is not None and alarm.condition is Condition.ACTIVE and is_mended:
                    mended = Text(zh="班组已反馈修复", en="the crew has reported it")
                    said.append(self._end_of(alarm, pen.now_ms, mended))
        return said

    def _is_done(self, one: Exercise) -> bool:
        orders = self._book.orders
        if one.taken < len(one.steps) or not one.taken:
            return False
        left = [a for key in _keys(one) if (a := self._desk.live(key)) is not None]
        open_orders = [o for o in orders.values() if o.state not in ENDS and exercise_of(o) == one.id]
        return not left and not open_orders

    def _end(self, pen: Pen, one: Exercise, why: str, actor: Actor) -> None:
        """End a drill: what it raised returns to normal and is told so, its orders are cancelled."""
        for key in _keys(one):
            alarm = self._desk.live(key)
            if alarm is not None and alarm.condition is Condition.ACTIVE:
                ended = Text(zh="演练结束", en="the exercise has ended")
                self._desk.hear(pen, self._end_of(alarm, pen.now_ms, ended))
        self._book.end_exercise(pen, one.id, f"the exercise has ended | 演练结束: {why}")
        for key in _keys(one):
            alarm = self._desk.live(key)
            if alarm is not None and alarm.is_chattering:  # whoever heard that it chatters hears that it is over
                self._desk.settle(pen, alarm, "the exercise has ended | 演练结束")
                alarm = self._desk.live(key)
            if alarm is not None:
                self._desk.step(pen, alarm, "supersede", "exercise_ended", f"{one.id} has ended | 演练结束",
                                changes={"shelved_until_ms": None, "is_out_of_service": False, "suppressed_by": (),
                                         "chatter_since_ms": None})  # fmt: skip
        self._write(pen, one, "ended", why, actor=actor, changes={"ended_ms": pen.now_ms, "ended_by": actor.name})

    def _say(self, one: Exercise, step: DrillStep, now_ms: int) -> Transition:
        rule = self._atlas.rules.get((step.rule, step.scope))
        name = rule.name if rule is not None else Text(zh=step.rule, en=step.rule)
        unit = rule.unit if rule is not None else ""
        return Transition(
            rule=step.rule,
            rule_version=rule.version if rule is not None else "",
            scope=step.scope,
            kind=step.kind,
            level=None if step.kind is TransitionKind.CLEAR else step.level,
            event_ms=now_ms,
            received_ms=now_ms,
            value=step.value,
            because=Text(
                zh=f"{MARK.zh} {name.zh} {step.scope} 模拟值 {step.value:g} {unit}".strip(),
                en=f"{MARK.en} {name.en} {step.scope} simulated value {step.value:g} {unit}".strip(),
            ),
            exercise=one.id,
        )

    def _end_of(self, alarm: Alarm, now_ms: int, why: Text) -> Transition:
        return Transition(
            rule=alarm.rule,
            rule_version=alarm.rule_version,
            scope=alarm.scope,
            kind=TransitionKind.CLEAR,
            level=None,
            event_ms=now_ms,
            received_ms=now_ms,
            value=math.nan,
            because=Text(zh=f"{MARK.zh} {why.zh}", en=f"{MARK.en} {why.en}"),
            exercise=alarm.exercise,
        )

    # ── what goes out ───────────────────────────────────────────────────────────────────────────

    def sift(self, pen: Pen) -> None:
        """Drop every notice of a drill that would leave its channels or the bureau, and mark the others as a drill's.

        Real ones pass untouched. The mark keeps a notice on the drill's channels when one of them fails.
        """
        effects, orders = pen.effects, self._book.orders
        drills = {e.id: e for e in (*self.running.values(), *effects.exercises.values())}
        if not drills and not any(a.exercise for a in effects.alarms.values()):
            return
        owner: dict[str, str] = {}

        def is_allowed(notice: Notice) -> bool:
            if notice.subject not in owner:
                alarm = effects.alarms.get(notice.subject) or self._desk.alarms.get(notice.subject)
                order = effects.orders.get(notice.subject) or orders.get(notice.subject)
                owner[notice.subject] = alarm.exercise if alarm is not None else exercise_of(order)
            number = owner[notice.subject]
            return not number or self.may_tell(drills.get(number), notice.channel, notice.target)

        def marked(notice: Notice) -> Notice:
            drill = drills.get(owner[notice.subject])
            if drill is None:
                return notice
            # A drill is told at once and by itself: it must neither wait in a storm's digest nor fill one.
            return replace(notice, is_exercise=True, only_by=drill.channels, group="", may_wait=False)

        effects.notices[:] = [marked(n) for n in effects.notices if is_allowed(n)]
        for alarm in [a for a in effects.alarms.values() if a.exercise and a.told]:
            drill = drills.get(alarm.exercise)
            told = tuple(key for key in alarm.told if self.may_tell(drill, *_parts(key)))
            if told != alarm.told:
                effects.alarms[alarm.id] = new = revised(alarm, {"told": told})
                if alarm.id in self._desk.alarms:
                    self._desk.alarms[alarm.id] = new
        for number in [n for n, e in self.running.items() if e.ended_ms is not None]:
            del self.running[number]

    def may_tell(self, drill: Exercise | None, channel: str, target: str) -> bool:
        """True when a drill may send to this target by this channel; one that has ended sends nothing."""
        person = self._people.get(target.removeprefix("person:"))
        return drill is not None and channel in drill.channels and not (person is not None and person.is_outside)

    # ── people ──────────────────────────────────────────────────────────────────────────────────

    def command(self, pen: Pen, command: Command, verb: str) -> Answer:
        """Start a drill or stop one, or say why not."""
        role = command.actor.role
        if verb not in {"start", "stop"}:
            return _no(command, "bad_data", f'没有此操作 no verb "{verb}" of exercises; there are start, stop')
        if role not in STARTERS:
            return _no(command, "forbidden", f'"exercise.{verb}" 限 is for {", ".join(STARTERS)}; 您是 you are {role}')
        if verb == "stop":
            one = self.running.get(command.target)
            if one is None or one.ended_ms is not None:
                return _no(command, "not_found", f"没有进行中的此演练 no exercise {command.target!r} is running")
            said = str(command.data.get("reason") or "stopped | 中止")
            self._end(pen, one, f"{command.actor.name} ({role}): {said}", command.actor)
            return Answer(command=command.id, ok=True, message=f"演练结束 {one.id} has ended", subject=one.id)
        return self._start(pen, command)

    def _start(self, pen: Pen, command: Command) -> Answer:
        data, rules = command.data, self._atlas.config.drills
        if said := missing(("reason",), data):
            return _no(command, "bad_data", f'"exercise.start": {said}')
        if not rules.channels:
            said = "未配置演练渠道 no channels for exercises; name them under `exercises:` in sensors.yaml"
            return _no(command, "not_allowed", said)
        if len(self.running) >= RUNNING_MAX:
            said = f"演练过多，请先结束一个 {RUNNING_MAX} exercises are running already; stop one first"
            return _no(command, "not_allowed", said)
        minutes = data.get("minutes", min(MINUTES_DEFAULT, rules.longest_s / 60))
        if not _is_number(minutes) or not 60 <= minutes * 60 <= rules.longest_s:
            return _no(command, "bad_data", f"minutes 须为 must be 1 to {rules.longest_s / 60:g}")
        channels = _names(data.get("channels", rules.channels))
        if not channels or set(channels) - set(rules.channels):
            return _no(command, "bad_data", f"channels 须取自 must be some of {', '.join(rules.channels)}")
        try:
            steps = self._script(data)
        except ValueError as error:
            return _no(command, "bad_data", f'"exercise.start": {error}')
        one = Exercise(
            id="EX-" + hashlib.sha256(command.id.encode("utf-8", "replace")).hexdigest()[:12],
            name=str(data.get("name") or "演练 exercise")[:100],
            reason=data["reason"],
            creator=command.actor.name,
            creator_role=command.actor.role,
            started_ms=pen.now_ms,
            ends_ms=pen.now_ms + round(minutes * 60_000),
            channels=channels,
            steps=steps,
        )
        if one.id in self.running:
            return _no(command, "exists", f"演练已在进行 {one.id} is running already")
        why = f"{one.creator} ({one.creator_role}): {one.reason}"
        self._write(pen, one, "started", why, actor=command.actor, is_new=True)
        message = f"演练开始 {one.id} runs for at most {span(minutes * 60)}, by {', '.join(channels)}"
        return Answer(command=command.id, ok=True, message=message, subject=one.id)

    def _script(self, data: dict[str, Any]) -> tuple[DrillStep, ...]:
        """Read a script, or write one: for each site the first rule with an order, raised at once."""
        script = data.get("script")
        if script is None:
            return tuple(self._one_for(site, data) for site in self._sites(data))
        if not isinstance(script, (list, tuple)) or not 1 <= len(script) <= STEPS_MAX:
            raise ValueError(f"script 须为步骤列表 must be a list of 1 to {STEPS_MAX} steps")
        steps = [self._read(number, line) for number, line in enumerate(script, 1)]
        return tuple(sorted(steps, key=lambda s: s.at_s))

    def _sites(self, data: dict[str, Any]) -> tuple[str, ...]:
        sites = _names(data.get("sites", ()))
        if not 1 <= len(sites) <= STEPS_MAX:
            raise ValueError(f"须写明站点或脚本 name 1 to {STEPS_MAX} sites, or give a script")
        for site in sites:
            if site not in self._atlas.config.sites:
                raise ValueError(f"没有此站点 site {site[:80]!r} is not configured")
        return sites

    def _one_for(self, site: str, data: dict[str, Any]) -> DrillStep:
        wanted = data.get("rule", "")
        here = [
            (rule, scope)
            for (name, scope), rule in self._atlas.rules.items()
            if not rule.is_diagnostic and (not wanted or name == wanted) and self._atlas.place(name, scope)[0] == site
        ]
        found = next(((r, s) for r, s in here if r.order is not None and r.limits), next(iter(here), None))
        if found is None:
            raise ValueError(f"规则不适用于站点 no rule {wanted} applies to site {site!r}".replace("rule  ", "rule "))
        rule, scope = found
        level = _level(data.get("level", "orange"))
        return DrillStep(at_s=0.0, kind=TransitionKind.RAISE, rule=rule.id, scope=scope, level=level,
                         value=_value_at(rule, level))  # fmt: skip

    def _read(self, number: int, line: Any) -> DrillStep:
        if not isinstance(line, dict):
            raise ValueError(f"第 {number} 步须为对象 step {number} must be an object")  # noqa: TRY004 - one kind of error for all of a script
        if strange := set(line) - {"at_s", "kind", "rule", "scope", "level", "value"}:
            raise ValueError(f"step {number}: 没有此字段 {min(map(str, strange))[:40]!r} is not known")
        at_s, value = line.get("at_s", 0), line.get("value", 0)
        if not _is_number(at_s) or at_s < 0 or not _is_number(value):
            raise ValueError(f"step {number}: at_s, value 须为有限数 must be finite numbers, at_s not below 0")
        kind = KINDS.get(str(line.get("kind", "raise")))
        if kind is None:
            raise ValueError(f"step {number}: kind 须为 must be {', '.join(KINDS)}")
        rule, scope = str(line.get("rule", "")), str(line.get("scope", ""))
        if (rule, scope) not in self._atlas.rules:
            raise ValueError(f"step {number}: 规则不适用 rule {rule[:60]!r} does not apply to {scope[:60]!r}")
        level = None if kind is TransitionKind.CLEAR else _level(line.get("level", "orange"))
        return DrillStep(at_s=float(at_s), kind=kind, rule=rule, scope=scope, level=level, value=float(value))

    def _write(self, pen: Pen, one: Exercise, kind: str, why: str, **more: Any) -> Exercise:
        new = pen.exercise(one, kind, why, **({"actor": SYSTEM} | more))
        self.running[new.id] = new  # one that has ended leaves with the tick: `sift` still needs it
        return new


def exercise_of(order: WorkOrder | None) -> str:
    """Return the id of the drill an order belongs to, or ""."""
    return str(order.data.get("exercise", "")) if order is not None and order.is_exercise else ""


def _keys(one: Exercise) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{one.id}|{s.rule}|{s.scope}" for s in one.steps[: one.taken]))


def _parts(key: str) -> tuple[str, str]:
    channel, _, target = key.partition("|")
    return channel, target


def _names(value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
    return tuple(dict.fromkeys(value)) if is_list else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _level(colour: Any) -> Priority:
    if colour not in {p.colour for p in Priority}:
        raise ValueError("level 须为 must be red, orange, yellow or blue")
    return Priority.from_colour(colour)


def _value_at(rule: Rule, level: Priority) -> float:
    limits = [limit.value for limit in rule.limits if limit.level >= level]
    return limits[0] if limits else 0.0


def _no(command: Command, code: str, said: str) -> Answer:
    return Answer(command=command.id, ok=False, message=said, code=code, subject=command.target)
