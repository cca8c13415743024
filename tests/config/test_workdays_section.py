"""A year's holidays, the keeping of contacts and the watchdog in YAML: taken, checked, and in force."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerts.people.workdays import HOLIDAY_YEARS, SHIPPED, expiry, is_known, is_workday, know, unknown_years
from citypulse.app import extensions
from citypulse.cli import check
from citypulse.clock import SystemClock
from citypulse.config import check_city, load_city
from citypulse.model import CityConfig

YEAR = """
version: 1
workdays:
  "2027":
    source: 国务院办公厅通知, a made-up year for this test
    holidays: ["01-01 to 01-03", "10-01 to 10-07", "06-09"]
    worked: ["09-26", "10-09"]
"""


@pytest.fixture(autouse=True)
def shipped_again() -> Iterator[None]:
    yield
    know(())


def city_with(folder: Path, extra: str, included: str = YEAR) -> Path:
    base = Path(__file__).parent.parent / "golden" / "config" / "base" / "city.yaml"
    (folder / "workdays-2027.yaml").write_text(included, "utf-8")
    (folder / "city.yaml").write_text(base.read_text("utf-8") + extra, "utf-8")
    return folder / "city.yaml"


def problems(path: Path) -> list[str]:
    return [f"{d.code} {d.message}" for d in check_city(path, extensions())[1]]


def loaded(path: Path) -> CityConfig:
    return load_city(path, extensions())


def test_a_years_file_is_one_line_of_include_and_then_holds(tmp_path: Path) -> None:
    config = loaded(city_with(tmp_path, "\ninclude: [workdays-2027.yaml]\n"))
    assert [y.year for y in config.workdays] == [2027]
    assert not is_known(2027)
    know(config.workdays)
    assert is_known(2027)
    assert is_known(2026), "the shipped years stay"
    assert not is_workday(date(2027, 10, 4)), "a Monday off"
    assert is_workday(date(2027, 10, 9)), "a Saturday worked"
    assert not is_workday(date(2027, 6, 9))
    assert is_workday(date(2027, 6, 10))
    know(())
    assert is_workday(date(2027, 10, 4)), "the next configuration does not give it"


def test_a_year_of_ones_own_replaces_the_shipped_one_as_a_whole(tmp_path: Path) -> None:
    own = YEAR.replace('"2027"', '"2026"').replace("10-09", "10-10")
    config = loaded(city_with(tmp_path, "\ninclude: [workdays-2027.yaml]\n", own))
    know(config.workdays)
    assert is_workday(date(2026, 5, 4)), "Labour Day as shipped no longer counts"
    assert not is_workday(date(2026, 6, 9))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"06-09"', '"02-30"', "2027-02-30 is no day"),
        ('"10-01 to 10-07"', '"10-07 to 10-01"', "ends before it begins"),
        ('worked: ["09-26"', 'worked: ["10-02"', "both off and worked"),
        ('worked: ["09-26"', 'worked: ["09-27"', "worked anyway"),
        ('"01-01 to 01-03"', '"01-01 to 03-31"', "too many"),
        ("    source: 国务院办公厅通知, a made-up year for this test\n", "", "source"),
        ('"10-01 to 10-07"', '"1 October"', ""),
        ('"2027"', '"27"', ""),
    ],
)
def test_a_slip_of_the_pen_is_found_with_its_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in YEAR
    found = problems(city_with(tmp_path, "\ninclude: [workdays-2027.yaml]\n", YEAR.replace(old, new)))
    assert found
    assert any(said in one for one in found)


def test_the_warning_comes_so_many_days_before_the_data_end_and_says_what_to_do() -> None:
    last_year = max(HOLIDAY_YEARS)
    assert expiry(date(last_year, 11, 16), 45) is None
    said = expiry(date(last_year, 11, 17), 45)
    assert said is not None
    assert said[0] == date(last_year, 12, 31)
    assert f"workdays-{last_year + 1}.yaml" in said[1].en
    assert "44" in said[1].zh
    after = expiry(date(last_year + 1, 1, 1), 45)
    assert after is not None
    assert "plain weekends are used" in after[1].en
    assert expiry(date(last_year, 12, 31), 0) is None, "0 days: only once they have ended"


@pytest.mark.parametrize(
    ("now", "extra", "is_said"),
    [
        ("2026-11-16T10:00:00+08:00", "", False),
        ("2026-11-17T10:00:00+08:00", "", True),
        ("2026-11-17T10:00:00+08:00", "\ninclude: [workdays-2027.yaml]\n", False),
        ("2028-01-01T00:00:00+08:00", "\ninclude: [workdays-2027.yaml]\n", True),
    ],
)
def test_check_says_on_stderr_that_the_calendar_is_about_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str, extra: str, is_said: bool
) -> None:
    at_ms = round(datetime.fromisoformat(now).timestamp() * 1000)
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: at_ms)
    result = CliRunner().invoke(check.command, [str(city_with(tmp_path, extra))])
    assert result.exit_code == 0, result.output
    assert ("workday calendar ends" in result.stderr or "are not known" in result.stderr) is is_said
    assert "calendar" not in result.stdout


def test_what_is_shipped_is_sound() -> None:
    for year, known in HOLIDAY_YEARS.items():
        assert str(year) in known.source
        for month, day in known.worked:
            assert date(year, month, day).weekday() >= 5
            assert date(year, month, day) not in SHIPPED.off
    assert unknown_years(date(min(HOLIDAY_YEARS), 1, 1), date(max(HOLIDAY_YEARS), 12, 31)) == ()


def test_how_long_contacts_are_kept_is_said_and_bounded(tmp_path: Path) -> None:
    assert loaded(city_with(tmp_path, "")).contacts_kept_s == 180 * 86_400
    assert loaded(city_with(tmp_path, "\nprivacy: {contacts_kept_for: 30 d}\n")).contacts_kept_s == 30 * 86_400
    assert any("contacts are kept" in p for p in problems(city_with(tmp_path, "\nprivacy: {contacts_kept_for: 1 d}\n")))


def test_the_watchdog_has_one_address_and_a_sane_interval(tmp_path: Path) -> None:
    made = loaded(city_with(tmp_path, "\nwatchdog: {url_env: HEARTBEAT_URL, every: 2 min}\n")).watchdog
    assert (made.url, made.url_env, made.every_s) == ("", "HEARTBEAT_URL", 120.0)
    for wrong in (
        "{}",
        "{url: ftp://x.cn}",
        "{url: https://x.cn, url_env: HEARTBEAT_URL}",
        "{url: https://x.cn, every: 1 s}",
    ):
        assert problems(city_with(tmp_path, f"\nwatchdog: {wrong}\n")), wrong
