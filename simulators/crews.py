"""Simulated people: duty officers, crews and checkers who work the orders through the HTTP API, as phones do.

They know nothing of the city but what the API tells them. Crews repair truly or botch it, as the seed says; the
district's `repair` decides what comes of that, and the sensors, not the crew, say whether it helped.
"""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from citypulse.clock import Clock
from citypulse.errors import CityError
from citypulse.model import Site, Team

from .noise import key_of, uniform
from .pictures import picture

log = structlog.get_logger()

POLL_S = 1.0  # real seconds between two looks
TIMEOUT_S = 20.0
RETRY_S = 240.0  # simulated seconds before a refused step is tried again
GIVE_UP_CHECK_S = 10_800.0  # a checker who still sees the alarm after this sends the order back; gas clears after 1 h
ORDERS_MAX = 1000
TRUE_SHARE = 0.85

ROLES = ("duty", "lead", "crew", "checker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What is done with an order in one state: the verb, by whom, and after how long (simulated seconds)."""

    verb: str
    role: str
    soonest_s: float
    latest_s: float


HABITS: dict[str, Habit] = {
    "reported": Habit(verb="file", role="duty", soonest_s=60, latest_s=240),
    "verifying": Habit(verb="file", role="duty", soonest_s=120, latest_s=600),
    "filed": Habit(verb="dispatch", role="duty", soonest_s=60, latest_s=300),
    "returned": Habit(verb="redispatch", role="duty", soonest_s=60, latest_s=300),
    "dispatched": Habit(verb="accept", role="crew", soonest_s=60, latest_s=300),
    "accepted": Habit(verb="arrive", role="crew", soonest_s=420, latest_s=1200),  # the way there
    "handling": Habit(verb="report", role="crew", soonest_s=600, latest_s=1800),  # the work
    "fed_back": Habit(verb="check", role="checker", soonest_s=180, latest_s=600),
    "checking": Habit(verb="pass", role="checker", soonest_s=600, latest_s=1200),
}
ACKNOWLEDGE = Habit(verb="acknowledge", role="duty", soonest_s=60, latest_s=240)
CLOSE = Habit(verb="close", role="checker", soonest_s=120, latest_s=300)


@dataclass(slots=True)
class CrewStats:
    """What these people have done; counters since the start."""

    acknowledged: int = 0
    accepted: int = 0
    repaired: int = 0
    botched: int = 0
    passed: int = 0
    closed: int = 0
    reworked: int = 0
    refused: int = 0  # steps the city did not allow (yet)
    unreachable: int = 0  # looks that got no answer


@dataclass(slots=True)
class _Task:
    """One thing to do: what was seen when, and when it is done."""

    due_ms: int
    since_ms: int
    tries: int = 0
    is_repaired: bool = False


@dataclass(slots=True)
class Crews:
    """All people of a run. `tokens` maps each of ROLES to a token; a role without one is not played.

    A key `crew:<team>` or `crew:<unit>` gives that team its own token.
    """

    address: str
    tokens: Mapping[str, str]
    clock: Clock
    repair: Callable[[str, bool], Any]  # site, truly
    seed: int
    teams: Mapping[str, Team] = field(default_factory=dict)
    sites: Mapping[str, Site] = field(default_factory=dict)
    only_team: str = ""
    true_share: float = TRUE_SHARE
    pace: float = 1.0  # what everybody's times are multiplied by
    poll_s: float = POLL_S  # real seconds between two looks
    leaves: Callable[[dict[str, Any]], bool] = lambda _alarm: False  # alarms the desk does not get to
    botches: Callable[[dict[str, Any]], bool] | None = None  # repairs that help nothing; without it the seed says
    stats: CrewStats = field(default_factory=CrewStats)
    _tasks: dict[str, _Task] = field(default_factory=dict)
    _is_away: bool = False
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Work, in a thread of our own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="crews", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Go home."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def step(self, now_ms: int) -> None:
        """Look at alarms and orders once, and do what is due. Raises CityError when the API does not answer."""
        seen: set[str] = set()
        if self._token("duty"):
            for alarm in self._get("/api/v1/alarms", limit=ORDERS_MAX):
                self._look_at_alarm(alarm, now_ms, seen)
        query: dict[str, Any] = {"limit": ORDERS_MAX}
        if self.only_team:
            query["team"] = self.only_team
        for order in self._get("/api/v1/orders", **query):
            self._look_at_order(order, now_ms, seen)
        self._tasks = {k: t for k, t in self._tasks.items() if k in seen}

    # ── what they do ────────────────────────────────────────────────────────────────────────────

    def _look_at_alarm(self, alarm: dict[str, Any], now_ms: int, seen: set[str]) -> None:
        if alarm.get("isa") not in {"B", "D"} or self.leaves(alarm):
            return
        task = f"{alarm['id']}/{alarm.get('occurrence', 0)}/acknowledge"
        if self._is_due(task, ACKNOWLEDGE, now_ms, seen):
            done = self._do("alarms", alarm["id"], ACKNOWLEDGE, task, now_ms, {"note": "已看到 seen"})
            self.stats.acknowledged += done

    def _look_at_order(self, order: dict[str, Any], now_ms: int, seen: set[str]) -> None:
        habit = HABITS.get(order["state"])
        if habit is None:
            return
        is_passed = "passed" in (order.get("data") or {})
        if order["state"] == "checking" and is_passed:
            # Red and orange orders need the leader's signature.
            habit = CLOSE if order["level"] > 2 else Habit(verb="close", role="lead", soonest_s=120, latest_s=300)
        if not self._token(habit.role, order):
            return
        task = f"{order['id']}/{habit.verb}/{order.get('rework_count', 0)}/{order['state_ms']}"
        is_due = self._is_due(task, habit, now_ms, seen)
        if habit.verb == "report" and not self._tasks[task].is_repaired:
            # The cause is dealt with first; the rest of the time on site goes into pumping out, flushing, filling up.
            self._tasks[task].is_repaired = True
            if not order.get("is_exercise"):  # a drill mends nothing real
                self.repair(order["asset"], self._repairs_truly(order))
        if not is_due:
            return
        data = self._data(order, habit)
        if data is None:
            return
        if self._do("orders", order["id"], habit, task, now_ms, data, order):
            self._count(order, habit)
        elif habit.verb == "pass" and now_ms - self._tasks[task].since_ms > GIVE_UP_CHECK_S * 1000:
            again = Habit(verb="rework", role="checker", soonest_s=0, latest_s=0)
            reason = {"reason": "现场复核仍未恢复 not restored when checked on site"}
            self.stats.reworked += self._do("orders", order["id"], again, f"{task}/rework", now_ms, reason, order)

    def _data(self, order: dict[str, Any], habit: Habit) -> dict[str, Any] | None:
        """Return what the step needs; None when this person cannot take it."""
        name = order["id"].lower()
        match habit.verb:
            case "dispatch" | "redispatch":
                team = self._crew_for(order)
                return None if team is None else {"team": team}
            case "report":
                turn = order.get("rework_count", 0)
                return {
                    "photo_before": self._photograph(order, "crew", f"{name}/{turn}", "before"),
                    "photo_after": self._photograph(order, "crew", f"{name}/{turn}", "after"),
                    "action": "已处置并恢复 repaired and restored",
                }
            case "arrive":
                return {"position": list(self._place(order))}
            case "pass" | "close":
                lat, lon = self._place(order)
                return {"proof": {"photo": self._photograph(order, "checker", name, "check"), "lat": lat, "lon": lon}}
            case _:
                return {}

    def _place(self, order: dict[str, Any]) -> tuple[float, float]:
        site = self.sites.get(order["asset"])
        return (site.lat, site.lon) if site else (0.0, 0.0)

    def _photograph(self, order: dict[str, Any], role: str, name: str, moment: str) -> str:
        """Take a picture, send it, and return the name it is kept by."""
        answer = self._call("POST", "/api/v1/evidence", self._token(role, order), picture(name, moment))
        return str(answer["subject"]) if isinstance(answer, dict) and answer.get("ok") else ""

    def _repairs_truly(self, order: dict[str, Any]) -> bool:
        if self.botches is not None:
            return not self.botches(order)
        draw = uniform(key_of(self.seed, "repair", order["asset"], order["cause"], order.get("rework_count", 0)), 0)
        return bool(draw < self.true_share)

    def _crew_for(self, order: dict[str, Any]) -> str | None:
        crews = [
            t for t in self.teams.values() if t.kind == "crew" and order["domain"] in (t.domains or [order["domain"]])
        ]
        near = [t for t in crews if order["area"] in t.areas]
        return next((t.id for t in (*near, *crews)), None)

    def _count(self, order: dict[str, Any], habit: Habit) -> None:
        match habit.verb:
            case "accept":
                self.stats.accepted += 1
            case "report":
                if self._repairs_truly(order):
                    self.stats.repaired += 1
                else:
                    self.stats.botched += 1
            case "pass":
                self.stats.passed += 1
            case "close":
                self.stats.closed += 1
            case _:
                pass

    # ── patience ────────────────────────────────────────────────────────────────────────────────

    def _is_due(self, name: str, habit: Habit, now_ms: int, seen: set[str]) -> bool:
        seen.add(name)
        task = self._tasks.get(name)
        if task is None:
            wait_s = habit.soonest_s + (habit.latest_s - habit.soonest_s) * float(uniform(key_of(self.seed, name), 0))
            task = self._tasks[name] = _Task(due_ms=now_ms + int(wait_s * self.pace * 1000), since_ms=now_ms)
        return now_ms >= task.due_ms

    def _do(
        self,
        kind: str,
        subject: str,
        habit: Habit,
        name: str,
        now_ms: int,
        data: dict[str, Any],
        order: dict[str, Any] | None = None,
    ) -> bool:
        task = self._tasks.get(name)
        tries = task.tries if task else 0
        # The same id when no answer came, a new one after a refusal: asked twice is done once.
        body = data | {"command_id": f"sim-{key_of(self.seed, name, tries):016x}"}
        answer = self._post(f"/api/v1/{kind}/{subject}/{habit.verb}", self._token(habit.role, order), body)
        if answer.get("code") == "no_answer":
            return False
        if task is not None:
            task.tries += 1
            task.due_ms = now_ms + int(RETRY_S * 1000)
        if answer.get("ok"):
            return True
        self.stats.refused += 1
        log.debug("simulator.step_refused", subject=subject, verb=habit.verb, why=answer.get("message"))
        return False

    def _run(self) -> None:
        while not self._stop.wait(self.poll_s):
            try:
                self.step(self.clock.now_ms())
                self._is_away = False
            except CityError as error:
                self.stats.unreachable += 1
                if not self._is_away:  # broken: once; healed: quiet
                    self._is_away = True
                    log.warning("simulator.api_unreachable", address=self.address, why=str(error))
            except Exception:  # people who vanish would look like a city without work
                log.exception("simulator.crews_failed")

    # ── the API ─────────────────────────────────────────────────────────────────────────────────

    def _token(self, role: str, order: dict[str, Any] | None = None) -> str:
        if role == "crew" and order is not None:
            for owner in (order.get("team"), order.get("unit")):
                if f"crew:{owner}" in self.tokens:
                    return self.tokens[f"crew:{owner}"]
        return self.tokens.get(role, "")

    def _get(self, path: str, **query: Any) -> list[dict[str, Any]]:
        token = next((t for r in ROLES if (t := self._token(r))), next(iter(self.tokens.values()), ""))
        rows = self._call("GET", f"{path}?{urllib.parse.urlencode(query)}", token, None)
        if not isinstance(rows, list):
            said = rows.get("message", rows) if isinstance(rows, dict) else rows
            raise CityError(f"GET {path}: expected a list, got {said!r:.200}")
        return rows

    def _post(self, path: str, token: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._call("POST", path, token, body)
        return answer if isinstance(answer, dict) else {}

    def _call(self, method: str, path: str, token: str, body: dict[str, Any] | bytes | None) -> Any:
        kind = "image/png" if isinstance(body, bytes) else "application/json"
        request = urllib.request.Request(  # noqa: S310 - the address is checked by `crew_address`
            self.address.rstrip("/") + path,
            data=json.dumps(body).encode() if isinstance(body, dict) else body,
            method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                return json.load(reply)
        except urllib.error.HTTPError as error:
            try:
                return json.load(error)
            except ValueError:
                raise CityError(f"{method} {path}: the service answered {error.code}") from error
        except (OSError, ValueError) as error:
            raise CityError(f"{method} {path}: {error}") from error


def crew_address(text: str) -> str:
    """Return the service's address without a trailing slash; ValueError unless it is http or https."""
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ValueError(f"{text!r} is not the address of a service; write http://127.0.0.1:8080")
    return text.rstrip("/")


def read_tokens(text: str) -> dict[str, str]:
    """Read a token file: JSON {"duty": "…", "crew": "…", "checker": "…", "lead": "…"}, or `role token` a line.

    ValueError names what is wrong; the token itself is never repeated in it.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        found = json.loads(stripped)
        if not all(isinstance(v, str) for v in found.values()):
            raise ValueError("every token must be a text")
    else:
        rows = [line.split() for line in stripped.splitlines() if line.strip() and not line.startswith("#")]
        bad = [k + 1 for k, row in enumerate(rows) if len(row) != 2]
        if bad:
            raise ValueError(f"line {bad[0]} is not `role token`")
        found = dict(rows)
    strange = [role for role in found if role.split(":")[0] not in ROLES]
    if strange:
        raise ValueError(f"role {strange[0]!r} is not played here; roles: {', '.join(ROLES)} and crew:<team>")
    return dict(found)
