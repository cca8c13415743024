"""The shipped sensors.yaml: sound without a warning, as large as promised, every number with its source."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest

from citypulse.app import extensions as extensions_in_force
from citypulse.config import Extensions, inspect_city, load_city
from citypulse.config.check import Loaded
from citypulse.domains import DOMAINS
from citypulse.model import Priority
from ingest.codecs import CODECS
from ingest.qc.settings import QualitySettings
from rules.detectors import DETECTORS

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "sensors.yaml"


@pytest.fixture(scope="module")
def real(extensions: Extensions) -> Extensions:
    """The real detectors and codecs; a channel needs only its name here."""
    return Extensions(
        detectors={name: d.settings for name, d in DETECTORS.items()},
        codecs=frozenset(CODECS),
        channels=extensions.channels,
        quality=QualitySettings,
    )


@pytest.fixture(scope="module")
def sample(real: Extensions) -> Loaded:
    return inspect_city(SAMPLE, real)


def test_it_loads_without_an_error_or_a_warning(sample: Loaded) -> None:
    assert [str(d) for d in sample.diagnostics] == []
    assert sample.city is not None


def test_it_is_a_district(sample: Loaded) -> None:
    assert sample.city is not None
    assert len(sample.city.sensors) == 1000
    assert 300 <= len(sample.city.sites) <= 340
    assert len(sample.city.gateways) == 60
    assert len(sample.city.areas) == 11
    assert {s.domain for s in sample.city.sites.values()} == set(DOMAINS)
    assert all(count >= 150 for count in Counter(s.domain for s in sample.city.sensors).values())


def test_it_loads_in_less_than_a_second(real: Extensions) -> None:
    def cpu_s() -> float:
        began = time.process_time()  # the machine may be busy with something else
        load_city(SAMPLE, real)
        return time.process_time() - began

    assert min(cpu_s() for _ in range(3)) < 1.0


def test_every_rule_names_its_source_and_gives_advice(sample: Loaded) -> None:
    assert sample.city is not None
    for rule in sample.city.rules:
        assert rule.source.strip(), rule.id
        assert rule.advice is not None, rule.id
        assert rule.name.zh
        assert rule.name.en


def test_every_sensor_is_watched_for_silence(sample: Loaded) -> None:
    assert sample.city is not None
    watched = {s for r in sample.city.rules if r.detector == "no_data" for s in r.scopes}
    assert watched == {s.id for s in sample.city.sensors}
    gateways = {s for r in sample.city.rules if r.detector == "gateway_silent" for s in r.scopes}
    assert gateways == set(sample.city.gateways)


def test_every_kind_of_site_has_a_rule_about_the_city(sample: Loaded) -> None:
    assert sample.city is not None
    kinds = {s.id: s.site_kind for s in sample.city.sensors}
    judged = {kinds[k] for r in sample.city.rules if not r.is_diagnostic for members in r.sensors for k in members}
    assert judged == {site.kind for site in sample.city.sites.values()}


@pytest.mark.parametrize(
    ("rule", "site_kind", "levels"),
    [
        ("flood-depth-road", "road", {"blue": 5, "yellow": 15, "orange": 27, "red": 40}),
        ("flood-depth-underpass", "underpass", {"blue": 3, "yellow": 10, "orange": 20, "red": 27}),
        ("flood-canal", "canal", {"blue": 50, "yellow": 75, "orange": 90, "red": 100}),
        ("gas-ch4-space", "adjacent-space", {"yellow": 1, "orange": 2.5, "red": 5}),
        ("gas-ch4-home", "household", {"orange": 0.25, "red": 1.25}),
        ("road-settlement", "road-segment", {"yellow": 14, "orange": 20, "red": 30}),
        ("road-cover", "manhole", {"yellow": 10, "red": 30}),
    ],
)
def test_the_default_thresholds_are_those_of_the_domain(
    sample: Loaded, rule: str, site_kind: str, levels: dict[str, float]
) -> None:
    assert sample.city is not None
    bound = max((r for r in sample.city.rules if r.id == rule), key=lambda r: len(r.scopes))
    assert {limit.level.colour: limit.value for limit in bound.limits} == pytest.approx(levels)
    kinds = {s.id: s.site_kind for s in sample.city.sensors}
    assert site_kind in {kinds[scope] for scope in bound.scopes}


def test_a_value_equal_to_a_surface_water_limit_is_still_in_its_class(sample: Loaded) -> None:
    assert sample.city is not None
    for rule in sample.city.rules:
        if rule.id.startswith("water-") and "GB 3838" in rule.source and rule.detector == "threshold":
            assert {limit.side.value for limit in rule.limits} <= {"below", "above"}, rule.id


def test_flood_limits_are_never_bands(sample: Loaded) -> None:
    assert sample.city is not None
    small_is_bad = {"flood-sewer-surcharge", "flood-underpass-forecast", "flood-canal-forecast"}  # room and time left
    for rule in sample.city.rules:
        if rule.domain == "flood" and not rule.is_diagnostic and rule.id not in small_is_bad:
            assert {limit.side.value for limit in rule.limits} == {"at_least"}, rule.id


def test_red_raises_at_once_where_life_is_at_stake(sample: Loaded) -> None:
    assert sample.city is not None
    for rule in sample.city.rules:
        if rule.id in {"flood-depth-underpass", "gas-ch4-space", "gas-ch4-home", "flood-canal", "gas-co"}:
            reds = [limit for limit in rule.limits if limit.level is Priority.P1]
            assert reds, rule.id
            assert all(limit.on_delay_s == 0 for limit in reds), rule.id


def test_who_repairs_never_checks(sample: Loaded) -> None:
    assert sample.city is not None
    crews = [t for t in sample.city.teams.values() if t.kind == "crew"]
    desks = [t for t in sample.city.teams.values() if t.kind == "duty"]
    assert {d for t in crews for d in t.domains} == set(DOMAINS)
    assert len({t.unit for t in (*crews, *desks)}) == len(crews) + len(desks)


def test_each_pack_says_proposal_where_no_standard_speaks() -> None:
    for pack in [p for p in sorted((ROOT / "rules" / "packs").glob("*.yaml")) if "." not in p.stem]:
        sources = [line for line in pack.read_text(encoding="utf-8").splitlines() if line.strip().startswith("source:")]
        assert sources, pack.name
        for line in sources:
            has_reference = any(
                word in line
                for word in ("PROPOSAL", "GB", "Singapore", "guide", "published", "规范", "in practice", "products")
            )
            assert has_reference, line


def test_a_forecast_of_a_depth_that_no_sensor_can_measure_is_warned_of(real: Extensions, tmp_path: Path) -> None:
    rule = """
version: 1
include: {base}
rules:
  - id: new
    name: {{zh: 新规则, en: New rule}}
    source: a test
    applies_to: {{quantity: depth}}
    forecast: {{reaches: 27 m}}
    limits: [{{level: red, at_most: 10 min}}]
"""
    file = tmp_path / "city.yaml"
    base = ROOT / "tests" / "golden" / "config" / "base" / "city.yaml"
    file.write_text(rule.format(base=base), encoding="utf-8")
    found = [d for d in inspect_city(file, real).diagnostics if d.code == "W201"]
    assert ["`reaches` 2700 cm lies outside" in str(d) for d in found] == [True]


def test_its_examples_of_channels_hold_when_their_mark_is_taken_away(tmp_path: Path) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    names = "dingtalk|wecom|feishu|sms|voice|mail|hook"
    text = re.sub(rf"^  # (public_url: .*|(?:{names}):)$", r"  \1", text, flags=re.MULTILINE)
    text = re.sub(r"^  #   (kind: \w+|settings: \{.*)$", r"    \1", text, flags=re.MULTILINE)
    city = tmp_path / "sensors.yaml"
    city.write_text(text, encoding="utf-8")
    config = load_city(city, extensions_in_force())
    kinds = {"log", "dingtalk", "wecom", "feishu", "sms", "voice", "mail", "webhook"}
    assert {c.kind for c in config.channels.values()} == kinds
    assert config.public_url.startswith("https://")


def test_quality_control_leaves_what_saves_lives_alone(sample: Loaded) -> None:
    """A suspect reading raises nothing by default: no test may call high water or gas suspect."""
    assert sample.city is not None
    tested = set(sample.city.quality.quantities) | {s.rpartition(".")[2] for s in sample.city.quality.sensors}
    domains = {s.quantity: s.domain for s in sample.city.sensors}
    assert {domains[quantity] for quantity in tested} == {"water"}
