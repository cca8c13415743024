"""Configuration of delivery: who takes over from whom, and the address that phones see."""

from __future__ import annotations

from pathlib import Path

from citypulse.app import extensions
from citypulse.config import check_city
from tests.support import small_city


def checked(folder: Path, channels: str = "", city: str = ""):
    text = small_city.text()
    text = text.replace("  log: {kind: log", f"{channels}  log: {{kind: log")
    text = text.replace("  timezone: Asia/Shanghai\n", f"  timezone: Asia/Shanghai\n{city}")
    path = folder / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return check_city(path, extensions())


def test_a_channel_names_those_that_take_over_from_it(tmp_path):
    more = '  hook: {kind: webhook, settings: {url: "https://im.example/x", fail_over_to: [log]}}\n'
    city, problems = checked(tmp_path, more, '  public_url: "https://city.example/"\n')
    assert city is not None, problems
    assert city.channels["hook"].settings.fail_over_to == ("log",)
    assert city.public_url == "https://city.example"


def test_a_channel_that_takes_over_must_exist_and_be_another(tmp_path):
    more = '  hook: {kind: webhook, settings: {url: "https://im.example/x", fail_over_to: [lgo, hook]}}\n'
    city, problems = checked(tmp_path, more)
    assert city is None
    said = [str(p) for p in problems]
    assert any("lgo" in s for s in said)
    assert any("cannot take over from itself" in s for s in said)


def test_a_public_address_without_a_scheme_is_refused(tmp_path):
    for wrong in ("city.example", "ftp://city.example", "https://me:pw@city.example", "https://c.example/?x=1"):
        city, _ = checked(tmp_path, city=f'  public_url: "{wrong}"\n')
        assert city is None, wrong
