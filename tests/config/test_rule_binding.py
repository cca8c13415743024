"""Rules meet sensors: overrides by specificity, units and cadences by sensor, scopes by detector."""

from __future__ import annotations

from pathlib import Path

import pytest

from citypulse.config import Extensions, check_city, inspect_city, load_city
from citypulse.config.explain import explain_sensor
from citypulse.errors import ConfigError
from citypulse.model import CityConfig, Gap, Priority, Rule, Side

BASE = Path(__file__).parent.parent / "golden" / "config" / "base" / "city.yaml"
HEAD = "version: 1\ninclude: base.yaml\n"


@pytest.fixture
def city(tmp_path: Path, extensions: Extensions):
    """Return a function that loads the base city with more YAML after it."""
    (tmp_path / "base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")

    def load(more: str = "") -> CityConfig:
        file = tmp_path / "city.yaml"
        file.write_text(HEAD + more, encoding="utf-8")
        return load_city(file, extensions)

    return load


def rules_for(config: CityConfig, rule: str, scope: str) -> list[Rule]:
    return [r for r in config.rules if r.id == rule and scope in r.scopes]


def limits_of(rule: Rule) -> dict[Priority, float]:
    return {limit.level: limit.value for limit in rule.limits}


def test_one_rule_serves_all_sensors_with_the_same_settings(city) -> None:
    config = city()
    assert [r.scopes for r in config.rules] == [("f-0001.depth", "f-0002.depth")]
    assert config.rules[0].sensors == (("f-0001.depth",), ("f-0002.depth",))
    assert limits_of(config.rules[0]) == {Priority.P1: 40.0, Priority.P3: 15.0}
    assert config.rules[0].unit == "cm"
    assert config.rules[0].gap is Gap.RESET


def test_an_override_splits_the_rule_and_changes_only_what_it_says(city) -> None:
    config = city(
        "overrides:\n  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 0.3 m}]}\n"
    )
    (changed,) = rules_for(config, "depth", "f-0001.depth")
    (kept,) = rules_for(config, "depth", "f-0002.depth")
    assert limits_of(changed) == {Priority.P1: 30.0, Priority.P3: 15.0}
    assert limits_of(kept) == {Priority.P1: 40.0, Priority.P3: 15.0}
    assert [limit.deadband for limit in changed.limits] == [3.0, 3.0]
    assert changed.version != kept.version


def test_the_more_specific_override_wins_whatever_the_order(city) -> None:
    config = city(
        "overrides:\n"
        "  - {rule: depth, applies_to: {sensor: f-0001.depth}, limits: [{level: red, at_least: 31 cm}]}\n"
        "  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 32 cm, on_delay: 30 s}]}\n"
        "  - {rule: depth, applies_to: {site: f-*}, limits: [{level: red, at_least: 33 cm, off_delay: 9 min}]}\n"
        "  - {rule: depth, applies_to: {site_kind: road}, limits: [{level: red, at_least: 34 cm}]}\n"
        "  - {rule: depth, applies_to: {domain: flood}, gap: hold}\n"
    )
    (first,) = rules_for(config, "depth", "f-0001.depth")
    (second,) = rules_for(config, "depth", "f-0002.depth")
    assert limits_of(first)[Priority.P1] == 31.0
    assert limits_of(second)[Priority.P1] == 33.0
    red = next(limit for limit in first.limits if limit.level is Priority.P1)
    assert (red.on_delay_s, red.off_delay_s) == (30.0, 540.0)  # what is not said is inherited
    assert first.gap is second.gap is Gap.HOLD


def test_among_equals_the_later_override_wins(city) -> None:
    config = city(
        "overrides:\n"
        "  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 31 cm}]}\n"
        "  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 32 cm}]}\n"
    )
    (rule,) = rules_for(config, "depth", "f-0001.depth")
    assert limits_of(rule)[Priority.P1] == 32.0


def test_a_rule_can_be_switched_off_for_one_sensor(city, tmp_path: Path, extensions: Extensions) -> None:
    config = city("overrides:\n  - {rule: depth, applies_to: {sensor: f-0001.depth}, disabled: true}\n")
    assert rules_for(config, "depth", "f-0001.depth") == []
    assert len(rules_for(config, "depth", "f-0002.depth")) == 1
    explained = explain_sensor(inspect_city(tmp_path / "city.yaml", extensions), "f-0001.depth")
    assert explained is not None
    assert [(o.what, o.value) for o in explained.switched_off] == [("depth", "disabled")]


def test_a_single_level_can_be_switched_off_or_added(city) -> None:
    config = city(
        "overrides:\n"
        "  - rule: depth\n"
        "    applies_to: {site: f-0001}\n"
        "    limits:\n"
        "      - {level: yellow, at_least: 15 cm, disabled: true}\n"
        "      - {level: orange, at_least: 27 cm}\n"
    )
    (rule,) = rules_for(config, "depth", "f-0001.depth")
    assert limits_of(rule) == {Priority.P1: 40.0, Priority.P2: 27.0}


def test_an_override_without_its_side_changes_the_only_limit_of_that_level(city) -> None:
    config = city(
        "overrides:\n  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, on_delay: 1 min}]}\n"
    )
    (rule,) = rules_for(config, "depth", "f-0001.depth")
    red = next(limit for limit in rule.limits if limit.level is Priority.P1)
    assert (red.value, red.side, red.on_delay_s) == (40.0, Side.AT_LEAST, 60.0)


NO_DATA = (
    "rules:\n  - id: quiet\n    name: {zh: 无数据, en: No data}\n    source: a test\n"
    "    applies_to: {domain: flood}\n    no_data: {after: 3 * cadence}\n    level: blue\n    diagnostic: true\n"
)


def test_a_multiple_of_the_cadence_is_taken_of_each_sensor(city) -> None:
    config = city("sensors:\n  - {sensor: f-0002.depth, cadence: 60 s}\n" + NO_DATA)
    (slow,) = rules_for(config, "quiet", "f-0001.depth")
    (quick,) = rules_for(config, "quiet", "f-0002.depth")
    assert (slow.settings.after, quick.settings.after) == (360.0, 180.0)
    assert [limit.value for limit in slow.limits] == [360.0]
    assert slow.limits[0].level is Priority.P4
    assert slow.unit == "s"
    assert slow.is_diagnostic


def test_a_gateway_rule_has_gateways_as_scopes_and_their_own_deadline(city) -> None:
    config = city(
        "gateways:\n  - {id: gw-02, codec: native, silent_after: 5 min, area: mill}\n"
        "sites:\n  - template: ponding\n    area: mill\n    gateway: gw-02\n    places:\n"
        "      f-0003: [码头, Quay, 30.2, 120.1]\n"
        "rules:\n  - id: silent\n    name: {zh: 失联, en: Silent}\n    source: a test\n"
        '    applies_to: {gateway: "*"}\n    gateway_silent: {}\n    level: orange\n'
    )
    (first,) = rules_for(config, "silent", "gw-01")
    (second,) = rules_for(config, "silent", "gw-02")
    assert (first.limits[0].value, second.limits[0].value) == (900.0, 300.0)
    assert second.sensors == (("f-0003.depth",),)
    assert (first.domain, second.domain) == ("", "flood")


def test_a_gateway_is_also_meant_by_what_hangs_on_it(city) -> None:
    config = city(
        "gateways:\n  - {id: gw-02, codec: native, silent_after: 5 min, area: mill}\n"
        "sites:\n  - template: river\n    area: mill\n    gateway: gw-02\n    places:\n"
        "      w-0003: [码头, Quay, 30.2, 120.1]\n"
        "rules:\n  - id: silent\n    name: {zh: 失联, en: Silent}\n    source: a test\n"
        "    applies_to: {domain: water}\n    gateway_silent: {}\n    level: blue\n"
        "overrides:\n  - {rule: silent, applies_to: {site: f-0001}, level: red}\n"
    )
    levels = {scope: r.limits[0].level for r in config.rules if r.id == "silent" for scope in r.scopes}
    assert levels == {"gw-01": Priority.P1, "gw-02": Priority.P4}


def test_a_site_rule_has_only_sites_with_all_its_quantities(city) -> None:
    config = city(
        "templates:\n  brook: {domain: water, kind: river, sensors: [do]}\n"
        "sites:\n  - template: brook\n    area: mill\n    gateway: gw-01\n    places:\n"
        "      w-0002: [小溪, Brook, 30.2, 120.1]\n"
        "rules:\n  - id: both\n    name: {zh: 共同, en: Together}\n    source: a test\n"
        "    applies_to: {quantity: [do, ph]}\n    together: {span: 2 * cadence}\n"
        "    limits: [{level: red, at_least: 2}]\n"
    )
    (rule,) = [r for r in config.rules if r.id == "both"]
    assert rule.scopes == ("w-0001",)
    assert rule.sensors == (("w-0001.do", "w-0001.ph"),)
    assert (rule.limits[0].value, rule.settings.span, rule.unit) == (2.0, 600.0, "")


def test_rates_and_settings_reach_the_house_in_canonical_units(city) -> None:
    config = city(
        "rules:\n  - id: rise\n    name: {zh: 上涨, en: Rising}\n    source: a test\n"
        "    applies_to: {quantity: depth}\n    rate: {window: 6 min}\n"
        "    limits: [{level: red, at_least: 50 mm/5 min, deadband: 1 cm/5 min}]\n"
        "  - id: same\n    name: {zh: 不变, en: Stuck}\n    source: a test\n"
        "    applies_to: {quantity: depth}\n    stuck: {tolerance: 5 mm, unless_at_or_below: 0.01 m}\n"
        "    limits: [{level: blue, at_least: 6 h}]\n"
    )
    (rise,) = rules_for(config, "rise", "f-0001.depth")
    assert rise.limits[0].value == pytest.approx(5 / 300)
    assert rise.limits[0].deadband == pytest.approx(1 / 300)
    assert (rise.settings.window, rise.unit) == (360.0, "cm/s")
    (same,) = rules_for(config, "same", "f-0001.depth")
    assert (same.settings.tolerance, same.settings.unless_at_or_below) == (0.5, 1.0)
    assert (same.limits[0].value, same.unit) == (21_600.0, "s")


def test_a_dead_band_in_fahrenheit_has_no_zero_point(city) -> None:
    config = city(
        "rules:\n  - id: warm\n    name: {zh: 水温, en: Warm}\n    source: a test\n"
        "    applies_to: {quantity: temp}\n    threshold: {}\n"
        "    limits: [{level: red, at_least: 86 °F, deadband: 9 °F}]\n"
    )
    (rule,) = rules_for(config, "warm", "w-0001.temp")
    assert (rule.limits[0].value, rule.limits[0].deadband) == (pytest.approx(30.0), pytest.approx(5.0))


def test_a_raw_unit_becomes_scale_and_offset(city) -> None:
    config = city(
        "templates:\n  alarm:\n    domain: gas\n    kind: household\n"
        '    sensors: [{quantity: ch4, unit: "%LEL", scale: 0.1, offset: -2}]\n'
        "sites:\n  - template: alarm\n    area: mill\n    gateway: gw-01\n    places:\n"
        "      g-0009: [户内, Home, 30.2, 120.1]\n"
    )
    (sensor,) = [s for s in config.sensors if s.id == "g-0009.ch4"]
    raw = 520  # tenths of %LEL with an offset of -2 %LEL: 50 %LEL = 2.5 %VOL
    assert raw * sensor.scale + sensor.offset == pytest.approx(2.5)


def test_a_version_depends_on_what_decides_and_on_nothing_else(city) -> None:
    first = city().rules[0].version
    assert city("# a comment moves nothing\n").rules[0].version == first
    renamed = city("overrides:\n  - {rule: depth, name: {zh: 水深, en: Depth}, source: another}\n").rules[0]
    assert (renamed.version, renamed.name.en) == (first, "Depth")
    assert city("overrides:\n  - {rule: depth, latch: true}\n").rules[0].version != first


def test_every_origin_points_at_the_line_that_said_it(city, tmp_path: Path) -> None:
    config = city(
        "overrides:\n  - {rule: depth, applies_to: {site: f-0001}, limits: [{level: red, at_least: 30 cm}]}\n"
    )
    (rule,) = rules_for(config, "depth", "f-0001.depth")
    red, yellow = rule.limits
    assert Path(red.origin.file).name == "city.yaml"
    assert red.origin.line == 4
    assert Path(yellow.origin.file).name == "base.yaml"
    line = (tmp_path / "base.yaml").read_text(encoding="utf-8").splitlines()[yellow.origin.line - 1]
    assert "yellow" in line


def test_a_pattern_grows_at_its_end_without_moving_the_others(city) -> None:
    def pond(count: int) -> dict[str, tuple[float, float]]:
        config = city(
            "sites:\n  - template: ponding\n    area: mill\n    gateway: gw-01\n"
            f'    pattern: {{first: f-0098, count: {count}, zh: "塘 {{n}}", en: "Pond {{n}}", lat: 30.2, lon: 120.1}}\n'
        )
        return {k: (s.lat, s.lon) for k, s in config.sites.items() if s.name.en.startswith("Pond")}

    assert list(pond(4)) == ["f-0098", "f-0099", "f-0100", "f-0101"]
    assert list(pond(5).items())[:4] == list(pond(4).items())
    assert len(set(pond(40).values())) == 40


def test_loading_a_broken_city_raises_every_problem_at_once(city) -> None:
    with pytest.raises(ConfigError) as caught:
        city("rulez: 1\nroutes:\n  - {id: a, to: nobody, channel: log}\n")
    assert [d.code for d in caught.value.diagnostics] == ["E104", "E302"]
    assert "city.yaml:3:1: E104" in str(caught.value)


def test_two_packs_may_share_a_third(tmp_path: Path, extensions: Extensions) -> None:
    (tmp_path / "base.yaml").write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("version: 1\ninclude: base.yaml\n", encoding="utf-8")
    main = tmp_path / "city.yaml"
    main.write_text("version: 1\ninclude: [one.yaml, two.yaml]\n", encoding="utf-8")
    config, found = check_city(main, extensions)
    assert found == []
    assert config is not None
    assert [Path(f).name for f in config.files] == ["base.yaml", "one.yaml", "two.yaml", "city.yaml"]


def test_the_fingerprint_changes_with_any_byte(city) -> None:
    assert city().fingerprint == city().fingerprint
    assert city().fingerprint != city("# x\n").fingerprint
