"""docs/reference/configuration.md keeps step with the code: its tables are written from it, its examples are run.

`UPDATE_GOLDENS=1 pytest tests/config/test_config_reference.py` rewrites the tables.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from citypulse.config import Extensions, check_city
from citypulse.config.codes import CODES
from citypulse.config.schema import FileIn, LimitIn, OrderIn, RuleIn, SelectorIn, SensorIn, SitesIn
from citypulse.domains import DOMAINS
from citypulse.units import UNITS, spell_duration

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reference" / "configuration.md"
BASE = ROOT / "tests" / "golden" / "config" / "base" / "city.yaml"


def units() -> str:
    dimensions: dict[str, list[str]] = {}
    for unit in UNITS.values():
        dimensions.setdefault(unit.dimension, []).append(f"`{unit.symbol}`")
    rows = [f"| {dimension} | {' '.join(symbols)} |" for dimension, symbols in dimensions.items()]
    return "\n".join(["| 量纲 Dimension | 单位 Units |", "|---|---|", *rows])


def quantities() -> str:
    lines = []
    for domain in DOMAINS.values():
        kinds = "、".join(f"`{k.id}` {k.name.zh} {k.name.en}" for k in domain.site_kinds)
        lines += [f"### {domain.name.zh} {domain.name.en} (`{domain.id}`)", "", f"站点类型 Kinds of site: {kinds}", ""]
        lines += [
            "| 量 Quantity | 名称 Name | 单位 Unit | 量程 Range | 周期 Cadence | 依据 Source |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{q.id}` | {q.name.zh} {q.name.en} | {q.unit} | {q.low:g} to {q.high:g}"
            f" | {spell_duration(q.cadence_s)} | {q.source} |"
            for q in domain.quantities
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def codes() -> str:
    rows = [f"| {c.code} | {c.title.zh} {c.title.en} |" for c in CODES.values()]
    return "\n".join(["| 代码 Code | 含义 Meaning |", "|---|---|", *rows])


TABLES = {"units": units, "quantities": quantities, "codes": codes}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_written_from_the_code(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    block = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    assert block.search(page)
    fresh = block.sub(lambda found: f"{found[1]}{TABLES[name]()}\n{found[2]}", page)
    if os.environ.get("UPDATE_GOLDENS") == "1":
        PAGE.write_text(fresh, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == fresh


@pytest.mark.parametrize("model", [FileIn, RuleIn, LimitIn, OrderIn, SelectorIn, SensorIn, SitesIn])
def test_every_key_is_documented(model) -> None:
    page = PAGE.read_text(encoding="utf-8")
    missing = {key for key in model.model_fields if f"`{key}`" not in page}
    assert missing == set()


def test_the_examples_of_the_page_load(tmp_path: Path, extensions: Extensions) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    sites, rules, _overrides = blocks
    more = (
        "version: 1\ninclude: base.yaml\n"
        "areas: {gudang: {zh: 古荡街道, en: Gudang}}\n"
        "gateways: [{ids: [gw-31, gw-32], codec: native, silent_after: 30 min}]\n"
    )
    (tmp_path / "base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    city = tmp_path / "city.yaml"
    city.write_text(more + sites + rules, encoding="utf-8")
    config, found = check_city(city, extensions)
    assert [d.code for d in found] == ["W203"]  # the example's underpass is not in this little city
    assert config is not None
    assert {"g-0101.ch4", "g-0106.co"} <= {s.id for s in config.sensors}


def test_the_overrides_of_the_page_name_what_exists(extensions: Extensions) -> None:
    *_, overrides = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    sample = (ROOT / "sensors.yaml").read_text(encoding="utf-8") + "".join(
        p.read_text(encoding="utf-8") for p in (ROOT / "rules" / "packs").glob("*.yaml")
    )
    for rule in re.findall(r"rule: ([a-z-]+)", overrides):
        assert f"- id: {rule}\n" in sample
    for site in re.findall(r"(?:site|sensor): ([a-z]-\d+)", overrides):
        assert f"{site}:" in sample
