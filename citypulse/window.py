"""What the console and the commands beside the service see of it: reading what was committed, asking the heart.

Every function may be called from any thread. Nothing here changes the city but by a command.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from alerts.delivery.links import Signer
from alerts.delivery.outbox import Deliverer
from citypulse import mutes_views
from citypulse.city import City
from citypulse.clock import Clock
from citypulse.config import Extensions
from citypulse.delivery import channel_views, understood
from citypulse.evidence.incident import gather
from citypulse.evidence.photos import EvidenceStore
from citypulse.evidence.why import HISTORY_S, why_then, why_view
from citypulse.health import Health, behind, examine
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.ledger.users import Users
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import Actor, Answer, CityConfig, Command, SensorTable
from citypulse.reading_room import ReadingRoom
from citypulse.reloading import Reloader, config_in_force, past_config
from citypulse.rota_views import coverage_view, rota_view, stand_ins_of
from citypulse.store import ReadingStore
from citypulse.store.sink import Sink
from citypulse.views import plain
from citypulse.watchdog import no_way_out
from ingest.deadletter import replay_message
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource

REPLAY_MAX = 10_000


class Parts(Protocol):
    """The parts of a service that the window looks at; those that a reload exchanges are read anew each time."""

    config: CityConfig
    clock: Clock
    metrics: Metrics
    users: Users
    ledger: Ledger
    journal: Journal
    room: ReadingRoom
    table: SensorTable
    inbox: Inbox
    mailbox: Mailbox
    source: MqttSource
    city: City
    store: ReadingStore
    sink: Sink
    signer: Signer
    pictures: EvidenceStore
    deliverer: Deliverer
    reloader: Reloader | None
    trouble: str
    beat_at_s: float


class Window:
    """One service, seen from outside (console.port.CityPort)."""

    def __init__(self, service: Parts, extensions: Extensions) -> None:
        """Look at `service`; `extensions` are what past configurations may name."""
        self._service = service
        self._extensions = extensions

    @property
    def config(self) -> CityConfig:
        """The configuration in force."""
        return self._service.config

    @property
    def signer(self) -> Signer:
        """Who signs links for phones."""
        return self._service.signer

    @property
    def pictures(self) -> EvidenceStore:
        """Where photographs are kept."""
        return self._service.pictures

    def submit(self, command: Command) -> Future[Answer]:
        """Hand a command to the heart."""
        return self._service.mailbox.submit(command)

    def now_ms(self) -> int:
        """Return the city's time, epoch ms."""
        return self._service.clock.now_ms()

    def health(self) -> Health:
        """Return readiness with reasons. A configuration that was refused is said, but the city runs on without it."""
        health = examine(self._service)
        problem = self._service.reloader.problem if self._service.reloader is not None else None
        counts = self._service.reloader.counts if self._service.reloader is not None else {}
        changed = self._service.reloader.terms if self._service.reloader is not None else ()
        terms = [{"zh": line.zh, "en": line.en} for line in changed]
        mute = no_way_out(self._service.config, self._service.deliverer.health)
        late = behind(self._service.clock.now_ms(), self._service.city.committed_ms)
        more = tuple(p for p in (problem, mute, late) if p)
        return replace(
            health,
            is_ready=health.is_ready and mute is None and late is None,
            is_mute=mute is not None,
            problems=(*health.problems, *more),
            facts=health.facts
            | {"config": self._service.config.fingerprint[:12], "config_reloads": dict(counts), "config_terms": terms},
        )

    def actor_of(self, token: str) -> Actor | None:
        """Return who holds a token."""
        return self._service.users.actor_of(token)

    def sensors(self) -> list[dict[str, Any]]:
        """Return the configured sensors with their newest reading."""
        found = self._service.store.latest()
        columns = zip(
            found.sensor.tolist(), found.time_ms.tolist(), found.value.tolist(), found.quality.tolist(), strict=True
        )
        newest = {k: {"time_ms": t, "value": plain(v), "quality": q} for k, t, v, q in columns}
        return [
            {"id": s.id, "site": s.site, "unit": s.unit, "gateway": s.gateway}
            | newest.get(self._service.table.index[s.id], {"time_ms": None, "value": None, "quality": None})
            for s in self._service.config.sensors
        ]

    def readings(self, *, sensor: str, since_ms: int, until_ms: int, limit: int) -> list[dict[str, Any]] | None:
        """Return readings of one sensor in time order."""
        index = self._service.table.index.get(sensor)
        if index is None:
            return None
        found = self._service.store.query(index, since_ms, until_ms, limit)
        columns = zip(found.time_ms.tolist(), found.value.tolist(), found.quality.tolist(), strict=True)
        return [{"time_ms": t, "value": plain(v), "quality": q} for t, v, q in columns]

    def export_csv(self, *, sensors: Sequence[str], since_ms: int, until_ms: int) -> Iterator[bytes]:
        """Stream readings as CSV."""
        yield b"sensor,time,value,quality\n"
        wanted = [self._service.table.index[name] for name in sensors if name in self._service.table.index]
        if sensors and not wanted:
            return
        ids = self._service.table.ids
        for part in self._service.store.scan(wanted or None, since_ms, until_ms):
            rows = zip(
                part.sensor.tolist(), part.time_ms.tolist(), part.value.tolist(), part.quality.tolist(), strict=True
            )
            yield "".join(f"{ids[k]},{t},{v!r},{q}\n" for k, t, v, q in rows).encode()

    def replay_dead_letters(self, *, reason: str) -> int:
        """Put kept messages back into the inbox, oldest first, as far as it has room."""
        now_ms = self._service.clock.now_ms()
        done = []
        for row in reversed(self._service.ledger.dead_letters(reason=reason, is_replayed=False, limit=REPLAY_MAX)):
            if not self._service.inbox.put(replay_message(row.letter, now_ms)):
                break
            done.append(row.id)
        return self._service.ledger.mark_replayed(done, now_ms=now_ms) if done else 0

    def rotas(self, *, team: str, at_ms: int | None, days: int) -> list[dict[str, Any]]:
        """Return who is on duty, now or at an instant, and who comes in the days after it."""
        config = self._service.city.config
        at_ms = self.now_ms() if at_ms is None else at_ms
        return rota_view(config, stand_ins_of(self._service.ledger, config), at_ms=at_ms, days=days, team=team)

    def rota_coverage(self, *, days: int) -> dict[str, Any]:
        """Prove the coming days with the stand-ins of the record and the channels that fail now."""
        config = self._service.city.config
        failing = [name for name, h in self._service.deliverer.health.items() if h.failing_since_ms is not None]
        stand_ins = stand_ins_of(self._service.ledger, config)
        return coverage_view(config, stand_ins, from_ms=self.now_ms(), days=days, failing=failing)

    def why(
        self, *, rule: str, scope: str, at_ms: int | None = None, since_ms: int | None = None
    ) -> dict[str, Any] | None:
        """Explain one rule on one scope now, or as it stood at `at_ms` with the readings from `since_ms` on."""
        if at_ms is not None:
            since_ms = at_ms - HISTORY_S * 1000 if since_ms is None else since_ms
            return why_then(
                self._service.ledger,
                self._service.store,
                self._config_at,
                rule=rule,
                scope=scope,
                at_ms=at_ms,
                since_ms=since_ms,
            )
        try:
            why = self._service.city.why(rule, scope)
        except KeyError:
            return None
        return why_view(why, next(iter(self._service.ledger.alarms(rule=rule, scope=scope, limit=1)), None))

    def incident(self, number: str) -> dict[str, Any] | None:
        """Gather all evidence about one alarm or order."""
        return gather(
            self._service.ledger,
            self._service.store,
            lambda at_ms: config_in_force(self._service.ledger, at_ms, self._extensions),
            number,
            now_ms=self._service.clock.now_ms(),
            photo=self._service.pictures.get,
        )

    def _config_at(self, at_ms: int) -> CityConfig | None:
        """Return the configuration in force at an instant; the present one where none was recorded."""
        fingerprint = self._service.ledger.config_at(at_ms)
        if fingerprint in {"", self._service.city.config.fingerprint}:
            return self._service.city.config
        return past_config(self._service.ledger, fingerprint, self._extensions)

    # reads that the reading room answers

    def alarms(self, **query: Any) -> list[dict[str, Any]]:
        """See ReadingRoom.alarms."""
        return self._service.room.alarms(**query)

    def situations(self) -> dict[str, Any]:
        """Group open alarms by cause, asset and area, worst first."""
        config = self._service.city.config
        return self._service.room.situations(
            areas=config.areas,
            sites={site.id: site.name for site in config.sites.values()},
            rules={rule.id: rule.name for rule in config.rules},
        )

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        """See ReadingRoom.alarm."""
        return self._service.room.alarm(alarm_id)

    def orders(self, **query: Any) -> list[dict[str, Any]]:
        """See ReadingRoom.orders."""
        return self._service.room.orders(**query)

    def order(self, order_id: str) -> dict[str, Any] | None:
        """See ReadingRoom.order."""
        return self._service.room.order(order_id, now_ms=self.now_ms())

    def contacts(self, order_id: str, who: Actor) -> list[str]:
        """See ReadingRoom.contacts."""
        return self._service.room.contacts(order_id, who, now_ms=self.now_ms())

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """See ReadingRoom.events."""
        return self._service.room.events(**query)

    def dead_letters(self, *, limit: int) -> list[dict[str, Any]]:
        """See ReadingRoom.dead_letters."""
        return self._service.room.dead_letters(limit=limit)

    def gateways(self) -> list[dict[str, Any]]:
        """See ReadingRoom.gateways."""
        return self._service.room.gateways()

    def mutes(self, *, with_past: bool, limit: int) -> list[dict[str, Any]]:
        """Return silences and windows, newest first."""
        return mutes_views.mutes(
            self._service.ledger, with_past=with_past, limit=limit, now_ms=self._service.clock.now_ms()
        )

    def preview_mute(self, data: dict[str, Any], who: Actor) -> dict[str, Any]:
        """Return what a mute of these terms would have hidden."""
        now_ms = self._service.clock.now_ms()
        return mutes_views.would_hide(self._service.ledger, data, who=who, config=self._service.config, now_ms=now_ms)

    def exercises(self, *, limit: int) -> list[dict[str, Any]]:
        """Return drills, newest first."""
        return mutes_views.exercises(self._service.ledger, limit=limit)

    def exercise(self, number: str) -> dict[str, Any] | None:
        """Return one drill with its score."""
        return mutes_views.exercise(
            self._service.ledger, number, config=self._service.config, now_ms=self._service.clock.now_ms()
        )

    def notices(self, **query: Any) -> list[dict[str, Any]]:
        """See ReadingRoom.notices."""
        return self._service.room.notices(**query)

    def notice(self, number: int) -> dict[str, Any] | None:
        """See ReadingRoom.notice."""
        return self._service.room.notice(number)

    def retry_notice(self, number: int) -> bool:
        """Put a failed or dead notice back to be sent."""
        return self._service.ledger.outbox.revive(number, now_ms=self._service.clock.now_ms())

    def channels(self) -> list[dict[str, Any]]:
        """Return every configured channel with its health and what waits for it."""
        return channel_views(
            self._service.config,
            self._service.deliverer,
            self._service.ledger.waiting_by_channel(),
            self._service.clock.now_ms(),
        )

    def reply(self, channel: str, phone: str, text: str) -> tuple[Command | None, str]:
        """Return the command a plain phone's answer asks for, or None and what to say back."""
        return understood(
            self._service.config, self._service.ledger.reply_codes, channel, phone, text, self._service.clock.now_ms()
        )

    def metrics_text(self) -> bytes:
        """Return all counters, gauges brought up to date."""
        counts = self._service.ledger.counts()
        metrics = self._service.metrics
        for level, n in counts.alarms_open_by_level.items():
            metrics.open_alarms.labels(level.colour).set(n)
        ended = {"closed", "rejected", "cancelled"}
        metrics.open_orders.set(sum(n for state, n in counts.orders_by_state.items() if state.value not in ended))
        metrics.outbox_waiting.set(counts.outbox_by_state.get("pending", 0) + counts.outbox_by_state.get("leased", 0))
        metrics.is_connected.set(self._service.source.is_connected)
        metrics.journal_bytes.set(self._service.journal.usage().bytes)
        metrics.set_channels(self.channels())
        metrics.sink_lag_ticks.labels(self._service.sink.name).set(
            self._service.journal.last_tick - self._service.sink.tick
        )
        return metrics.text()
