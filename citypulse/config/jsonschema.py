"""The JSON Schema of a configuration file, for completion and checks while typing in an editor."""

from __future__ import annotations

from typing import Any, Literal, Union

from pydantic import Field, create_model

from .extensions import Extensions
from .forms import Id
from .scalars import marker_of
from .schema import ChannelIn, FileIn, GatewayIn, OverrideIn, RuleIn
from .values import DetectorSettings

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(extensions: Extensions) -> dict[str, Any]:
    """Return the schema as a JSON-ready mapping, with a section for every detector and kind of channel known."""
    rule_sections: dict[str, Any] = {
        name: (settings | None, Field(default=None, description=_first_line(settings)))
        for name, settings in extensions.detectors.items()
    }
    loose: dict[str, Any] = {
        name: (_all_optional(name, settings) | None, Field(default=None))
        for name, settings in extensions.detectors.items()
    }
    rule = create_model("Rule", __base__=RuleIn, __doc__=RuleIn.__doc__, **rule_sections)
    override = create_model("Override", __base__=OverrideIn, __doc__=OverrideIn.__doc__, **loose)
    changed: dict[str, Any] = {"rules": (tuple[rule, ...], ()), "overrides": (tuple[override, ...], ())}
    if extensions.channels:
        kinds = [_channel(kind, settings) for kind, settings in extensions.channels.items()]
        changed["channels"] = (dict[Id, Union[tuple(kinds)]], {})  # type: ignore[misc] # noqa: UP007 - made at run time
    if extensions.codecs:
        codec: Any = Literal[tuple(sorted(extensions.codecs))]
        gateway = create_model("Gateway", __base__=GatewayIn, codec=(codec, ...))
        changed["gateways"] = (tuple[gateway, ...], ())
    if extensions.quality is not None:
        changed["quality"] = (dict[str, Any] | None, Field(default=None, description="tests of readings"))
    model = create_model("Configuration", __base__=FileIn, __doc__=FileIn.__doc__, **changed)
    schema = model.model_json_schema()
    tidy(schema)
    return {"$schema": DIALECT, "title": "citypulse configuration", **schema}


def _first_line(settings: type[DetectorSettings]) -> str:
    return (settings.__doc__ or "").strip().split("\n")[0]


def _all_optional(name: str, settings: type[DetectorSettings]) -> Any:
    """Return the detector's settings as an override may give them: any part, with the rest inherited."""
    fields: dict[str, Any] = {key: (info.annotation, info) for key, info in settings.model_fields.items()}
    loose = {key: (annotation | None, None) for key, (annotation, _) in fields.items() if not marker_of(fields[key][1])}
    marked = {key: (Any, None) for key in fields if key not in loose}
    parts: dict[str, Any] = {**loose, **marked}
    return create_model(f"{name}_override", __config__=settings.model_config, **parts)


def _channel(kind: str, settings: Any) -> Any:
    parts: dict[str, Any] = {"kind": (Literal[kind], ...), "settings": (settings, Field(default=None))}
    return create_model(f"channel_{kind}", __base__=ChannelIn, __doc__=f"A channel of kind {kind}.", **parts)


def tidy(node: Any) -> None:
    """Remove what confuses editors: nulls nobody writes, defaults in inner units, titles that repeat the key."""
    if isinstance(node, list):
        for item in node:
            tidy(item)
        return
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        del node["title"]
    if "default" in node and (node["default"] is None or node["default"] in ([], {}, ())):
        del node["default"]
    if node.get("type") == "string" and not isinstance(node.get("default", ""), str):
        del node["default"]
    for bound in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if node.get("type") == "string":
            node.pop(bound, None)
    options = node.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        if len(kept) == 1:
            del node["anyOf"]
            node.update({k: v for k, v in kept[0].items() if k not in node})
        else:
            node["anyOf"] = kept
    if isinstance(node.get("patternProperties"), dict):
        node["additionalProperties"] = False
    for value in list(node.values()):
        tidy(value)
