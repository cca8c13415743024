"""Whatever is broken in a configuration, checking it ends with diagnostics, never with a traceback."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from citypulse.config import Extensions, inspect_city

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
