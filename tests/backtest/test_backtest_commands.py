"""The verbs backtest, suggest and test as engineers use them: files in, verdicts, reports and exit codes out."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from citypulse.app import extensions
from citypulse.cli import group
from citypulse.config import load_city
from citypulse.model import ReadingBatch
from citypulse.store import open_store
from tests.support import small_city

ROOT = Path(__file__).parents[2]
BASE_MS = 1_767_542_400_000
SENSOR = "u-000001.depth"


def call(*args: object) -> Result:
    return CliRunner().invoke(group, [str(a) for a in args])


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A city, a copy with a stricter red limit, and a day of readings with three floods of 15, 25 and 30 cm."""
    new = small_city.write(tmp_path, sites=2)
    text = new.read_text(encoding="utf-8")
    (tmp_path / "old.yaml").write_text(
        text.replace("at_least: 10 cm", "at_least: 18 cm").replace("Small City", "<Small> & City"), encoding="utf-8"
    )
    new.write_text(text.replace("Small City", "<Small> & City"), encoding="utf-8")
    lines = ["sensor,time,value"]
    for k in range(8640):
        depth = {1: 15, 3: 25, 5: 30}.get(k // 1000, 0) if k % 1000 < 60 else 0
        lines.append(f"{SENSOR},{BASE_MS + 10_000 * k},{depth}")
    (tmp_path / "readings.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    hour = 3_600_000
    (tmp_path / "labels.csv").write_text(
        "sensor_or_site,start,end,name\n"
        f"{SENSOR},{BASE_MS + 10_000_000},{BASE_MS + 10_000_000 + hour},first <flood>\n"
        f"u-000001,{BASE_MS + 50_000_000},{BASE_MS + 50_000_000 + hour},third flood\n"
        f"u-000001,{BASE_MS + 70_000_000},{BASE_MS + 70_000_000 + hour},nobody saw it\n",
        encoding="utf-8",
    )
    return tmp_path


def run(world: Path, *more: object) -> Result:
    return call("backtest", "--config", world / "city.yaml", "--readings", world / "readings.csv", *more)


def test_alarms_are_written_with_their_times_levels_and_peaks(world: Path) -> None:
    result = run(world, "--alarms", world / "alarms.csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((world / "alarms.csv").open(encoding="utf-8")))
    assert [(r["rule"], r["scope"], r["level"]) for r in rows] == [
        ("depth", SENSOR, "yellow"),
        ("depth", SENSOR, "orange"),
        ("depth", SENSOR, "red"),
    ]
    assert rows[0]["start"] == "2026-01-04T18:46:50.000Z"
    assert rows[0]["end"] == "2026-01-04T18:57:00.000Z"
    assert "3 条告警" in result.stdout


def test_two_configurations_are_compared(world: Path) -> None:
    result = run(world, "--against", world / "old.yaml", "--labels", world / "labels.csv", "--json")
    found = json.loads(result.stdout)
    assert (found["old"]["alarms"], found["new"]["alarms"]) == (2, 3)
    assert [c["change"] for c in found["changes"]] == ["gained", "same", "same"]
    assert (found["old"]["labels"]["caught"], found["new"]["labels"]["caught"]) == (1, 2)
    assert [i["verdict"] for i in found["new"]["labels"]["incidents"]] == ["caught", "caught", "missed"]
    assert found["new"]["labels"]["incidents"][0]["lead_s"] == -10.0
    assert found["new"]["labels"]["unlabelled_alarms"] == 1


class Outside(HTMLParser):
    """Collects whatever a page would fetch, and checks that its tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {k}" for k, _ in attrs if k in ("src", "href", "data", "action", "onload", "onclick")]
        if tag in ("script", "link", "iframe", "img", "object"):
            self.fetched.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("rect", "line", "path", "circle", "polyline"), tag

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_that_fetches_nothing_and_escapes_what_people_wrote(world: Path) -> None:
    result = run(world, "--against", world / "old.yaml", "--labels", world / "labels.csv", "--report", world / "r.html")
    assert result.exit_code == 0, result.output
    page = (world / "r.html").read_text(encoding="utf-8")
    parsed = Outside()
    parsed.feed(page)
    assert parsed.fetched == []
    assert parsed.open == []
    assert "url(" not in page
    assert "@import" not in page
    assert "<Small>" not in page
    assert "<Small> & City" in parsed.text
    assert "first <flood>" in parsed.text
    assert page.index("告警 2 → 3") < page.index("有何不同 What changed")
    assert page.count('<svg class="plot"') == 2  # what was gained, what was missed
    assert "新增 gained: depth" in parsed.text
    assert "18 黄 旧" in parsed.text  # the old limit, as a line
    assert "@media print" in page


def test_a_budget_that_is_exceeded_fails_the_run_and_says_by_how_much(world: Path) -> None:
    assert run(world, "--budget-per-day", 3.1).exit_code == 0
    result = run(world, "--budget-per-day", 2, "--budget-missed", 0, "--labels", world / "labels.csv")
    assert result.exit_code == 1
    assert "超出预算 over budget: 每日告警 alarms a day: 3 > 2" in result.stdout
    assert "漏报事件 incidents missed: 1 > 0" in result.stdout
    assert run(world, "--budget-missed", 0).exit_code == 2


def test_since_and_until_choose_a_part(world: Path) -> None:
    result = run(world, "--since", BASE_MS + 20_000_000, "--until", BASE_MS + 45_000_000, "--json")
    assert json.loads(result.stdout)["new"]["alarms"] == 1


def test_readings_of_another_city_are_refused_and_unknown_sensors_are_named(world: Path) -> None:
    other = world / "other.csv"
    other.write_text(f"sensor,time,value\nx-1.depth,{BASE_MS},1\n", encoding="utf-8")
    result = call("backtest", "--config", world / "city.yaml", "--readings", other)
    assert result.exit_code != 0
    assert "is this the right configuration?" in str(result.exception)
    both = call("backtest", "--config", world / "city.yaml", "--readings", world / "readings.csv", "--readings", other)
    assert "1 个测点未配置" in both.stdout


def test_a_store_gives_the_same_as_a_file(world: Path) -> None:
    config = load_city(world / "city.yaml", extensions())
    ids = [s.id for s in config.sensors]
    rows = list(csv.DictReader((world / "readings.csv").open(encoding="utf-8")))
    data = world / "data"
    data.mkdir()
    store = open_store("duckdb", data)
    store.learn(ids)
    batch = ReadingBatch.of(
        [ids.index(r["sensor"]) for r in rows], [int(r["time"]) for r in rows], [float(r["value"]) for r in rows]
    )
    store.write(batch)
    store.close()
    stored = json.loads(call("backtest", "--config", world / "city.yaml", "--data", data, "--json").stdout)
    filed = json.loads(run(world, "--json").stdout)
    assert stored["new"] == filed["new"]


def test_a_suggestion_catches_the_labelled_floods_and_its_patch_loads(world: Path) -> None:
    labels = world / "labels.csv"
    options = ["--config", world / "city.yaml", "--readings", world / "readings.csv", "--labels", labels]
    found = json.loads(call("suggest", "depth", *options, "--level", "yellow", "--json").stdout)
    chosen = found["points"][found["chosen"]]
    assert chosen["caught"] == max(p["caught"] for p in found["points"]) == 2
    assert chosen["value"] <= 15
    assert sum(p["is_current"] for p in found["points"]) == 1
    hours = [p["hours_per_day"] for p in found["points"]]
    assert hours == sorted(hours, reverse=True)  # a higher limit never means more time in alarm
    patched = world / "patched.yaml"
    patched.write_text((world / "city.yaml").read_text(encoding="utf-8") + found["patch"], encoding="utf-8")
    (limit,) = [m for m in load_city(patched, extensions()).rules[0].limits if m.level.colour == "yellow"]
    assert limit.value == pytest.approx(chosen["value"])
    text = call("suggest", "depth", *options, "--level", "yellow")
    assert text.exit_code == 0
    assert "overrides:\n  - rule: depth" in text.stdout


def test_without_labels_a_suggestion_needs_to_know_how_many_alarms_are_bearable(world: Path) -> None:
    options = ["--config", world / "city.yaml", "--readings", world / "readings.csv", "--json"]
    assert json.loads(call("suggest", "depth", *options).stdout)["patch"] == ""
    bounded = json.loads(call("suggest", "depth", *options, "--alarms-per-day", 2.5).stdout)
    assert bounded["points"][bounded["chosen"]]["per_day"] <= 2.5
    # One a day would need yellow beyond orange, which would alarm at orange all the same.
    assert json.loads(call("suggest", "depth", *options, "--alarms-per-day", 1.5).stdout)["patch"] == ""
    wrong = call("suggest", "dept", *options)
    assert "did you mean 'depth'" in str(wrong.exception)


# ── rule tests ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        *sorted((ROOT / "rules/packs").glob("*.tests.yaml")),
        *sorted((Path(__file__).parent / "public").glob("*.tests.yaml")),
        ROOT / "sensors.tests.yaml",
    ],
    ids=lambda p: p.name,
)
def test_the_packs_and_the_public_cases_pass(path: Path) -> None:
    result = call("test", path)
    assert result.exit_code == 0, result.output


def test_every_rule_of_every_pack_has_a_test() -> None:
    packs = ROOT / "rules/packs"
    tested = {
        rule
        for path in packs.glob("*.tests.yaml")
        for rule in re.findall(r"rule: ([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
    for pack in sorted(p for p in packs.glob("*.yaml") if "." not in p.stem):
        rules = set(re.findall(r"^  - id: (\S+)", pack.read_text(encoding="utf-8"), re.MULTILINE))
        assert rules - tested == set(), pack.name


def write_tests(world: Path, tests: str) -> Path:
    path = world / "mine.tests.yaml"
    path.write_text("config: city.yaml\ntests:\n" + tests, encoding="utf-8")
    return path


def test_a_failing_test_says_where_what_was_expected_and_what_happened(world: Path) -> None:
    path = write_tests(
        world,
        f"""  - name: too eager
    rule: depth
    interval: 10 s
    series: {{{SENSOR}: "0 12x3"}}
    expect:
      - {{at: 10s, {SENSOR}: yellow}}
      - {{at: 20s, {SENSOR}: yellow/hidden}}
""",
    )
    result = call("test", path)
    assert result.exit_code == 1
    assert f"✗ {path}:3: too eager" in result.stdout
    assert "mine.tests.yaml:8: at 10 s depth on u-000001.depth is normal, expected yellow" in result.stdout
    assert "mine.tests.yaml:9: at 20 s depth on u-000001.depth: its alarm is unack, expected hidden" in result.stdout
    assert "· 20 s: depth on u-000001.depth: raise → yellow." in result.stdout
    assert "0 通过 passed, 1 失败 failed" in result.stdout
    told = json.loads(call("test", path, "--json").stdout)
    assert (told[0]["passed"], told[0]["line"], len(told[0]["failures"])) == (False, 3, 2)


@pytest.mark.parametrize(
    ("tests", "place", "said"),
    [
        ('  - {rule: depht, series: {S: "1"}, expect: [{at: 1m, S: red}]}\n', ":3:", "did you mean"),
        ('  - rule: depth\n    series: {S: "1"}\n    expect:\n      - {at: 1m, S: crimson}\n', ":6:", "crimson"),
        ('  - {rule: depth, series: {S: "1 zwei"}, expect: [{at: 1m, S: red}]}\n', ":3:", "zwei"),
        ("  - just a text\n", ":3:", "must be a mapping"),
    ],
)  # fmt: skip
def test_a_test_that_cannot_be_run_is_refused_at_its_line(world: Path, tests: str, place: str, said: str) -> None:
    path = write_tests(world, tests.replace("S:", f"{SENSOR}:"))
    result = call("test", path)
    assert result.exit_code == 1
    assert said in result.output
    assert f"mine.tests.yaml{place}" in result.output


def test_a_missing_configuration_is_told_at_its_line(world: Path) -> None:
    path = world / "lost.tests.yaml"
    path.write_text("config: nowhere.yaml\ntests: [{}]\n", encoding="utf-8")
    result = call("test", path)
    assert result.exit_code == 1
    assert "lost.tests.yaml:1:" in result.output
    assert "nowhere.yaml" in result.output


def test_every_number_of_every_pack_has_a_source_and_a_proposal_says_so() -> None:
    """A rule's source names a standard, a published practice or a measurement; what is none of these is a PROPOSAL."""
    known = re.compile(r"PROPOSAL|GB|CJJ|DB3|HJ|JGJ|SL 651|guide|practice|Singapore|Shanghai|Shenyang|FloodNet")
    for pack in sorted(p for p in (ROOT / "rules/packs").glob("*.yaml") if "." not in p.stem):
        text = pack.read_text(encoding="utf-8")
        for rule in re.split(r"^  - id: ", text, flags=re.MULTILINE)[1:]:
            name = rule.split()[0]
            source = re.search(r'^    source: "?(.+?)"?$', rule, re.MULTILINE)
            assert source is not None, f"{pack.name}: {name} has no source"
            assert known.search(source[1]), f"{name}: {source[1]!r} names no source, and is no PROPOSAL"
