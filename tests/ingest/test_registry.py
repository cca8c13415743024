"""Topics, ownership and the cache of sensor columns."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citypulse.errors import PayloadError
from ingest import registry as module
from ingest.registry import FOREIGN, RETIRED, UNKNOWN, Registry
from tests.ingest.town import make_town


@pytest.fixture
def registry() -> Registry:
    return Registry(*make_town())


@pytest.mark.parametrize(
    ("topic", "found"),
    [("city/v1/mill/readings", ("mill", "readings")), ("city/v1/harbour/state", ("harbour", "state"))],
)
def test_a_topic_names_its_gateway(registry, topic, found) -> None:
    assert registry.parse_topic(topic) == found


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("city/v1/nobody/readings", "unknown_gateway"),
        ("city/v1/Mill/readings", "bad_topic"),
        ("city/v1/mi.ll/readings", "bad_topic"),
        ("city/v1/mill/ack", "bad_topic"),
        ("city/v1/mill/readings/x", "bad_topic"),
        ("city/v2/mill/readings", "bad_topic"),
        ("city/v1/mill/readings\n", "bad_topic"),
        ("", "bad_topic"),
        ("city/v1/" + "a" * 65 + "/readings", "bad_topic"),
    ],
)
def test_other_topics_are_refused(registry, topic, reason) -> None:
    with pytest.raises(PayloadError) as caught:
        registry.parse_topic(topic)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [("h-0.level", "foreign_sensor"), ("x-9.level", "unknown_sensor"), ("old.level", "retired_sensor")],
)
def test_a_gateway_speaks_only_for_its_own_sensors(registry, name, reason) -> None:
    assert registry.table.ids[registry.resolve("mill", "m-3.level")] == "m-3.level"
    with pytest.raises(PayloadError) as caught:
        registry.resolve("mill", name)
    assert caught.value.reason == reason
    assert name in caught.value.detail


names = st.lists(
    st.one_of(st.sampled_from(["m-0.level", "m-5.level", "h-1.level", "old.level", "nobody"]), st.text(max_size=8)),
    max_size=12,
)


@given(st.lists(names, max_size=12))
def test_the_cache_never_changes_an_answer(columns) -> None:
    registry = Registry(*make_town())
    own = {name: k for k, name in enumerate(registry.table.ids) if name.startswith("m-")}
    for column in columns * 2:
        raw = json.dumps(column).encode()
        want = [own.get(n, {"h-1.level": FOREIGN, "old.level": RETIRED}.get(n, UNKNOWN)) for n in column]
        try:
            found = registry.resolve_raw("mill", raw)
        except PayloadError:
            assert any("\ud800" <= c <= "\udfff" for n in column for c in n)
            continue
        assert list(found.index) == want == list(registry.resolve_all("mill", column).index)
        assert found.is_clean == all(k >= 0 for k in want)


def test_the_cache_is_bounded_in_entries_and_in_bytes(registry, monkeypatch) -> None:
    for k in range(200):
        registry.resolve_raw("mill", b" " * k + b'["m-0.level"]')
    assert len(registry._own["mill"].columns) == module.COLUMNS_PER_GATEWAY
    assert registry.column_bytes == sum(len(c) for c in registry._own["mill"].columns)
    monkeypatch.setattr(module, "COLUMNS_MAX_BYTES", 3000)
    for k in range(200, 400):
        registry.resolve_raw("harbour", b" " * k + b'["h-0.level"]')
        assert registry.column_bytes <= 3000 + 500


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'"m-0.level"', "message_shape"),
        (b"[1]", "message_shape"),
        (b'["\xff"]', "bad_encoding"),
        (b"[", "json_syntax"),
    ],
)
def test_a_column_that_is_no_array_of_texts_is_refused(registry, raw, reason) -> None:
    with pytest.raises(PayloadError) as caught:
        registry.resolve_raw("mill", raw)
    assert caught.value.reason == reason


def test_settings_lie_by_sensor_index_and_a_retired_sensor_has_no_limits(registry) -> None:
    old = registry.table.index["old.level"]
    assert registry.gateway[old] == -1
    assert registry.high[old] == float("inf")
    mill = registry.table.index["m-1.level"]
    assert registry.gateways[registry.gateway[mill]] == "mill"
    assert (registry.low[mill], registry.high[mill], registry.cadence_ms[mill]) == (0.0, 100.0, 60_000)
