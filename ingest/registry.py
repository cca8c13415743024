"""Who may say what: topics to gateways, sensor ids to indices, and the sensors' settings as arrays by index.

Promise: a gateway's readings are taken only for its own sensors, whatever the broker let it publish.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from citypulse.errors import PayloadError
from citypulse.model import CityConfig, SensorTable

TOPIC = re.compile(r"city/v1/([a-z0-9_-]{1,64})/(readings|state|reading|replay)")
UNKNOWN, FOREIGN, RETIRED = -1, -2, -3
REFUSALS = {UNKNOWN: "unknown_sensor", FOREIGN: "foreign_sensor", RETIRED: "retired_sensor"}
# Gateways repeat the same list of sensors message after message: a look-up of its bytes replaces one of every id.
COLUMNS_PER_GATEWAY = 64
COLUMNS_MAX_BYTES = 32 << 20

_names = msgspec.json.Decoder(list[str]).decode


class Resolved(msgspec.Struct, frozen=True):
    """A column of sensor ids as indices; refused ones are negative (UNKNOWN, FOREIGN, RETIRED)."""

    index: array[int]  # array('i')
    is_clean: bool


@dataclass(slots=True)
class _Own:
    """What one gateway may speak of."""

    index: dict[str, int]
    columns: dict[bytes, Resolved]
    singles: dict[str, Resolved]  # columns of one, of its own sensors only: bounded by their number


class Registry:
    """The configured city as ingest needs it; immutable but for its cache. A changed city is a new Registry.

    Arrays by sensor index, length of the table: scale, offset, low, high float64 (canonical unit; a retired
    sensor has no limits) · cadence_ms int64 · gateway int32, the position in `gateways`, -1 for retired ones.
    """

    def __init__(self, config: CityConfig, table: SensorTable) -> None:
        """Lay out `table` for the gateways of `config`."""
        n = len(table)
        self.config = config
        self.table = table
        self.gateways: tuple[str, ...] = tuple(config.gateways)
        number = {gateway: k for k, gateway in enumerate(self.gateways)}
        self.scale: NDArray[np.float64] = np.ones(n)
        self.offset: NDArray[np.float64] = np.zeros(n)
        self.low: NDArray[np.float64] = np.full(n, -np.inf)
        self.high: NDArray[np.float64] = np.full(n, np.inf)
        self.cadence_ms: NDArray[np.int64] = np.zeros(n, np.int64)
        self.gateway: NDArray[np.int32] = np.full(n, -1, np.int32)
        self._own = {gateway: _Own({}, {}, {}) for gateway in self.gateways}
        self._column_bytes = 0
        for k, sensor in enumerate(table.sensors):
            if sensor is None:
                continue
            self.scale[k], self.offset[k] = sensor.scale, sensor.offset
            self.low[k], self.high[k] = sensor.low, sensor.high
            self.cadence_ms[k] = sensor.cadence_s * 1000
            self.gateway[k] = number.get(sensor.gateway, -1)
            if sensor.gateway in self._own:
                self._own[sensor.gateway].index[sensor.id] = k

    def parse_topic(self, topic: str) -> tuple[str, str]:
        """Return (gateway, kind); kind is readings, state, or reading and replay, which only we ourselves write.

        Raises PayloadError bad_topic or unknown_gateway.
        """
        found = TOPIC.fullmatch(topic)
        if found is None:
            raise PayloadError("bad_topic", f"{topic!r:.200} is not city/v1/<gateway>/readings or state")
        gateway, kind = found.groups()
        if gateway not in self._own:
            raise PayloadError("unknown_gateway", f'gateway "{gateway}" is not configured')
        return gateway, kind

    def resolve(self, gateway: str, sensor: str) -> int:
        """Return the index of one of the gateway's own sensors, else raise PayloadError with the reason."""
        code = self._code(gateway, sensor)
        if code < 0:
            raise PayloadError(REFUSALS[code], self.explain(gateway, sensor))
        return code

    def resolve_all(self, gateway: str, sensors: Sequence[str]) -> Resolved:
        """Return the indices of a column of ids."""
        own = self._own[gateway]
        if len(sensors) == 1:
            found = own.singles.get(sensors[0])
            if found is not None:
                return found
        try:
            found = Resolved(array("i", [own.index[s] for s in sensors]), True)
        except KeyError:
            return Resolved(array("i", [self._code(gateway, s) for s in sensors]), False)
        if len(sensors) == 1:
            own.singles[sensors[0]] = found
        return found

    def resolve_raw(self, gateway: str, column: bytes) -> Resolved:
        """Return the indices of a column of ids given as a JSON array. PayloadError when it is no array of texts."""
        known = self._own[gateway].columns
        found = known.get(column)
        if found is not None:
            return found
        found = self.resolve_all(gateway, read_names(column))
        if self._column_bytes + len(column) > COLUMNS_MAX_BYTES:
            self.forget_columns()
        elif len(known) >= COLUMNS_PER_GATEWAY:
            oldest = next(iter(known))
            del known[oldest]
            self._column_bytes -= len(oldest)
        known[column] = found
        self._column_bytes += len(column)
        return found

    def forget_columns(self) -> None:
        """Empty the cache of columns."""
        for own in self._own.values():
            own.columns.clear()
        self._column_bytes = 0

    @property
    def column_bytes(self) -> int:
        """Bytes of sensor columns held in the cache, at most COLUMNS_MAX_BYTES and one message."""
        return self._column_bytes

    def explain(self, gateway: str, sensor: str) -> str:
        """Say why a gateway's sensor is refused."""
        code = self._code(gateway, sensor)
        if code == FOREIGN:
            owner = self.gateways[self.gateway[self.table.index[sensor]]]
            return f'sensor "{sensor}" belongs to gateway "{owner}", not "{gateway}"'
        if code == RETIRED:
            return f'sensor "{sensor}" was configured once and is not any more'
        return f'sensor "{sensor[:100]}" is not configured'

    def _code(self, gateway: str, sensor: str) -> int:
        code = self._own[gateway].index.get(sensor)
        if code is not None:
            return code
        known = self.table.index.get(sensor)
        if known is None:
            return UNKNOWN
        return FOREIGN if self.gateway[known] >= 0 else RETIRED


def read_names(column: bytes) -> list[str]:
    """Read a JSON array of sensor ids. Raises PayloadError when it is something else."""
    try:
        return _names(column)
    except UnicodeDecodeError as error:
        raise PayloadError("bad_encoding", f"not UTF-8 at byte {error.start} of the sensors") from error
    except msgspec.ValidationError as error:
        raise PayloadError("message_shape", f'"sensor" is not an array of texts: {error}') from error
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PayloadError("json_syntax", f"the sensors cannot be read: {error}") from error
