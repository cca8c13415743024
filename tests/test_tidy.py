"""The rules of the house as a test that says the cure."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from citypulse.cli import VERBS
from citypulse.cli.doctor import PACKAGES, owners

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))

# One library, one door: whoever wants to replace it has one place to look.
DOORS = {
    "paho": ("ingest/mqtt.py",),
    "influxdb_client": ("citypulse/store/influx.py",),
    "duckdb": ("citypulse/store/duck.py",),
    "yaml": ("citypulse/config/load.py",),
    "apscheduler": ("citypulse/app.py",),
    "amqtt": ("simulators/broker.py",),
    "starlette": ("citypulse/console/",),
    "uvicorn": ("citypulse/console/",),
    "jinja2": ("citypulse/console/",),
    "sqlalchemy": ("citypulse/ledger/", "citypulse/journal.py"),
}
CLOCK_CALLS = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.perf_counter",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
}
LINES_MAX = 500


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    strays = [name_of(p) for p in SOURCES if library in set(imports(p)) and not name_of(p).startswith(DOORS[library])]
    assert not strays, f"{library} is imported in {strays}; go through {' or '.join(DOORS[library])} instead"


def test_only_clock_py_asks_what_time_it_is() -> None:
    strays = []
    for path in SOURCES:
        if name_of(path) == "citypulse/clock.py":
            continue
        strays += [
            f"{name_of(path)}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CLOCK_CALLS
        ]
    assert not strays, f"{strays} ask the system for time; take now_ms as an argument, or a Clock"


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {name_of(p.parent).replace("/", ".") for p in SOURCES if p.name == "__init__.py"}
    assert found == listed, "list each package with an __init__.py under tool.setuptools.packages, and no other"


def test_no_other_distribution_owns_our_names() -> None:
    assert "citypulse" in importlib.metadata.packages_distributions()["citypulse"]
    assert all(finding.is_well for finding in owners())
    clash = next(owners({"citypulse": ["citypulse", "impostor"]}))
    assert not clash.is_well
    assert "impostor" in clash.cure


def test_every_verb_has_a_file_and_every_file_a_verb() -> None:
    helpers = {"__init__", "chinese", "client", "named", "quickstart", "recorded", "show", "serving"}
    helpers |= {"situations"}  # part of `alarms --grouped`
    helpers |= {"demo_city", "demo_drill", "demo_tale", "demo_view"}  # parts of `demo`
    files = {p.stem for p in (ROOT / "citypulse" / "cli").glob("*.py")} - helpers
    assert files == {module for module, *_ in VERBS.values()}, "add the verb to VERBS, or remove its file"


def test_the_readmes_map_shows_every_folder() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = [f for f in (*PACKAGES, "tests", "docs") if f"[`{f}/`]" not in readme]
    assert not missing, f"README.md's table of folders lacks {missing}"


def test_links_in_documents_lead_somewhere() -> None:
    dead = []
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        dead += [
            f"{name_of(page)} → {target}"
            for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
            if "://" not in target and not (page.parent / target).exists()
        ]
    assert not dead, f"dead links: {dead}"


def test_no_file_has_grown_into_two() -> None:
    sizes = {name_of(p): len(p.read_text("utf-8").splitlines()) for p in SOURCES}
    long = {name: n for name, n in sizes.items() if n > LINES_MAX}
    assert not long, f"{long} are longer than {LINES_MAX} lines; ask whether each is one thing"
