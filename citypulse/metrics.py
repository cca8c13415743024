"""What the city counts about itself, in the Prometheus format at /metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

TICK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)


class Metrics:
    """Every counter, by name; one registry of its own so that two cities in one process do not mix."""

    def __init__(self) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"citypulse_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"citypulse_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"citypulse_{name}", text, registry=self.registry, buckets=TICK_BUCKETS_S)

        self.messages = counter("messages", "Messages taken from the broker")
        self.readings = counter("readings", "Readings taken, by lane", "lane")
        self.duplicate_messages = counter("duplicate_messages", "Whole messages delivered again")
        self.dead_letters = counter("dead_letters", "Messages or readings that could not be taken", "reason")
        self.transitions = counter("transitions", "Changes the rules reported", "kind")
        self.commands = counter("commands", "Commands from people, by outcome", "outcome")
        self.ticks = counter("ticks", "Ticks committed")
        self.commit_retries = counter("commit_retries", "Commits that had to be tried again")
        self.config_reloads = counter("config_reloads", "Configurations read again while running", "outcome")
        self.limit_hits = counter("limit_hits", "Times a bound was reached", "bound")
        self.tick_seconds = histogram("tick_seconds", "From drain to acknowledgement")
        self.commit_seconds = histogram("commit_seconds", "Time in the ledger's transaction")
        self.inbox_depth = gauge("inbox_depth", "Messages waiting for the heart")
        self.open_alarms = gauge("open_alarms", "Alarms that still need eyes", "level")
        self.open_orders = gauge("open_orders", "Work orders that have not ended")
        self.sink_lag_ticks = gauge("sink_lag_ticks", "Ticks a reading store is behind", "store")
        self.outbox_waiting = gauge("outbox_waiting", "Notices not yet delivered")
        self.channel_waiting = gauge("channel_waiting", "Notices waiting for a channel", "channel")
        self.channel_is_failing = gauge("channel_failing", "1 from a failure to the next success", "channel")
        self.channel_notices = gauge(
            "channel_notices", "Notices since the start by what came of them", "channel", "outcome"
        )
        self.journal_bytes = gauge("journal_bytes", "Size of the ledger file with its journal")
        self.is_connected = gauge("broker_connected", "1 while the broker connection is up")

    def set_channels(self, channels: Iterable[Mapping[str, Any]]) -> None:
        """Bring the gauges of the channels up to date, from their views."""
        for view in channels:
            name = view["id"]
            self.channel_waiting.labels(name).set(view["waiting"])
            self.channel_is_failing.labels(name).set(view["is_failing"])
            for outcome in ("delivered", "failed", "retried", "skipped", "handed_on", "digests"):
                self.channel_notices.labels(name, outcome).set(view[outcome])

    def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self.registry)
