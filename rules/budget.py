"""The alarm budget: how much a rules file may ask of people, as a gate for a change that is under review."""

from __future__ import annotations

from dataclasses import dataclass

from citypulse.model import Text

from .backtest import Score, Verdict
from .backtest_load import Load


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Upper bounds; None is no bound. per_10min, peak_10min: alarms per officer · flood_share: 0 … 1."""

    per_10min: float | None = None
    peak_10min: float | None = None
    flood_share: float | None = None
    per_day: float | None = None
    chattering: int | None = None
    standing: int | None = None
    missed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """One bound that does not hold."""

    name: str
    what: Text
    is_: float
    bound: float
    desk: str = ""  # "": all alarms together
    origin: str = ""  # file:line of the budget, where a file gave it

    def __str__(self) -> str:
        said = f"{self.what.zh} {self.what.en}: {self.is_:.4g} > {self.bound:.4g}"
        return " · ".join(part for part in (self.desk, said, self.origin) if part)


def check(budget: Budget, load: Load, judged: Score | None) -> tuple[Overrun, ...]:
    """Return every bound that is exceeded. A bound on missed incidents needs labels and is ignored without."""
    measured: list[tuple[str, Text, float, float | None]] = [
        ("per_10min", Text(zh="每10分钟告警（人均）", en="alarms per 10 min and officer"), load.mean_per_period,
         budget.per_10min),
        ("peak_10min", Text(zh="最忙10分钟（人均）", en="busiest 10 min per officer"), load.peak_per_period,
         budget.peak_10min),
        ("flood_share", Text(zh="告警洪水占比", en="share of time in flood"), load.flood_share, budget.flood_share),
        ("per_day", Text(zh="每日告警", en="alarms a day"), load.per_day, budget.per_day),
        ("chattering", Text(zh="抖动告警源", en="chattering sources"), len(load.chattering), budget.chattering),
        ("standing", Text(zh="常立告警(>24h)", en="alarms standing over 24 h"), load.standing, budget.standing),
    ]  # fmt: skip
    if judged is not None:
        missed = judged.count(Verdict.MISSED)
        measured.append(("missed", Text(zh="漏报事件", en="incidents missed"), missed, budget.missed))
    return tuple(
        Overrun(name=name, what=what, is_=value, bound=bound)
        for name, what, value, bound in measured
        if bound is not None and value > bound
    )
