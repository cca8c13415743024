"""The small district of these tests: Mill river with three sections, four wells, two underpasses and a road."""

from __future__ import annotations

from citypulse.domains import QUANTITIES
from citypulse.model import CityConfig, Gateway, Origin, Sensor, Site, Text

NOON_MS = 1_763_776_800_000  # 2025-11-22 02:00 UTC, ten in the morning in Hangzhou
SEED = 7

_CARRIES = {
    "river": ("do", "ph", "cond", "turb", "temp", "nh3n", "codmn", "tp", "orp", "level"),
    "gas-well": ("ch4", "o2"),
    "underpass": ("depth",),
    "road": ("depth",),
    "rain-gauge": ("rain",),
    "sewer": ("fill", "headroom", "flow"),
    "road-segment": ("settlement", "moisture", "vibration", "leak"),
    "manhole": ("tilt", "battery"),
    "supply": ("chlorine",),
}
_DOMAIN = {"river": "water", "supply": "water", "gas-well": "gas", "road-segment": "road", "manhole": "road"}


def site(name: str, kind: str, gateway: str, lat: float, lon: float, upstream: tuple[str, ...] = ()) -> Site:
    return Site(
        id=name,
        name=Text(zh=name, en=name),
        domain=_DOMAIN.get(kind, "flood"),
        kind=kind,
        area="mill",
        lat=lat,
        lon=lon,
        gateway=gateway,
        upstream=upstream,
    )


SITES = {
    s.id: s
    for s in (
        site("mill-1", "river", "gw-1", 30.270, 120.130),
        site("mill-2", "river", "gw-1", 30.272, 120.135, ("mill-1",)),
        site("mill-3", "river", "gw-1", 30.274, 120.140, ("mill-2",)),
        site("w-1", "gas-well", "gw-2", 30.2600, 120.1300),
        site("w-2", "gas-well", "gw-2", 30.2603, 120.1300),  # 33 m
        site("w-3", "gas-well", "gw-2", 30.2610, 120.1300),  # 111 m
        site("w-4", "gas-well", "gw-2", 30.2800, 120.1300),  # 2.2 km
        site("pass-1", "underpass", "gw-3", 30.2500, 120.1200),
        site("pass-2", "underpass", "gw-3", 30.2900, 120.1500),
        site("low-road", "road", "gw-3", 30.2600, 120.1400),
        site("rain", "rain-gauge", "gw-3", 30.2650, 120.1350),
        site("sewer", "sewer", "gw-3", 30.2650, 120.1350),
        site("segment", "road-segment", "gw-3", 30.2650, 120.1300),
        site("cover", "manhole", "gw-3", 30.2650, 120.1310),
        site("pump-room", "supply", "gw-1", 30.2650, 120.1320),
    )
}


def sensor(name: str, quantity: str, *, scale: float = 1.0, offset: float = 0.0) -> Sensor:
    at, kind = SITES[name], QUANTITIES[quantity]
    return Sensor(
        id=f"{name}.{quantity}",
        site=name,
        gateway=at.gateway,
        quantity=quantity,
        domain=at.domain,
        site_kind=at.kind,
        area=at.area,
        unit=kind.unit,
        scale=scale,
        offset=offset,
        low=kind.low,
        high=kind.high,
        cadence_s=kind.cadence_s,
        direction=kind.direction,
        origin=Origin(file="cast", line=1),
    )


SENSORS = tuple(
    # The second section reports its oxygen in tenths, with an offset: raw is not canonical there.
    sensor(s.id, q, scale=0.1 if (s.id, q) == ("mill-2", "do") else 1.0, offset=0.5 if s.id == "mill-2" else 0.0)
    for s in SITES.values()
    for q in _CARRIES[s.kind]
)

CITY = CityConfig(
    name=Text(zh="磨坊区", en="Mill district"),
    timezone="Asia/Shanghai",
    broker_url="mqtt://127.0.0.1:1",
    sites=SITES,
    gateways={g: Gateway(id=g, codec="native", silent_after_s=600) for g in ("gw-1", "gw-2", "gw-3")},
    quantities=dict(QUANTITIES),
    sensors=SENSORS,
    rules=(),
    teams={},
    routes=(),
    channels={},
    templates={},
    fingerprint="cast",
    files=(),
)


def index(sensor_id: str) -> int:
    return [s.id for s in SENSORS].index(sensor_id)
