"""What a backtest is about: alarms that would have been, incidents that were, and how two configurations differ.

Pure functions over finished alarms; citypulse/backtest/run.py runs the live parts that make them. Instants are epoch
milliseconds, event time.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from citypulse.errors import CityError
from citypulse.model import Priority, Text

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class LabelsError(CityError):
    """A labels file cannot be used; names the file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One alarm from its raise to its clear. `peak` is NaN for watchdogs; `end_ms` None while it still stands."""

    rule: str
    scope: str
    site: str
    level: Priority  # the most serious it reached
    start_ms: int
    end_ms: int | None
    peak: float
    because: Text
    origin: str  # file:line of the limit that decided
    is_diagnostic: bool = False
    is_hidden: bool = False  # born behind another alarm that explains it: nobody was called
    is_late: bool = False  # a dated historical occurrence

    def lasted_ms(self, until_ms: int) -> int:
        """Return how long it stood, up to `until_ms` at most."""
        end_ms = until_ms if self.end_ms is None else self.end_ms
        return max(0, end_ms - self.start_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """An incident somebody vouches for: `place` is a sensor or a site."""

    place: str
    start_ms: int
    end_ms: int
    name: str
    line: int


class Verdict(Enum):
    """What the rules made of a labelled incident."""

    CAUGHT = "caught"
    STANDING = "standing"  # an alarm was on already, from long before: nobody was called for this
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One label with its verdict; `lead_ms`: how long before the label's start the first alarm came (after: < 0)."""

    label: Label
    verdict: Verdict
    alarm: Occurrence | None
    lead_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """All labels judged. `unlabelled`: alarms of labelled places that no label explains, watchdogs not counted."""

    findings: tuple[Finding, ...]
    unlabelled: tuple[Occurrence, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many labels got this verdict."""
        return sum(f.verdict is verdict for f in self.findings)

    @property
    def median_lead_ms(self) -> int | None:
        """The middle lead over the caught ones (lower middle of an even number); None when nothing was caught."""
        leads = sorted(f.lead_ms for f in self.findings if f.verdict is Verdict.CAUGHT and f.lead_ms is not None)
        return leads[(len(leads) - 1) // 2] if leads else None


def read_labels(path: Path, instant: Callable[[str], int], places: Iterable[str]) -> tuple[Label, ...]:
    """Read `sensor_or_site,start,end[,name]`. Raises LabelsError naming every line that cannot be read.

    instant: epoch ms of a written instant, ValueError for another text · places: the sensors and sites there are.
    """
    known = set(places)
    labels: list[Label] = []
    wrong: list[str] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        for row in reader:
            line = reader.line_num
            cells = [cell.strip() for cell in row]
            if not any(cells) or cells[0].startswith("#") or (line == 1 and cells[1:2] == ["start"]):
                continue
            try:
                labels.append(_label(cells, line, instant, known))
            except ValueError as error:
                wrong.append(f"{path}:{line}: {error}")
    if wrong:
        raise LabelsError("\n".join(wrong))
    return tuple(sorted(labels, key=lambda label: (label.start_ms, label.place)))


def _label(cells: Sequence[str], line: int, instant: Callable[[str], int], known: Container[str]) -> Label:
    if len(cells) < 3:
        raise ValueError("sensor_or_site,start,end[,name] expected")
    if cells[0] not in known:
        raise ValueError(f"{cells[0]!r} is neither a sensor nor a site")
    name = cells[3] if len(cells) > 3 and cells[3] else cells[0]
    label = Label(place=cells[0], start_ms=instant(cells[1]), end_ms=instant(cells[2]), name=name, line=line)
    if label.end_ms < label.start_ms:
        raise ValueError("it ends before it starts")
    return label


def score(occurrences: Sequence[Occurrence], labels: Sequence[Label], *, early_ms: int, until_ms: int) -> Score:
    """Judge labels: caught when an alarm of its place begins from `early_ms` before its start up to its end.

    Watchdogs and diagnostics do not catch incidents. An alarm explained by no label is unlabelled only where labels
    were given at all: elsewhere nobody looked.
    """
    by_place: dict[str, list[Occurrence]] = defaultdict(list)
    for o in occurrences:
        if not o.is_diagnostic:
            by_place[o.scope].append(o)
            if o.site != o.scope:
                by_place[o.site].append(o)
    findings = []
    explained: set[int] = set()
    for label in labels:
        here = sorted(by_place.get(label.place, ()), key=lambda o: o.start_ms)
        hits = [o for o in here if label.start_ms - early_ms <= o.start_ms <= label.end_ms]
        standing = [o for o in here if o.start_ms < label.start_ms <= o.start_ms + o.lasted_ms(until_ms)]
        explained.update(id(o) for o in (*hits, *standing))
        if hits:
            findings.append(
                Finding(label=label, verdict=Verdict.CAUGHT, alarm=hits[0], lead_ms=label.start_ms - hits[0].start_ms)
            )
        elif standing:
            findings.append(Finding(label=label, verdict=Verdict.STANDING, alarm=standing[0], lead_ms=None))
        else:
            findings.append(Finding(label=label, verdict=Verdict.MISSED, alarm=None, lead_ms=None))
    looked_at = {label.place for label in labels}
    loose = tuple(
        o
        for o in occurrences
        if not o.is_diagnostic and (o.scope in looked_at or o.site in looked_at) and id(o) not in explained
    )
    return Score(findings=tuple(findings), unlabelled=loose)


# ── two configurations ──────────────────────────────────────────────────────────────────────────


class Change(Enum):
    """How an alarm differs between two configurations."""

    GAINED = "gained"
    LOST = "lost"
    EARLIER = "earlier"
    LATER = "later"
    LEVEL = "level"  # begins alike, reaches another level
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One alarm in the old and the new configuration; `shift_ms` is new start minus old start, where both are."""

    change: Change
    old: Occurrence | None
    new: Occurrence | None

    @property
    def shift_ms(self) -> int:
        """How much later the new one begins; 0 where there is only one."""
        return self.new.start_ms - self.old.start_ms if self.old and self.new else 0

    @property
    def one(self) -> Occurrence:
        """The new one, or the old where there is no new."""
        found = self.new or self.old
        assert found is not None  # noqa: S101 - made so below
        return found


def differences(old: Sequence[Occurrence], new: Sequence[Occurrence], *, until_ms: int) -> tuple[Difference, ...]:
    """Pair alarms of the same rule and scope that overlap, each with the nearest start; the rest came or went."""
    before, after = _by_key(old), _by_key(new)
    found: list[Difference] = []
    for key in sorted(before.keys() | after.keys()):
        found += _paired(before.get(key, []), after.get(key, []), until_ms)
    return tuple(sorted(found, key=lambda d: (d.one.start_ms, d.one.rule, d.one.scope)))


def _by_key(occurrences: Sequence[Occurrence]) -> Mapping[tuple[str, str], list[Occurrence]]:
    keyed: dict[tuple[str, str], list[Occurrence]] = defaultdict(list)
    for o in sorted(occurrences, key=lambda o: o.start_ms):
        keyed[o.rule, o.scope].append(o)
    return keyed


def _paired(old: list[Occurrence], new: list[Occurrence], until_ms: int) -> list[Difference]:
    starts = [o.start_ms for o in old]
    free = [True] * len(old)
    found = []
    for n in new:
        n_end_ms = n.start_ms + n.lasted_ms(until_ms)
        first = bisect_left(starts, n.start_ms)
        while first and old[first - 1].start_ms + old[first - 1].lasted_ms(until_ms) >= n.start_ms:
            first -= 1  # alarms of one key never overlap one another, so neither do their ends go back
        match = None
        for k in range(first, len(old)):
            if old[k].start_ms > n_end_ms:
                break
            if free[k] and (match is None or abs(starts[k] - n.start_ms) < abs(starts[match] - n.start_ms)):
                match = k
        if match is None:
            found.append(Difference(change=Change.GAINED, old=None, new=n))
        else:
            free[match] = False
            found.append(Difference(change=_change(old[match], n), old=old[match], new=n))
    found += [Difference(change=Change.LOST, old=o, new=None) for o, left in zip(old, free, strict=True) if left]
    return found


def _change(old: Occurrence, new: Occurrence) -> Change:
    if new.start_ms != old.start_ms:
        return Change.EARLIER if new.start_ms < old.start_ms else Change.LATER
    return Change.SAME if new.level == old.level else Change.LEVEL


# ── tables ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table per rule and scope."""

    rule: str
    scope: str
    alarms: int
    hours: float
    level: Priority  # the most serious
    caught: int
    unlabelled: int


def table(occurrences: Sequence[Occurrence], judged: Score | None, *, until_ms: int) -> tuple[Row, ...]:
    """Return one row per rule and scope, the one with most alarms first."""
    caught: dict[tuple[str, str], int] = defaultdict(int)
    loose: dict[tuple[str, str], int] = defaultdict(int)
    if judged is not None:
        for f in judged.findings:
            if f.verdict is Verdict.CAUGHT and f.alarm is not None:
                caught[f.alarm.rule, f.alarm.scope] += 1
        for o in judged.unlabelled:
            loose[o.rule, o.scope] += 1
    rows = [
        Row(
            rule=rule,
            scope=scope,
            alarms=len(found),
            hours=sum(o.lasted_ms(until_ms) for o in found) / HOUR_MS,
            level=min(o.level for o in found),
            caught=caught[rule, scope],
            unlabelled=loose[rule, scope],
        )
        for (rule, scope), found in _by_key(occurrences).items()
    ]
    return tuple(sorted(rows, key=lambda r: (-r.alarms, r.rule, r.scope)))


def hours_in_alarm(occurrences: Iterable[Occurrence], *, until_ms: int) -> float:
    """Return the sum of all alarms' durations in hours."""
    return sum(o.lasted_ms(until_ms) for o in occurrences) / HOUR_MS
