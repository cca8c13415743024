"""What the console needs of the running city: a narrow door, so that pages can only read and ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from alerts.delivery.links import Signer
from citypulse.evidence.photos import EvidenceStore
from citypulse.health import Health
from citypulse.model import Actor, Answer, CityConfig, Command


class CityPort(Protocol):
    """The running city as the console sees it. Reads come from what was committed; changes go through the heart."""

    @property
    def pictures(self) -> EvidenceStore:
        """Where photographs are kept."""
        ...

    def submit(self, command: Command) -> Future[Answer]:
        """Hand a command to the heart; the future resolves after the commit."""
        ...

    def now_ms(self) -> int:
        """Return the city's own time, epoch ms."""
        ...

    def health(self) -> Health:
        """Return readiness with reasons."""
        ...

    def metrics_text(self) -> bytes:
        """Return all counters in the Prometheus text format."""
        ...

    def actor_of(self, token: str) -> Actor | None:
        """Return who holds this API token, or None."""
        ...

    def alarms(
        self,
        *,
        open_only: bool,
        limit: int,
        domain: str,
        since_ms: int | None,
        after: tuple[int | str, ...] = (),
        newest: bool = False,
        state: str = "",
    ) -> list[dict[str, Any]]:
        """Return alarms as JSON-ready views, most serious and newest first, or just newest; from `after` on."""
        ...

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        """Return one alarm, or None."""
        ...

    def situations(self) -> dict[str, Any]:
        """Return open alarms as situations by cause, asset and area, worst first, and which desks have a storm."""
        ...

    def orders(
        self,
        *,
        open_only: bool,
        limit: int,
        team: str,
        state: str,
        after: tuple[int | str, ...] = (),
        newest: bool = False,
    ) -> list[dict[str, Any]]:
        """Return work orders as JSON-ready views, most serious and newest first, or just newest; from `after` on."""
        ...

    def order(self, order_id: str) -> dict[str, Any] | None:
        """Return one work order, or None."""
        ...

    def contacts(self, order_id: str, who: Actor) -> list[str]:
        """Return the contacts of an order to somebody whose look is on record; else nothing."""
        ...

    def events(self, *, subject: str, after_seq: int, limit: int) -> list[dict[str, Any]]:
        """Return lines of the record in order; subject "" means all."""
        ...

    def sensors(self) -> list[dict[str, Any]]:
        """Return the configured sensors with their newest reading."""
        ...

    def readings(self, *, sensor: str, since_ms: int, until_ms: int, limit: int) -> list[dict[str, Any]] | None:
        """Return readings of one sensor in time order, or None when the sensor is not known."""
        ...

    def export_csv(self, *, sensors: Sequence[str], since_ms: int, until_ms: int) -> Iterator[bytes]:
        """Stream readings as CSV lines `sensor,time,value,quality`."""
        ...

    def dead_letters(self, *, limit: int) -> list[dict[str, Any]]:
        """Return the newest dead letters."""
        ...

    def replay_dead_letters(self, *, reason: str) -> int:
        """Put kept messages back into the inbox; return how many."""
        ...

    @property
    def signer(self) -> Signer:
        """What makes and reads the links in notices."""
        ...

    @property
    def config(self) -> CityConfig:
        """The configuration in force."""
        ...

    def notices(
        self, *, subject: str, limit: int, state: str, channel: str, before: int | None = None
    ) -> list[dict[str, Any]]:
        """Return notices with what came of them, newest first."""
        ...

    def notice(self, number: int) -> dict[str, Any] | None:
        """Return one notice, or None."""
        ...

    def retry_notice(self, number: int) -> bool:
        """Put a failed or dead notice back to be sent; False when it is neither."""
        ...

    def channels(self) -> list[dict[str, Any]]:
        """Return every configured channel with its health and what waits for it."""
        ...

    def reply(self, channel: str, phone: str, text: str) -> tuple[Command | None, str]:
        """Return the command a plain phone's answer asks for, or None and what to say back."""
        ...

    def mutes(self, *, with_past: bool, limit: int) -> list[dict[str, Any]]:
        """Return silences and windows, newest first."""
        ...

    def preview_mute(self, data: dict[str, Any], who: Actor) -> dict[str, Any]:
        """Return what a mute of these terms would have hidden; CityError when they cannot be taken."""
        ...

    def exercises(self, *, limit: int) -> list[dict[str, Any]]:
        """Return drills, newest first."""
        ...

    def exercise(self, number: str) -> dict[str, Any] | None:
        """Return one drill with its score, or None."""
        ...

    def rotas(self, *, team: str, at_ms: int | None, days: int) -> list[dict[str, Any]]:
        """Return who is on duty, by team (all of them when it is ""), now or at an instant."""
        ...

    def rota_coverage(self, *, days: int) -> dict[str, Any]:
        """Return the proof of the coming days."""
        ...

    def gateways(self) -> list[dict[str, Any]]:
        """Return gateways with numbering, watermark, liveness and clock offset."""
        ...

    def why(
        self, *, rule: str, scope: str, at_ms: int | None = None, since_ms: int | None = None
    ) -> dict[str, Any] | None:
        """Explain one rule on one scope, now or at `at_ms`: samples, limits, timers, quality, rule file and line."""
        ...

    def incident(self, number: str) -> dict[str, Any] | None:
        """Return all evidence about one alarm or order, or None."""
        ...
