"""The JSON Schema for editors agrees with the loader about the files we ship, and refuses what the loader refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from citypulse.app import extensions as real_extensions
from citypulse.config import Extensions
from citypulse.config.jsonschema import DIALECT, json_schema
from citypulse.config.load import parse, read_source
from citypulse.config.nodes import Report

ROOT = Path(__file__).parent.parent.parent
PACKS = [p for p in sorted((ROOT / "rules" / "packs").glob("*.yaml")) if "." not in p.stem]  # not their tests
SHIPPED = [ROOT / "sensors.yaml", *PACKS]


@pytest.fixture(scope="module")
def schema(extensions: Extensions) -> dict[str, Any]:
    return json_schema(extensions)


def data_of(path: Path) -> Any:
    report = Report()
    source = read_source(path, path.name, report)
    assert source is not None
    node = parse(source, report)
    assert node is not None
    return node.data()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.name)
def test_a_shipped_file_fits_the_schema(path: Path) -> None:
    schema = json_schema(real_extensions())
    errors = list(jsonschema_rs.validator_for(schema).iter_errors(data_of(path)))
    assert [(e.message, list(e.instance_path)) for e in errors] == []


def test_the_schema_is_a_valid_one(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == DIALECT
    jsonschema_rs.validator_for(schema)


def test_every_detector_and_channel_has_its_section(schema: dict[str, Any], extensions: Extensions) -> None:
    for name in extensions.detectors:
        assert name in schema["$defs"]["Rule"]["properties"]
        assert name in schema["$defs"]["Override"]["properties"]
    for kind in extensions.channels:
        assert f"channel_{kind}" in schema["$defs"]


SOUND: dict[str, Any] = {
    "version": 1,
    "rules": [
        {
            "id": "a",
            "name": {"zh": "甲", "en": "A"},
            "source": "a test",
            "applies_to": {"quantity": "depth"},
            "rate": {"window": "5 min"},
            "limits": [{"level": "red", "at_least": "5 cm/5 min"}],
        }
    ],
    "channels": {"log": {"kind": "log"}},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rulez",), []),
        (("version",), 2),
        (("rules", 0, "limits", 0, "level"), "purple"),
        (("rules", 0, "limits", 0, "abvoe"), "5 cm"),
        (("rules", 0, "rate", "window"), "5 minutes"),
        (("rules", 0, "rate", "windw"), "5 min"),
        (("rules", 0, "applies_to", "domain"), "wtaer"),
        (("channels", "log", "kind"), "lgo"),
        (("channels", "Log"), {"kind": "log"}),
    ],
)
def test_the_editor_marks_what_the_loader_refuses(schema: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid(SOUND)
    broken = copy.deepcopy(SOUND)
    owner: Any = broken
    for part in path[:-1]:
        owner = owner[part]
    owner[path[-1]] = value
    assert not validator.is_valid(broken)
