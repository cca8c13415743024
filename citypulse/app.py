"""The composition root: opens the parts of one city, gives each its thread, and takes them down in order.

Threads: the broker's (ingest.mqtt), the heart's (City.tick and nothing else), one per reading store, one for
deliveries, one that writes snapshots, and housekeeping. The heart never waits for any of the others.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self
from zoneinfo import ZoneInfo

import structlog

from alerts.delivery.letters import Writer
from alerts.delivery.links import Signer
from alerts.delivery.outbox import Deliverer
from alerts.people.workdays import expiry
from citypulse.city import City, Source
from citypulse.clock import Clock, monotonic_s, utc
from citypulse.config import load_city
from citypulse.contacts import erasure
from citypulse.evidence.photos import EvidenceStore
from citypulse.journal import Journal, UsageState
from citypulse.ledger import Ledger
from citypulse.ledger.anchors import append as append_anchor
from citypulse.ledger.users import Users
from citypulse.mailbox import Mailbox
from citypulse.metrics import Metrics
from citypulse.model import CityConfig, SensorTable
from citypulse.night_proof import NightlyProof
from citypulse.reading_room import ReadingRoom
from citypulse.reloading import Outcome, Reloader, past_config, texts_of
from citypulse.store import ReadingStore, open_late
from citypulse.store.sink import Sink
from citypulse.turn import Regime, Turn
from citypulse.vocabulary import extensions, laid_out_once
from citypulse.watchdog import LOOK_S, Watchdog
from citypulse.window import Window
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource

if TYPE_CHECKING:
    from apscheduler.schedulers.background import BackgroundScheduler

HEARTBEAT_S = 1.0  # city time: timers are looked at this often when nothing arrives
SETTLE_S = 1.0  # what can wait begins so long after a start: the broker is heard and the console answers by then
SWITCH_S = 0.001
GROUP_S = 0.010  # real time between the starts of two ticks: what arrives meanwhile shares one fsync
RETENTION_DAYS = 400  # one flood season and the one before
ANSWERS_KEPT_S = 7 * 86_400
NOTICES_KEPT_S = RETENTION_DAYS * 86_400
ANCHORS_FILE = "anchors.jsonl"  # in the data folder, one line a day
WATCH_S = 2.0  # between two looks at the configuration's files
PROVE_LOOK_S = 60.0  # between two looks whether the nightly proof is due
STOP_WAIT_S = 2.5  # a clean stop takes less than three seconds in all
log = structlog.get_logger()


def assemble(
    config: CityConfig, table: SensorTable, ledger: Ledger, journal: Journal, *, source: Source, **parts: Any
) -> City:
    """Put a city together over an open ledger; the other parts are City's own arguments."""
    return City(
        ledger=ledger,
        journal=journal,
        regime=Regime.of(config, table),
        source=source,
        past=lambda fingerprint: past_config(ledger, fingerprint, extensions()),
        **parts,
    )


class Service:
    """A running city, with everything around the heart. What the console sees of it is its `window`."""

    def __init__(
        self,
        *,
        config: CityConfig,
        data_dir: Path,
        clock: Clock,
        broker_url: str = "",
        client_id: str = "",
        store: str = "duckdb",
        config_path: Path | None = None,
        watches: bool = False,
    ) -> None:
        """Open the ledger and recover; nothing runs until the service is entered.

        With `config_path` the configuration can be read again while running; `watches` does so when a file changes.
        """
        self.config = config
        self.clock = clock
        self.data_dir = data_dir
        self.metrics = Metrics()
        self.users = Users.at(data_dir)
        self._stop = threading.Event()
        self.ledger = Ledger.open(data_dir)
        self.journal = Journal(self.ledger)
        self.room = ReadingRoom(self.ledger, lambda: self.city.config.alarms)
        self.table = SensorTable.build(self.ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
        self.inbox = Inbox()
        self.mailbox = Mailbox(self.inbox.ready.set)
        self.source = MqttSource(
            broker_url or config.broker_url,
            self.inbox,
            clock,
            client_id=client_id or f"citypulse-{self.ledger.journal_id[:12]}",
        )
        self._snapshots = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._last_snapshot: Future[int] | None = None
        self.city = assemble(
            config,
            self.table,
            self.ledger,
            self.journal,
            inbox=self.inbox,
            mailbox=self.mailbox,
            source=self.source,
            metrics=self.metrics,
            save_snapshot=self._save_snapshot,
            wait=self._stop.wait,
        )
        now_ms = clock.now_ms()
        self.city.recover(now_ms)
        self.ledger.record_config(config.fingerprint, texts_of(config), now_ms=now_ms)
        self.store: ReadingStore = open_late(store, data_dir)
        self.sink = Sink(self.store, self.journal, name=store, sensor_ids=lambda: self.table.ids, clock=clock)
        self.signer = Signer.at(data_dir, config.public_url)
        self.pictures = EvidenceStore(data_dir)
        self.deliverer = Deliverer.of(config, self.ledger.outbox, clock, data_dir, self._writer(self.signer))
        self._delivery = (self.deliverer, threading.Event())  # with what ends it
        self.reloader = None
        if config_path is not None:
            self.reloader = Reloader(config_path, extensions(), in_force=lambda: self.city.config, adopt=self._adopt)
        self.window = Window(self, extensions())
        self.night_proof = NightlyProof(
            lambda: self.city.config, lambda days: self.window.rota_coverage(days=days), self.mailbox.submit
        )
        self.watchdog = Watchdog(lambda: self.config, self.window.health)
        self._watches = watches
        self.beat_at_s = monotonic_s()
        self.trouble = ""
        self._threads: list[threading.Thread] = []
        self._housekeeping: BackgroundScheduler | None = None

    @classmethod
    def open(
        cls,
        *,
        config_path: Path,
        data_dir: Path,
        broker_url: str | None,
        clock: Clock,
        store: str = "duckdb",
        watches: bool = True,
    ) -> Service:
        """Open a service from a configuration file. Raises ConfigError, LedgerError, CityError."""
        with laid_out_once(config_path) as known:
            return cls(
                config=load_city(config_path, known),
                data_dir=data_dir,
                clock=clock,
                broker_url=broker_url or "",
                store=store,
                config_path=config_path,
                watches=watches,
            )

    # ── life ────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        # The heart shares the interpreter with four other threads; at Python's own 5 ms it would often wait that long
        # for its turn (publish → alarm p99: 140 ms at 5 ms, 48 ms at 1 ms; tests/bench/bench_system.py).
        sys.setswitchinterval(SWITCH_S)
        self._thread("heart", self._beat)
        self._thread("sink", self._follow)
        self._thread("outbox", self._deliver)
        self.source.start()
        self._thread("house", self._keep_house)
        log.info("city.started", sensors=len(self.config.sensors), rules=len(self.config.rules))
        return self

    def __exit__(self, *_: object) -> None:
        began_s = monotonic_s()
        self.watchdog.stopping()
        self._stop.set()
        self._delivery[1].set()
        self.inbox.ready.set()
        self.source.stop(timeout_s=1.0)
        for thread in self._threads:
            thread.join(max(0.1, STOP_WAIT_S - (monotonic_s() - began_s)))
        if self._housekeeping is not None:
            self._housekeeping.shutdown(wait=False)
        if not self.trouble:
            self.city.snapshot()
        self._snapshots.shutdown(wait=True)
        self.store.close()
        self.ledger.close()
        log.info("city.stopped", took_s=round(monotonic_s() - began_s, 3))

    def _thread(self, name: str, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._guarded(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, name: str, work: Callable[[], object]) -> Callable[[], None]:
        """A thread that dies takes the service down loudly: a supervisor restarts it, and a restart loses nothing."""

        def run() -> None:
            try:
                work()
            except Exception as error:
                self.trouble = f"thread {name} died: {type(error).__name__}: {error}"
                log.exception("city.thread_died", thread=name)
                self._stop.set()
                self.inbox.ready.set()

        return run

    def _beat(self) -> None:
        """The heart's own loop: a tick when input waits, at most every GROUP_S, at least every HEARTBEAT_S."""
        while not self._stop.is_set():
            self.clock.wait(self.inbox.ready, HEARTBEAT_S)
            began_s = monotonic_s()
            if not self.inbox.depth:
                self.inbox.ready.clear()
            self.city.tick(self.clock.now_ms())
            self.beat_at_s = monotonic_s()
            if self.inbox.depth < GROUP_MESSAGES:
                self._stop.wait(max(0.0, GROUP_S - (self.beat_at_s - began_s)))

    def _follow(self) -> None:
        """Carry the journal into the store; its imports hold the interpreter, so the first alarms go before it."""
        self._stop.wait(SETTLE_S)
        self.sink.run(self._stop)

    def _writer(self, signer: Signer) -> Writer:
        return Writer(signer, self.ledger.reply_codes)

    def _deliver(self) -> None:
        """Deliver until the service stops; a changed configuration brings its own deliverer."""
        while not self._stop.is_set():
            deliverer, end = self._delivery
            deliverer.run(end)

    def _save_snapshot(self, tick: int, now_ms: int, parts: dict[str, Any]) -> None:
        """Hand a snapshot to its own thread; while the last one is still being written this one is left out."""
        if self._last_snapshot is None or self._last_snapshot.done():
            self._last_snapshot = self._snapshots.submit(self.journal.save_snapshot, tick, now_ms, parts)

    def _keep_house(self) -> None:
        """Begin what is done by the hour or the day; on a thread of its own, so that no alarm waits for its imports."""
        if self._stop.wait(SETTLE_S):
            return
        from apscheduler.schedulers.background import BackgroundScheduler  # noqa: PLC0415

        jobs = BackgroundScheduler(job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1})

        def every(seconds: float, work: Callable[[], object]) -> None:
            jobs.add_job(work, "interval", seconds=seconds)

        every(5, self._prune)
        every(20, self.ledger.checkpoint)
        every(3600, self._forget)
        every(86_400, self._anchor)
        every(86_400, self._warn_of_calendar)
        every(PROVE_LOOK_S, lambda: self.night_proof.look(self.clock.now_ms()))
        every(LOOK_S, lambda: self.watchdog.look(monotonic_s()))
        if self.reloader is not None and self._watches:
            every(WATCH_S, self._look)
        jobs.start()
        self.watchdog.look(monotonic_s())
        self._warn_of_calendar()
        self._housekeeping = jobs

    def _warn_of_calendar(self) -> None:
        """Say at the start, and every day after, that the workday calendar is about to end."""
        today = utc(self.clock.now_ms()).astimezone(ZoneInfo(self.config.timezone)).date()
        ends = expiry(today, self.config.calendar_warn_days)
        if ends is not None:
            log.warning("calendar.ends", on=ends[0].isoformat(), zh=ends[1].zh, en=ends[1].en)

    def _anchor(self) -> None:
        """Write down where the record stands; a copy of this file elsewhere proves that nothing was rewritten."""
        append_anchor(self.data_dir / ANCHORS_FILE, self.ledger.anchor(self.clock.now_ms()))

    def _prune(self) -> None:
        while self.journal.prune().is_more and not self._stop.is_set():
            continue
        # Over budget nothing more is taken in; people's commands still are. Gateways keep what we do not take.
        self.city.is_taking = self.journal.usage().state is not UsageState.OVER

    def _forget(self) -> None:
        now_ms = self.clock.now_ms()
        self.ledger.prune_answers(before_ms=now_ms - ANSWERS_KEPT_S * 1000)
        self.ledger.outbox.prune(before_ms=now_ms - NOTICES_KEPT_S * 1000)
        self.ledger.reply_codes.prune(before_ms=now_ms - NOTICES_KEPT_S * 1000)
        self.store.retain(now_ms - int(timedelta(days=RETENTION_DAYS).total_seconds() * 1000))
        kept_s = self.config.contacts_kept_s
        for number in self.ledger.contacts_due(now_ms=now_ms, kept_s=kept_s):
            self.mailbox.submit(erasure(number, now_ms=now_ms, kept_s=kept_s))

    # ── a changed configuration ─────────────────────────────────────────────────────────────────

    def reload(self, asked_by: str) -> Outcome | None:
        """Read the configuration again now; None when this service has no file. Waits until it is committed."""
        if self.reloader is None:
            return None
        outcome = self.reloader.reload(asked_by)
        self.metrics.config_reloads.labels(outcome.kind).inc()
        return outcome

    def reload_soon(self, asked_by: str) -> None:
        """Read the configuration again on a thread of its own."""
        threading.Thread(target=self.reload, args=[asked_by], name="reload", daemon=True).start()

    def _look(self) -> None:
        outcome = self.reloader.look() if self.reloader is not None else None
        if outcome is not None:
            self.metrics.config_reloads.labels(outcome.kind).inc()

    def _adopt(self, config: CityConfig) -> Future[Turn]:
        """Make everything a configuration needs, and offer it to the heart; the rest changes over after its commit."""
        signer = Signer.at(self.data_dir, config.public_url)
        deliverer = Deliverer.of(config, self.ledger.outbox, self.clock, self.data_dir, self._writer(signer))
        table = SensorTable.build(self.ledger.sensor_ids([s.id for s in config.sensors]), config.sensors)
        regime = Regime.of(config, table)
        self.ledger.record_config(config.fingerprint, texts_of(config), now_ms=self.clock.now_ms())
        self.table = table  # before the commit: sinks must know the names of what it may contain
        if config.broker_url != self.config.broker_url:
            log.warning("config.needs_restart", what="broker.url", now=self.config.broker_url, wanted=config.broker_url)

        def change_over(future: Future[Turn]) -> None:
            if not future.cancelled() and future.exception() is None:
                ended = self._delivery[1]
                self.config, self.deliverer, self.signer = config, deliverer, signer
                self._delivery = (deliverer, threading.Event())
                ended.set()

        future = self.city.offer(regime)
        future.add_done_callback(change_over)
        self.inbox.ready.set()
        return future

    @property
    def stopping(self) -> threading.Event:
        """Set when the service should end: asked to, or because a thread has died."""
        return self._stop


GROUP_MESSAGES = 2_000  # more than this waiting: go on at once


def until_signalled(service: Service) -> None:
    """Wait for SIGTERM or SIGINT, or for the service to fail; a second signal ends the process at once.

    SIGHUP reads the configuration again.
    """
    asked = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        service.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, lambda _number, _frame: asked.set())  # a handler must not wait for any lock
    while not service.stopping.wait(0.5):
        if asked.is_set():
            asked.clear()
            service.reload_soon("SIGHUP")
