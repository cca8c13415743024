"""A second opinion on every clock of an order, sharing no code with the product: minutes counted one by one.

It reads the exported record (JSON), knows the limits and the holidays from tables of its own, and says for every
event which clocks started, stood still and stopped, with what they had used and when they are due.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, timedelta, timezone
from typing import Any

CHINA = timezone(timedelta(hours=8))
MINUTE = 60_000
OFF = {date(2026, 9, d) for d in (25, 26, 27)} | {date(2026, 10, d) for d in range(1, 8)}
WORKED = {date(2026, 9, 20), date(2026, 10, 10)}
FROM, UNTIL = date(2026, 9, 13), date(2027, 3, 1)
H, D, WH, WD = 3600, 86400, ("work", 3600), ("work", 28800)


def _limits() -> dict[str, dict[str, Any]]:
    def w(pair: tuple[str, int], n: float) -> tuple[str, float]:
        return (pair[0], pair[1] * n)

    names = ("T1", "T1b", "T2", "T3", "Tsite", "T4", "T5", "Tack", "Tclose")
    rows = {
        "red": (60, 180, 180, 300, 900, 2 * H, 2 * H, 300, D),
        "orange": (180, 300, 300, 600, 1800, 4 * H, 4 * H, 600, w(WD, 1)),
        "yellow": (600, 2 * H, 1200, H, 4 * H, w(WD, 1), D, w(WH, 4), w(WD, 2)),
        "blue": (1800, D, H, w(WH, 4), D, w(WD, 5), 2 * D, w(WD, 1), w(WD, 5)),
    }
    return {
        level: {n: v if isinstance(v, tuple) else ("wall", v) for n, v in zip(names, row, strict=True)}
        for level, row in rows.items()
    }


LIMITS = _limits()
OWN = {("build", level, "T4"): ("work", 20 * 28800.0) for level in LIMITS} | {
    ("sewer", "yellow", "T3"): ("wall", 1800.0),
    ("sewer", "blue", "T4"): ("work", 3 * 28800.0),
}
STEPS = {"build": (("stop", ("work", 4 * 3600.0), ""), ("fine", ("work", 7 * 28800.0), "stop"),
                   ("clear", ("wall", 40 * 86400.0), ""))}  # fmt: skip
STARTS = {
    "reported": "T1", "verifying": "T1b", "filed": "T2", "dispatched": "T3 T4", "accepted": "Tsite", "returned": "T2",
    "redispatched": "T3 T4", "fed_back": "T5", "rework": "T4", "reopened": "T2", "sent": "Tack",
    "acknowledged": "Tclose",
}  # fmt: skip
STOPS = {
    "verifying": "T1", "filed": "T1 T1b", "dispatched": "T2", "accepted": "T3", "returned": "T3 Tsite",
    "redispatched": "T2", "arrived": "Tsite", "deferred": "Tsite", "suspended": "Tsite", "fed_back": "T4",
    "closed": "T5 Tclose", "rework": "T5", "acknowledged": "Tack",
}  # fmt: skip


class Minutes:
    """Working minutes of the calendar, summed up."""

    def __init__(self) -> None:
        self.first = round(datetime(FROM.year, FROM.month, FROM.day, tzinfo=CHINA).timestamp() * 1000)
        self.sums = [0]
        self.works: list[bool] = []
        day = FROM
        while day < UNTIL:
            is_on = day in WORKED or (day.weekday() < 5 and day not in OFF)
            for m in range(1440):
                at_work = is_on and (510 <= m < 720 or 810 <= m < 1080)
                self.works.append(at_work)
                self.sums.append(self.sums[-1] + (MINUTE if at_work else 0))
            day += timedelta(days=1)

    def at(self, ms: int) -> int:
        """Working ms from the first day to `ms`."""
        minute, rest = divmod(ms - self.first, MINUTE)
        return self.sums[minute] + (rest if self.works[minute] else 0)

    def when(self, worked: int) -> int:
        """The first instant by which `worked` ms have been worked."""
        minute = bisect_left(self.sums, worked)
        if self.sums[minute] == worked:
            while minute and self.sums[minute - 1] == worked:
                minute -= 1
            return self.first + minute * MINUTE
        return self.first + (minute - 1) * MINUTE + (worked - self.sums[minute - 1])


class Clock:
    def __init__(self, start: int, kind: str, seconds: float) -> None:
        self.start, self.kind, self.seconds = start, kind, seconds


class Order:
    """The clocks of one order, from its exported events in order."""

    def __init__(self, minutes: Minutes) -> None:
        self.minutes = minutes
        self.clocks: dict[str, Clock] = {}
        self.pauses: list[tuple[int, int]] = []
        self.since: int | None = None
        self.level = self.template = ""
        self.is_mis_sent = False
        self.done: set[str] = set()
        self.original: Clock | None = None

    def _pause_in(self, clock: Clock, now: int, measure: Any) -> int:
        spans = [(a, b) for a, b in self.pauses if a >= clock.start]
        if self.since is not None:
            spans.append((self.since, now))
        return sum(measure(b) - measure(a) for a, b in spans)

    def elapsed(self, name: str, clock: Clock, now: int) -> float:
        measure = self.minutes.at if clock.kind == "work" else int
        used = measure(now) - measure(clock.start)
        if name == "T4" or name.startswith("step:"):
            used -= self._pause_in(clock, now, measure)
        return used / 1000

    def due(self, name: str, clock: Clock) -> int | None:
        pausable = name == "T4" or name.startswith("step:")
        if pausable and self.since is not None:
            return None
        measure = self.minutes.at if clock.kind == "work" else int
        need = round(clock.seconds * 1000) + (self._pause_in(clock, 0, measure) if pausable else 0)
        return self.minutes.when(measure(clock.start) + need) if clock.kind == "work" else clock.start + need

    def limit(self, name: str) -> tuple[str, float]:
        return OWN.get((self.template, self.level, name)) or LIMITS[self.level][name]

    def take(self, e: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Take one event; return the marks it should carry: (clock, did, limit, due, elapsed)."""
        kind, now, data = e["kind"], e["wall_ms"], e["data"]
        found: list[tuple[Any, ...]] = []

        def say(name: str, did: str, clock: Clock) -> None:
            found.append((name, did, clock.kind, clock.seconds, self.due(name, clock), self.elapsed(name, clock, now)))

        def drop(name: str) -> None:
            if name in self.clocks:
                say(name, "stop", self.clocks.pop(name))

        def begin(name: str, limit: tuple[str, float]) -> None:
            self.clocks[name] = clock = Clock(now, *limit)
            say(name, "start", clock)

        if kind in {"reported", "sent"}:
            self.level, self.template = data["level"], data["template"]
        if kind == "returned":
            self.is_mis_sent = data.get("mis_dispatch") is True
        if kind == "attached" and data["order_level"] != self.level:
            self.level = data["order_level"]
            if "T4" in self.clocks:
                old, new = self.clocks["T4"], Clock(self.clocks["T4"].start, *self.limit("T4"))
                was, becomes = self.due("T4", old), self.due("T4", new)
                if was is None or becomes is None or becomes < was:
                    self.clocks["T4"] = new
                    if (old.kind, old.seconds) != (new.kind, new.seconds):
                        say("T4", "limit", new)
        if e["to_state"] in {"closed", "rejected", "cancelled"} and e["from_state"] != e["to_state"]:
            for name in list(self.clocks):
                drop(name)
            if self.since is not None:
                self.pauses.append((self.since, now))
                self.since = None
        for name in STOPS.get(kind, "").split():
            drop(name)
        if kind in {"deferred", "suspended"}:
            self.since = now
            for name, clock in self.clocks.items():
                if name == "T4" or name.startswith("step:"):
                    say(name, "pause", clock)
        if kind == "resumed":
            assert self.since is not None
            self.pauses.append((self.since, now))
            self.since = None
            for name, clock in self.clocks.items():
                if name == "T4" or name.startswith("step:"):
                    say(name, "resume", clock)
        if kind == "extended":
            old = self.clocks["T4"]
            if "until_ms" in data:
                stood = self._pause_in(old, now, int)
                clock = Clock(old.start, "wall", (data["until_ms"] - old.start - stood) / 1000)
            else:
                clock = Clock(old.start, old.kind, old.seconds * 1.5)
            self.clocks["T4"] = clock
            say("T4", "limit", clock)
        keeps = kind == "redispatched" and not self.is_mis_sent
        if kind == "reopened":
            self.done, self.original, self.is_mis_sent = set(), None, False
        for name in STARTS.get(kind, "").split():
            if keeps and name == "T4" and name in self.clocks:
                continue
            kept = self.limit(name)
            if kind == "rework":
                kept = (kept[0], min(kept[1] / 2, 28800.0 if kept[0] == "work" else 86400.0))
            if name in self.clocks:
                drop(name)
            begin(name, kept)
            if name == "T4" and (self.original is None or kind == "redispatched"):
                self.original = self.clocks["T4"]
        for step, limit, after in STEPS.get(self.template, ()):
            name = f"step:{step}"
            if kind == "step_finished" and data["step"] == step:
                self.done.add(step)
                drop(name)
            is_first = not after and kind in {"dispatched", "redispatched"}
            is_next = after and kind == "step_finished" and data["step"] == after
            if (is_first or is_next) and step not in self.done:
                if keeps and name in self.clocks:
                    continue
                if name in self.clocks:
                    drop(name)
                begin(name, limit)
        return found
