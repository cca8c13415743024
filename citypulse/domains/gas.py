"""Gas (燃气): spaces next to gas mains, valve wells, and homes of elderly people living alone."""

from __future__ import annotations

from .domain import Domain, SiteKind, quantities, text

_WELL = "gas wells report every 30 min, every minute on alarm in practice; mains-fed laser probe 5 min, PROPOSAL"
_METER = "wireless household meters of five digits before the point; a reading each 15 min is a PROPOSAL"


GAS = Domain(
    id="gas",
    name=text("燃气", "Gas"),
    quantities=quantities(
        "gas",
        ("ch4", "甲烷", "Methane", "%VOL", 0, 100, 300, 1, _WELL),
        ("co", "一氧化碳", "Carbon monoxide", "ppm", 0, 2_000, 300, 1, "usual electrochemical cell span, PROPOSAL"),
        ("h2s", "硫化氢", "Hydrogen sulphide", "ppm", 0, 200, 300, 1, "usual electrochemical cell span, PROPOSAL"),
        ("o2", "氧气", "Oxygen", "%VOL", 0, 30, 300, -1, "usual electrochemical cell span, PROPOSAL"),
        ("pressure", "管网压力", "Main pressure", "kPa", 0, 1_000, 300, -1, "medium-pressure mains, PROPOSAL"),
        # At homes of people living alone: the meter only goes up, and its radio tells "no use" from "no signal".
        ("water", "水表读数", "Water meter", "m³", 0, 100_000, 900, 1, _METER),
        ("signal", "通信信号质量", "Signal quality", "%", 0, 100, 3_600, -1, _METER),
    ),
    site_kinds=(
        SiteKind(id="gas-well", name=text("燃气阀井", "Gas valve well")),
        SiteKind(id="adjacent-space", name=text("相邻地下空间", "Adjacent underground space")),
        SiteKind(id="household", name=text("独居老人户内", "Home of an elderly person living alone")),
        SiteKind(id="regulator", name=text("调压站", "Regulator station")),
    ),
)
