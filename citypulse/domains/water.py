"""Water quality (水质): rivers, outfalls, lakes and secondary supply. GB 3838 and GB 5749 limits live in the pack."""

from __future__ import annotations

from .domain import Domain, SiteKind, quantities, text

_PROBE = "five-parameter probes are continuous, 1-5 min in practice; range: usual probe span, PROPOSAL"
_WET = "national auto stations run a 4 h cycle, 6 results a day; range: usual analyser span, PROPOSAL"


WATER = Domain(
    id="water",
    name=text("水质", "Water quality"),
    quantities=quantities(
        "water",
        ("do", "溶解氧", "Dissolved oxygen", "mg/L", 0, 20, 300, -1, _PROBE),
        ("ph", "酸碱度", "pH", "pH", 0, 14, 300, 0, _PROBE),
        ("cond", "电导率", "Conductivity", "µS/cm", 0, 20_000, 300, 0, _PROBE),
        ("turb", "浊度", "Turbidity", "NTU", 0, 1_000, 300, 1, _PROBE),
        ("temp", "水温", "Water temperature", "°C", -5, 45, 300, 0, _PROBE),
        ("orp", "氧化还原电位", "Redox potential", "mV", -1_000, 1_000, 300, -1, _PROBE),
        ("nh3n", "氨氮", "Ammonia nitrogen", "mg/L", 0, 100, 14_400, 1, _WET),
        ("codmn", "高锰酸盐指数", "Permanganate index", "mg/L", 0, 50, 14_400, 1, _WET),
        ("tp", "总磷", "Total phosphorus", "mg/L", 0, 10, 14_400, 1, _WET),
        (
            "clarity",
            "透明度",
            "Transparency",
            "cm",
            0,
            300,
            3_600,
            -1,
            "index of the black-odorous water guide (2015); range PROPOSAL",
        ),
        ("chlorine", "余氯", "Free chlorine", "mg/L", 0, 5, 300, -1, "GB 5749-2022 outlet ≤2 mg/L; range PROPOSAL"),
        ("level", "河道水位", "River level", "m", -2, 15, 300, 1, "level above the local 1985 datum; range PROPOSAL"),
    ),
    site_kinds=(
        SiteKind(id="river", name=text("河道断面", "River section")),
        SiteKind(id="lake", name=text("湖泊", "Lake")),
        SiteKind(id="outfall", name=text("排口", "Outfall")),
        SiteKind(id="supply", name=text("二次供水泵房", "Secondary supply")),
    ),
)
