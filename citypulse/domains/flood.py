"""Water-logging (内涝积水): ponding roads, underpasses, rain, canals and storm sewers."""

from __future__ import annotations

from .domain import Domain, SiteKind, quantities, text

_POND = "ponding points report every 5-10 min dry, 1-2 min wet; 2 min so that a rate can be judged"
_CANAL = "Singapore PUB reads canals every 10 min dry, every 2 min when raining"


FLOOD = Domain(
    id="flood",
    name=text("内涝积水", "Water-logging"),
    quantities=quantities(
        "flood",
        ("depth", "积水深度", "Water depth", "cm", -2, 200, 120, 1, _POND),
        ("rain", "雨强", "Rain intensity", "mm/h", 0, 300, 300, 1, "SL 651 carries 12 × 5-min rain per hour"),
        # Above 100 %: a canal over its bank, a sewer under pressure.
        ("fill", "充满度", "Fill ratio", "%", 0, 200, 120, 1, _CANAL),
        ("headroom", "距地面高度", "Headroom to ground", "m", -2, 10, 120, -1, "sewer red = ground level −0.5 m"),
        ("flow", "管道流量", "Pipe flow", "m³/s", 0, 20, 300, 0, "usual ultrasonic meter span, PROPOSAL"),
    ),
    site_kinds=(
        SiteKind(id="road", name=text("易涝路段", "Ponding road")),
        SiteKind(id="underpass", name=text("下穿立交", "Underpass")),
        SiteKind(id="rain-gauge", name=text("雨量站", "Rain gauge")),
        SiteKind(id="canal", name=text("河渠", "Canal")),
        SiteKind(id="sewer", name=text("雨水管井", "Storm sewer")),
    ),
)
