"""Whatever is broken in a configuration, checking it ends with diagnostics, never with a traceback."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.app import extensions as real_extensions
from citypulse.config import Extensions, inspect_city
from citypulse.model import ReadingBatch, SensorTable
from rules.detectors import DETECTORS
from rules.engine import Engine
from rules.sound import unsound

BASE = yaml.safe_load((Path(__file__).parent.parent / "golden" / "config" / "base" / "city.yaml").read_text("utf-8"))
EXTRA = {
    "sensors": [{"sensor": "f-0001.depth", "cadence": "60 s", "unit": "mm", "scale": 2.0, "range": ["0 cm", "90 cm"]}],
    "overrides": [
        {"rule": "depth", "applies_to": {"site": "f-*"}, "limits": [{"level": "red", "at_least": "30 cm"}]},
        {"rule": "quiet", "applies_to": {"sensor": "f-0001.depth"}, "disabled": True},
    ],
}
RULES = [
    {
        "id": "quiet",
        "name": {"zh": "无数据", "en": "No data"},
        "source": "a test",
        "applies_to": {"domain": "flood"},
        "no_data": {"after": "3 * cadence"},
        "level": "blue",
        "inhibited_by": ["silent"],
    },
    {
        "id": "silent",
        "name": {"zh": "失联", "en": "Silent"},
        "source": "a test",
        "applies_to": {"gateway": "*"},
        "gateway_silent": {},
        "level": "orange",
        "order": {"template": "pump", "verify_for": "30 min", "coverage": "80 %", "opens_at": "orange"},
    },
]
WHOLE: dict[str, Any] = {**BASE, **EXTRA, "rules": [*BASE["rules"], *RULES]}

ODD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        3.5,
        "",
        "x",
        "15 cm",
        "3 * cadence",
        "5 cm/5 min",
        [],
        {},
        ["x"],
        {"x": 1},
        [[]],
        "no",
        "*",
        "[",
        10**30,
    ]
)


def paths(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found += paths(value, (*here, key))
    return found


PATHS = paths(WHOLE)


def changed(path: tuple[Any, ...], what: Any, *, removes: bool) -> dict[str, Any]:
    tree = copy.deepcopy(WHOLE)
    owner = tree
    for part in path[:-1]:
        owner = owner[part]
    if removes:
        del owner[path[-1]]
    else:
        owner[path[-1]] = what
    return tree


def test_the_whole_is_sound(tmp_path: Path, extensions: Extensions) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(yaml.safe_dump(WHOLE, allow_unicode=True), encoding="utf-8")
    assert [d.code for d in inspect_city(file, extensions).diagnostics] == []


@given(path=st.sampled_from(PATHS), what=ODD, removes=st.booleans())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_one_thing_broken_ends_in_diagnostics(
    tmp_path: Path, extensions: Extensions, path: tuple[Any, ...], what: Any, removes: bool
) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(yaml.safe_dump(changed(path, what, removes=removes), allow_unicode=True), encoding="utf-8")
    loaded = inspect_city(file, extensions)
    assert loaded.city is not None or loaded.errors
    for diagnostic in loaded.diagnostics:
        assert diagnostic.render(colour=True)
        json.dumps(diagnostic.as_dict())


@pytest.mark.parametrize("first", PATHS[::7])
def test_two_things_broken_are_both_reported(tmp_path: Path, extensions: Extensions, first: tuple[Any, ...]) -> None:
    tree = changed(first, {"surprise": 1}, removes=False)
    tree["nonsense"] = 1
    file = tmp_path / "city.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    found = inspect_city(file, extensions).diagnostics
    assert any("nonsense" in d.message for d in found)
    assert len(found) >= 2


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_the_check(tmp_path: Path, extensions: Extensions, raw: bytes) -> None:
    file = tmp_path / "city.yaml"
    file.write_bytes(raw)
    loaded = inspect_city(file, extensions)
    assert loaded.city is None
    assert loaded.errors


# ── what reads well also runs ───────────────────────────────────────────────────────────────────

PACKS = Path(__file__).parent.parent.parent / "rules" / "packs"
TOWN = yaml.safe_load((PACKS / "packs.city.yaml").read_text("utf-8"))
PACK_RULES = [
    rule
    for pack in ("water", "road", "gas", "flood", "gateway")
    for rule in yaml.safe_load((PACKS / f"{pack}.yaml").read_text("utf-8"))["rules"]
]
PACK_RULES += [  # detectors that no pack uses by default, on everything there is
    {"id": "x", "name": {"zh": "试", "en": "Trial"}, "source": "a test", "applies_to": {"domain": domain}, **section,
     "limits": [{"level": "red", "at_least": 1, "on_delay": "1 h", "off_delay": "1 h"}]}
    for domain in ("water", "gas")
    for section in (
        {"multivariate": {}}, {"surprise": {}}, {"drift": {"window": "7 d"}}, {"baseline": {}},
        {"composite": {"rules": ["gateway-silent", "water-ph"]}},
        {"n_of_m": {"at_least": "1 mg/L", "last": 5, "window": "1 h"}},
    )
]  # fmt: skip
DURATIONS = st.sampled_from(["0 s", "1 ms", "1 s", "59 s", "1 h", "400 d", "1 * cadence", "1000 * cadence", "-1 h"])
COUNTS = st.sampled_from([-1, 0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 1000, 10**6, 2**31, 2**63])
SHARES = st.sampled_from([0.0, 1e-9, 0.5, 1.0, 1.0001, -0.5, 1e300])


def leaves(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    return [here] if items is None else [path for key, value in items for path in leaves(value, (*here, key))]


@st.composite
def towns(draw: st.DrawFn) -> dict[str, Any]:
    """The packs' own town with one rule changed as an engineer might: wider, longer, more, none."""
    tree = copy.deepcopy(TOWN)
    rule = copy.deepcopy(draw(st.sampled_from(PACK_RULES)))
    rule["id"] = "changed"
    rule.pop("inhibited_by", None)
    for path in draw(st.lists(st.sampled_from(leaves({k: rule[k] for k in rule if k not in NAMES})), max_size=3)):
        owner = rule
        for part in path[:-1]:
            owner = owner[part]
        owner[path[-1]] = draw(another(owner[path[-1]]))
    for key in draw(st.sets(st.sampled_from(sorted(rule["applies_to"])))):
        del rule["applies_to"][key]
    copies = draw(st.sampled_from([1, 1, 1, 9]))
    tree["rules"] = [{**rule, "id": f"changed-{k}"} for k in range(copies)]
    return tree


NAMES = ("id", "name", "source", "advice", "applies_to")


def another(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int | float):
        return st.one_of(COUNTS, SHARES)
    if isinstance(value, str) and value[:1].isdigit():
        unit = value.partition(" ")[2]
        return st.one_of(DURATIONS, st.sampled_from([f"{n} {unit}" for n in (0, 1e-9, 1, 7, 1e9, -3)]))
    return st.just(value)


@given(tree=towns())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_reads_well_also_runs(tmp_path: Path, tree: dict[str, Any]) -> None:
    """A configuration is refused with diagnostics, or its rules compile, take readings and are graded."""
    file = tmp_path / "town.yaml"
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    loaded = inspect_city(file, real_extensions())
    assert loaded.city is not None or loaded.errors
    if loaded.city is None:
        return
    city = loaded.city
    table = SensorTable.build(tuple(s.id for s in city.sensors), city.sensors)
    engine = Engine(city.rules, table, city.sites, city.gateways, quantities=city.quantities)
    middle = [(s.low + s.high) / 2 for s in city.sensors]
    for beat in range(3):
        now_ms = 1_767_542_400_000 + beat * 3_600_000
        engine.step(ReadingBatch.of(range(len(table)), [now_ms] * len(table), middle), now_ms)


def test_a_rule_that_a_detector_refuses_as_bound_is_a_diagnostic_at_its_section(
    tmp_path: Path, extensions: Extensions
) -> None:
    file = tmp_path / "city.yaml"
    file.write_text(yaml.safe_dump(WHOLE, allow_unicode=True), encoding="utf-8")
    picky = replace(extensions, trial=lambda city: [(city.rules[0], "looks at 1 to 16 channels, not 17")])
    loaded = inspect_city(file, picky)
    assert loaded.city is None
    (found,) = loaded.diagnostics
    assert (found.code, found.line > 0) == ("E109", True)
    assert "cannot run: looks at 1 to 16 channels, not 17" in found.message


def test_the_trial_names_the_rule_that_cannot_be_laid_out() -> None:
    """A table in which one detector refuses: that rule is named, and no other."""

    def refuses(_lanes: Any) -> Any:
        if _lanes:
            raise ValueError("too many channels")
        return DETECTORS["threshold"].layout(_lanes)

    city = inspect_city(PACKS / "packs.city.yaml", real_extensions()).city
    assert city is not None
    assert unsound(city) == []
    picky = {**DETECTORS, "black_odorous": replace(DETECTORS["black_odorous"], layout=refuses)}
    found = unsound(city, picky)
    assert {(rule.id, why) for rule, why in found} == {("water-black-odorous", "too many channels")}
