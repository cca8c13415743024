"""More channels on a site than a detector can look at is a mistake in the configuration, told with its line."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from citypulse.app import extensions
from citypulse.config import Extensions, check_city
from rules.detectors.multivariate import Multivariate
from rules.detectors.multivariate_axes import CHANNELS_MAX

CITY = """\
version: 1
city: {name: {zh: 磨坊镇, en: Mill Town}, timezone: Asia/Shanghai}
broker: {url: "mqtt://127.0.0.1:1883"}
areas: {north: {zh: 北片, en: North}}
gateways: [{id: gw, codec: native, silent_after: 10 min}]
templates: {river: {domain: water, kind: river, sensors: [do, ph, cond, turb]}}
sites: [{template: river, area: north, gateway: gw, places: {mill-river: [磨坊河, Mill River, 30.2, 120.1]}}]
teams: {duty: {name: {zh: 值班室, en: Duty desk}, kind: duty, unit: duty}}
channels: {log: {kind: log}}
routes: [{id: all, to: duty, channel: log}]
rules:
  - id: several
    name: {zh: 多参数异常, en: Several channels}
    applies_to: {domain: water}
    source: a test
    multivariate: {}
    limits: [{level: yellow, at_least: 1.2, deadband: 0.3}]
"""


class Narrow(Multivariate):
    inputs_max: ClassVar[int | None] = 3


def found(tmp_path: Path, known: Extensions, text: str) -> list[tuple[str, int, str]]:
    path = tmp_path / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return [(d.code, d.line, d.message) for d in check_city(path, known)[1] if d.code.startswith("E")]


def narrow() -> Extensions:
    known = extensions()
    return Extensions(
        detectors={**known.detectors, "multivariate": Narrow},
        codecs=known.codecs,
        channels=known.channels,
        quality=known.quality,
    )


def test_a_site_with_too_many_channels_is_an_error_at_the_rules_own_line(tmp_path: Path):
    ((code, line, message),) = found(tmp_path, narrow(), CITY)
    assert (code, line) == ("E117", 14)
    assert "4 sensors of `mill-river`" in message
    assert "takes 3" in message


def test_naming_fewer_quantities_settles_it(tmp_path: Path):
    assert not found(tmp_path, narrow(), CITY.replace("{domain: water}", "{quantity: [do, ph, cond]}"))


def test_the_real_detector_takes_as_many_as_its_kernel_has_room_for(tmp_path: Path):
    assert Multivariate.inputs_max == CHANNELS_MAX
    assert not found(tmp_path, extensions(), CITY)
