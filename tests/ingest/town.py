"""The small town the ingest tests talk about: Mill Bridge and the Harbour, two gateways, a dozen sensors."""

from __future__ import annotations

from citypulse.model import CityConfig, Gateway, Origin, RawMessage, Sensor, SensorTable, Text
from ingest.gateways import Gateways
from ingest.intake import Intake
from ingest.quality import Grader
from ingest.registry import Registry

T0 = 1_763_777_467_000  # 2025-11-22 02:11:07 UTC
HERE = Origin(file="town.yaml", line=1)
GATEWAYS = ("mill", "harbour")


def sensor(name: str, gateway: str, *, scale: float = 1.0, offset: float = 0.0, high: float = 100.0) -> Sensor:
    site, quantity = name.split(".")
    return Sensor(
        id=name, site=site, gateway=gateway, quantity=quantity, domain="water", site_kind="river", area="old-town",
        unit="m", scale=scale, offset=offset, low=0.0, high=high, cadence_s=60, origin=HERE,
    )  # fmt: skip


def make_config(sensors: tuple[Sensor, ...], gateways: tuple[str, ...] = GATEWAYS, codec: str = "native") -> CityConfig:
    return CityConfig(
        name=Text(zh="小镇", en="town"), timezone="Asia/Shanghai", broker_url="mqtt://127.0.0.1", sites={},
        gateways={g: Gateway(id=g, codec=codec, silent_after_s=300) for g in gateways}, quantities={},
        sensors=sensors, rules=(), teams={}, routes=(), channels={}, templates={}, fingerprint="", files=(),
    )  # fmt: skip


def make_town(n: int = 6) -> tuple[CityConfig, SensorTable]:
    """Mill Bridge has sensors m-0.level … at gateway mill, the Harbour h-0.level … at harbour; old.level is retired."""
    sensors = tuple(
        sensor(f"{letter}-{k}.level", gateway)
        for letter, gateway in (("m", "mill"), ("h", "harbour"))
        for k in range(n)
    )
    table = SensorTable.build((*(s.id for s in sensors), "old.level"), sensors)
    return make_config(sensors), table


def make_intake(n: int = 6, **settings) -> Intake:
    config, table = make_town(n)
    registry = Registry(config, table)
    return Intake(registry, Gateways(), Grader(registry), **settings)


def message(payload: bytes, gateway: str = "mill", received_ms: int = T0 + 500, kind: str = "readings") -> RawMessage:
    return RawMessage(topic=f"city/v1/{gateway}/{kind}", payload=payload, received_ms=received_ms)
