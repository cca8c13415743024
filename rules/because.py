"""Why: the sentence that goes with every transition, with value, limit, duration and the rule's file and line."""

from __future__ import annotations

import math
from collections.abc import Mapping

from citypulse.model import Limit, Priority, Quantity, Side, Text, TransitionKind

from .detector import Detector, LaneSpec

_GOOD = {  # where a value has to be to end a level, as the limit's equality says: zh, en
    Side.AT_LEAST: ("低于", "below"),
    Side.ABOVE: ("不高于", "at most"),
    Side.BELOW: ("不低于", "at least"),
    Side.AT_MOST: ("高于", "above"),
}
_PERIODS = (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0))

SPEAKS_FROM = 0.5  # a rate is told in the shortest period that makes its limit at least this large


def number(x: float) -> str:
    """Write a number as people read it: four significant digits at most, no exponent, no trailing zeros."""
    if math.isnan(x):
        return "?"
    if x == 0 or math.isinf(x):
        return str(x) if math.isinf(x) else "0"
    decimals = max(0, 3 - math.floor(math.log10(abs(x))))
    written = f"{x:.{decimals}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def duration(seconds: float) -> str:
    """Write a duration in its largest fitting unit: 20 s, 10 min, 1.5 h, 2 d."""
    unit, size = _PERIODS[0]
    for name, period in _PERIODS[1:]:
        if abs(seconds) >= period:
            unit, size = name, period
    return f"{number(seconds / size)} {unit}"


class Speaker:
    """Puts one lane's features and limits into words."""

    def __init__(self, spec: LaneSpec, detector: Detector, quantities: Mapping[str, Quantity]) -> None:
        """`quantities` gives the names people use; without it a quantity is called by its id."""
        self.rule = spec.rule
        self._kind = spec.rule.settings.limits_in
        self._is_watchdog = detector.is_watchdog
        self._names = detector.names
        known = {s.quantity: quantities.get(s.quantity) for s in spec.sensors}
        names = [Text(zh=q, en=q) if known[q] is None else known[q].name for q in known]  # type: ignore[union-attr]
        zh, en = "、".join(n.zh for n in names), ", ".join(n.en for n in names)
        self.subject = Text(
            zh=detector.subject.zh.replace("{quantity}", zh), en=detector.subject.en.replace("{quantity}", en)
        )
        self._per, self._factor = "s", 1.0
        if self._kind == "rate" and spec.rule.limits:
            largest = max(abs(limit.value) for limit in spec.rule.limits)
            for name, period in _PERIODS:
                self._per, self._factor = name, period
                if largest * period >= SPEAKS_FROM:
                    break

    def feature(self, x: float) -> Text:
        """Write a feature, or a limit on it, with its unit."""
        if x in self._names:
            return self._names[x]
        if self._kind == "seconds":
            words = duration(x)
        elif self._kind == "rate":
            words = f"{number(x * self._factor)} {self.rule.unit.removesuffix('/s')}/{self._per}"
        elif self._kind == "none":
            words = number(x)
        else:
            words = f"{number(x)} {self.rule.unit}".rstrip()
        return Text(zh=words, en=words)

    def because(
        self,
        kind: TransitionKind,
        limit: Limit | None,
        was: Priority | None,
        x: float,
        lasted_s: float,
        *,
        is_late: bool,
    ) -> Text:
        """Say what happened. `lasted_s`: since the first sample of the breach, or of the good run."""
        at_zh, at_en = f";规则 {self.rule.id} 于 {self.rule.origin}", f"; rule {self.rule.id} at {self.rule.origin}"
        if kind is TransitionKind.DATA_LOSS:
            return Text(
                zh=f"{self.subject.zh}:数据中断,报警状态保持不变{at_zh}",
                en=f"{self.subject.en}: data lost, the alarm stays as it was{at_en}",
            )
        value = self.feature(x)
        if kind is TransitionKind.DATA_BACK:
            return Text(
                zh=f"{self.subject.zh} {value.zh}:数据恢复{at_zh}",
                en=f"{self.subject.en} {value.en}: data is back{at_en}",
            )
        if limit is None:
            return Text(zh=f"{self.subject.zh} {value.zh}{at_zh}", en=f"{self.subject.en} {value.en}{at_en}")
        if self._is_watchdog and kind is TransitionKind.CLEAR:
            return Text(
                zh=f"恢复:{self.subject.zh} {value.zh} 后重新收到数据{at_zh}",
                en=f"back: heard again after {self.subject.en} for {value.en}{at_en}",
            )
        if self._is_watchdog and x < limit.value:  # not that long yet, but its will says that it is gone
            return Text(
                zh=f"{self.subject.zh} {value.zh},且已声明离线({limit.level.colour_zh}){at_zh}",
                en=f"{self.subject.en} for {value.en} after it said goodbye ({limit.level.colour}){at_en}",
            )
        bound = self.feature(limit.value)
        zh, en = f"{self.subject.zh} {value.zh}", f"{self.subject.en} {value.en}"
        lasted = duration(lasted_s)
        if kind is TransitionKind.RAISE or (was is not None and limit.level < was):
            level = limit.level
            zh += f" {limit.side.sign} {bound.zh}({level.colour_zh})"
            en += f" {limit.side.sign} {bound.en} ({level.colour})"
            if lasted_s > 0:
                zh, en = f"{zh},持续 {lasted}", f"{en} for {lasted}"
            if is_late:
                zh, en = f"补报:{zh}", f"reported late: {en}"
            return Text(zh=zh + at_zh, en=en + at_en)
        is_upper = limit.side in (Side.AT_LEAST, Side.ABOVE)
        clear_at = self.feature(limit.value - limit.deadband if is_upper else limit.value + limit.deadband)
        level = was if was is not None else limit.level
        zh_word, en_word = _GOOD[limit.side]
        zh += f",{zh_word} {clear_at.zh}"
        en += f", {en_word} {clear_at.en}"
        if lasted_s > 0:
            zh, en = f"{zh} 已 {lasted}", f"{en} for {lasted}"
        return Text(zh=f"{zh},解除{level.colour_zh}{at_zh}", en=f"{en}: {level.colour} ends{at_en}")
