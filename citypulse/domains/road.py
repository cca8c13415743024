"""Road cavity (道路空洞): what can be watched between two radar surveys of the ground, and manhole covers."""

from __future__ import annotations

from .domain import Domain, SiteKind, quantities, text

_GAUGE = "continuous proxies of a cavity: settlement, tilt, moisture, vibration, leak noise; PROPOSAL"
_COVER = (
    "manhole terminals: 10° settable tilt alarm, heartbeat and event in vendors' data; hourly heartbeat is a PROPOSAL"
)


ROAD = Domain(
    id="road",
    name=text("道路空洞", "Road cavity"),
    quantities=quantities(
        "road",
        # Sinking counts upwards: settlement 30 mm is a road that lies 30 mm lower than when the gauge was set.
        ("settlement", "沉降", "Settlement", "mm", -50, 500, 3_600, 1, _GAUGE),
        ("moisture", "土壤含水率", "Soil moisture", "%", 0, 100, 3_600, 1, _GAUGE),
        ("vibration", "振动", "Vibration (RMS)", "g", 0, 2, 600, 1, _GAUGE),
        ("leak", "管道漏水噪声", "Pipe leak noise", "dB", 0, 120, 3_600, 1, _GAUGE),
        ("tilt", "井盖倾角", "Cover tilt", "°", 0, 180, 3_600, 1, _COVER),
        ("battery", "电池电量", "Battery", "%", 0, 100, 3_600, -1, _COVER),
    ),
    site_kinds=(
        SiteKind(id="road-segment", name=text("道路断面", "Road segment")),
        SiteKind(id="box-culvert", name=text("箱涵顶路面", "Road over a culvert")),
        SiteKind(id="manhole", name=text("检查井", "Manhole")),
    ),
)
