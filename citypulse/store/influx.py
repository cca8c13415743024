"""InfluxDB 2, and servers that take its writes (VictoriaMetrics). The only file that imports influxdb_client.

Line protocol is built here, as columns: the client's Point objects cost fifteen times as much (performance.md D).
Writes are synchronous; the client's background batching loses up to 85 % of its buffer: never used. The server cannot
keep our cursor, so the sink does, softly: after an outage it writes the last `durability_lag_s` again, which changes
nothing because a point is its (sensor, time). Unlike the embedded store, the last copy of a (sensor, time) stays.
"""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import urllib3
from influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService

from citypulse.errors import StoreError
from citypulse.model import ReadingBatch

from . import QUERY_MAX, Cursor, Promises, Readings, StoreSpec
from .columns import sort_out

MEASUREMENT, QUARANTINE = "reading", "quarantined"
LINES_MAX = 20_000  # per request: about 1.5 MB before gzip
GZIP_LEVEL = 1  # the client's own level 9 costs 3.5 us a line, this 0.5, for 12.5 instead of 11.1 bytes a line
TIMEOUT_MS = 10_000
# VictoriaMetrics loses what it acknowledged in the last 8-10 s when killed (ingestion.md 4.4); 30 s is safe.
DURABILITY_LAG_S = 30.0
SCAN_SPAN_MS = 3_600_000  # an export reads an hour at a time
_STARTED = re.compile(rb"^(?:process_start_time_seconds|vm_app_start_timestamp)(?:{[^}]*})? (\S+)", re.MULTILINE)
_TRANSIENT = frozenset({408, 425, 429})  # and every 5xx
_ESCAPES = str.maketrans({",": r"\,", "=": r"\=", " ": r"\ ", "\n": "", "\r": ""})


class InfluxStore:
    """Readings as points: measurement `reading`, tag `sensor`, fields `value`, `quality`, `received_ms`."""

    def __init__(
        self,
        *,
        url: str,
        token: str,
        org: str,
        bucket: str,
        durability_lag_s: float = DURABILITY_LAG_S,
        can_read: bool = True,
    ) -> None:
        """Talk to the server at `url`. Nothing is sent before the first call."""
        self.promises = Promises(
            is_durable=True, keeps_cursor=False, durability_lag_s=durability_lag_s, can_read=can_read
        )
        self._url, self._org, self._bucket = url, org, bucket
        self._client = InfluxDBClient(url=url, token=token, org=org, timeout=TIMEOUT_MS)
        self._writes = WriteService(self._client.api_client)
        self._ids: list[str] = []
        self._prefix: dict[str, Any] = {}

    @classmethod
    def open(cls, spec: StoreSpec) -> InfluxStore:
        """Open `influx+http://host:8086?org=…&bucket=…`; further options durability_lag_s and can_read=no.

        The token comes from INFLUXDB_TOKEN, or from the file named by INFLUXDB_TOKEN_FILE; never from both.
        """
        if not spec.url or "bucket" not in spec.options:
            raise StoreError(
                "an influx store needs an address and a bucket: influx+http://host:8086?org=city&bucket=readings",
                permanent=True,
            )
        return cls(
            url=spec.url,
            token=_token(),
            org=spec.options.get("org", ""),
            bucket=spec.options["bucket"],
            durability_lag_s=float(spec.options.get("durability_lag_s", DURABILITY_LAG_S)),
            can_read=spec.options.get("can_read", "yes") != "no",
        )

    def learn(self, ids: Sequence[str]) -> None:
        """Take the names of the sensors; the server knows them by their tag only."""
        self._ids = list(ids)
        tags = [name.translate(_ESCAPES) for name in ids]
        self._prefix = {
            m: pa.array([f"{m},sensor={tag} " for tag in tags], pa.string()) for m in (MEASUREMENT, QUARANTINE)
        }

    def names(self) -> tuple[str, ...]:
        """Return the names by index, as last learnt in this process."""
        return tuple(self._ids)

    def cursor(self, journal: str) -> int:  # noqa: ARG002 - the server cannot keep it
        """Return 0: the sink keeps this store's cursor."""
        return 0

    def write(
        self,
        batch: ReadingBatch,
        *,
        amendments: ReadingBatch | None = None,
        upto: Cursor | None = None,  # noqa: ARG002 - kept by the sink
    ) -> int:
        """Write readings as points; return how many were sent. Some may be there already: they change nothing."""
        ready = sort_out(batch)
        self._send(self._lines(ready.believed, MEASUREMENT))
        self._send(self._lines(ready.quarantined, QUARANTINE))
        if amendments is not None and len(amendments):
            self._send(self._quality_lines(amendments))
        return len(ready.believed)

    def amend(self, sensor: int, time_ms: int, quality: int) -> bool:
        """Write the quality field of one point again. The server does not say whether there was one: always True."""
        self._send(self._quality_lines(ReadingBatch.of([sensor], [time_ms], [np.nan], quality=[quality])))
        return True

    # ── line protocol ───────────────────────────────────────────────────────────────────────────

    def _tags(self, batch: ReadingBatch, measurement: str) -> pa.Array:
        if len(batch) and int(batch.sensor.max()) >= len(self._ids):
            raise StoreError(
                f"sensor index {int(batch.sensor.max())} has no name here: call learn() first", permanent=True
            )
        return self._prefix[measurement].take(pa.array(batch.sensor))

    def _lines(self, batch: ReadingBatch, measurement: str) -> pa.Array:
        if not len(batch):
            return pa.array([], pa.string())
        # NaN and infinities have no form here: such a point has its quality and no value.
        has_value = np.isfinite(batch.value)
        value = pc.binary_join_element_wise("value=", pa.array(batch.value).cast(pa.string()), ",", "")
        value = pc.if_else(pa.array(has_value), value, "")
        return pc.binary_join_element_wise(
            self._tags(batch, measurement),
            value,
            "quality=",
            _text(batch.quality),
            "i,received_ms=",
            _text(batch.received_ms),
            "i ",
            _text(batch.time_ms),
            "",
        )

    def _quality_lines(self, amendments: ReadingBatch) -> pa.Array:
        return pc.binary_join_element_wise(
            self._tags(amendments, MEASUREMENT),
            "quality=",
            _text(amendments.quality),
            "i ",
            _text(amendments.time_ms),
            "",
        )

    def _send(self, lines: pa.Array) -> None:
        for start in range(0, len(lines), LINES_MAX):
            some = lines.slice(start, LINES_MAX)
            body = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(some)], pa.int32()), some), "\n")[0].as_py()
            with _Mapped(self._url):
                self._writes.post_write(
                    org=self._org,
                    bucket=self._bucket,
                    body=gzip.compress(body.encode(), GZIP_LEVEL),
                    precision="ms",
                    content_encoding="gzip",
                )

    # ── reading ─────────────────────────────────────────────────────────────────────────────────

    def _ask(self, flux: str) -> list[dict[str, Any]]:
        if not self.promises.can_read:
            raise StoreError(f"{self._url}: this server takes writes only; read with its own tools", permanent=True)
        with _Mapped(self._url):
            tables = self._client.query_api().query(flux, org=self._org)
            return [record.values for table in tables for record in table.records]

    def _from(self, since_ms: int, until_ms: int, sensors: Sequence[int] | None) -> str:
        flux = (
            f"from(bucket: {_quoted(self._bucket)}) |> range(start: {_instant(since_ms)}, stop: {_instant(until_ms)})"
            f' |> filter(fn: (r) => r._measurement == "{MEASUREMENT}")'
        )
        if sensors is not None:
            names = ", ".join(_quoted(self._ids[i]) for i in sensors)
            flux += f" |> filter(fn: (r) => contains(value: r.sensor, set: [{names}]))"
        return flux

    _PIVOT = ' |> pivot(rowKey: ["_time", "sensor"], columnKey: ["_field"], valueColumn: "_value")'

    def _readings(self, rows: list[dict[str, Any]]) -> Readings:
        index = {name: i for i, name in enumerate(self._ids)}
        rows = [r for r in rows if r["sensor"] in index and r.get("quality") is not None]
        values = [r.get("value") for r in rows]
        return Readings(
            sensor=np.array([index[r["sensor"]] for r in rows], np.int32),
            time_ms=np.array([round(r["_time"].timestamp() * 1000) for r in rows], np.int64),
            value=np.array([np.nan if v is None else v for v in values], np.float64),
            quality=np.array([r["quality"] for r in rows], np.uint8),
            received_ms=np.array([r.get("received_ms") or 0 for r in rows], np.int64),
        )

    def query(self, sensor: int, since_ms: int, until_ms: int, limit: int = QUERY_MAX) -> Readings:
        """Return readings of one sensor in order of time; the newest `limit` of those with since <= time < until."""
        if until_ms <= since_ms:
            return Readings.empty()
        flux = self._from(since_ms, until_ms, [sensor]) + self._PIVOT
        return self._readings(self._ask(f'{flux} |> group() |> sort(columns: ["_time"]) |> tail(n: {limit})'))

    def latest(self, sensors: Sequence[int] | None = None) -> Readings:
        """Return the newest reading of each sensor, in order of sensor index."""
        if sensors is not None and not len(sensors):
            return Readings.empty()
        flux = self._from(0, _FAR_MS, sensors)
        found = self._readings(self._ask(f"{flux} |> last() {self._PIVOT} |> group()"))
        order = np.lexsort((found.time_ms, found.sensor))
        is_last = np.append(np.diff(found.sensor[order]) != 0, True)[: len(order)]
        return _taken(found, order[is_last])

    def scan(self, sensors: Sequence[int] | None, since_ms: int, until_ms: int) -> Iterator[Readings]:
        """Yield readings with since <= time < until in order of (time, sensor), an hour at a time."""
        if until_ms <= since_ms or (sensors is not None and not len(sensors)):
            return
        edges = self._ask(
            f'{self._from(since_ms, until_ms, sensors)} |> filter(fn: (r) => r._field == "quality")'
            " |> group() |> reduce(identity: {low: 9223372036854775807, high: 0}, fn: (r, accumulator) => ({"
            "low: if int(v: r._time) < accumulator.low then int(v: r._time) else accumulator.low, "
            "high: if int(v: r._time) > accumulator.high then int(v: r._time) else accumulator.high}))"
        )
        if not edges:
            return
        first, last = edges[0]["low"] // 1_000_000, edges[0]["high"] // 1_000_000
        for start in range(first, last + 1, SCAN_SPAN_MS):
            stop = min(start + SCAN_SPAN_MS, last + 1)
            found = self._readings(self._ask(f"{self._from(start, stop, sensors)}{self._PIVOT} |> group()"))
            if len(found):
                yield _taken(found, np.lexsort((found.sensor, found.time_ms)))

    def count(self, *, quarantined: bool = False) -> int:
        """Return how many readings are stored (or kept apart)."""
        flux = self._from(0, _FAR_MS, None)
        if quarantined:
            flux = flux.replace(f'"{MEASUREMENT}"', f'"{QUARANTINE}"')
        rows = self._ask(f'{flux} |> filter(fn: (r) => r._field == "quality") |> count() |> group() |> sum()')
        return int(rows[0]["_value"]) if rows else 0

    def retain(self, before_ms: int) -> int:
        """Delete readings with time < before_ms; return how many. A retention period on the bucket is cheaper."""
        before = self.count()
        with _Mapped(self._url):
            self._client.delete_api().delete(_utc(0), _utc(before_ms - 1), "", bucket=self._bucket, org=self._org)
        return before - self.count()

    def incarnation(self) -> str:
        """Return when the server was started, from its own metrics; "" when it does not tell."""
        with _Mapped(self._url):
            answer = urllib3.request("GET", f"{self._url}/metrics", timeout=TIMEOUT_MS / 1000, retries=False)
        if answer.status != 200:
            return ""
        told = _STARTED.search(answer.data)
        return told[1].decode() if told else ""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


_FAR_MS = 4_102_444_800_000  # the year 2100


class _Mapped:
    """Turns the client's errors into StoreError, saying whether another try can help."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, problem: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if isinstance(problem, ApiException):
            status = problem.status or 0
            is_permanent = 400 <= status < 500 and status not in _TRANSIENT
            text = (problem.message or problem.reason or str(problem)).strip()
            raise StoreError(f"{self._url}: HTTP {status}: {text}", permanent=is_permanent) from problem
        if isinstance(problem, (urllib3.exceptions.HTTPError, OSError)):
            raise StoreError(f"{self._url}: cannot be reached ({problem})", permanent=False) from problem


def _token() -> str:
    direct, file = os.environ.get("INFLUXDB_TOKEN"), os.environ.get("INFLUXDB_TOKEN_FILE")
    if direct and file:
        raise StoreError("both INFLUXDB_TOKEN and INFLUXDB_TOKEN_FILE are set; keep one of the two", permanent=True)
    if not file:
        return direct or ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as problem:
        raise StoreError(f"INFLUXDB_TOKEN_FILE: {problem}", permanent=True) from problem


def _text(column: Any) -> pa.Array:
    return pa.array(column).cast(pa.string())


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


def _instant(ms: int) -> str:
    return f"time(v: {int(ms) * 1_000_000})"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _taken(found: Readings, index: Any) -> Readings:
    return Readings(
        sensor=found.sensor[index],
        time_ms=found.time_ms[index],
        value=found.value[index],
        quality=found.quality[index],
        received_ms=found.received_ms[index],
    )
