"""The HTTP API keeps what its OpenAPI page says, held to it by generated requests against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from citypulse.console.openapi import document
from tests.support import small_city
from tests.support.mosquitto import Mosquitto, is_installed
from tests.support.publisher import Publisher, reading_message
from tests.support.service import ServiceProcess, until

pytestmark = pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")

RULES = """
rules:
  - id: depth
    name: {zh: 积水, en: Water depth}
    applies_to: {quantity: depth}
    source: test
    threshold: {}
    limits: [{level: red, at_least: 100 cm, deadband: 3 cm, off_delay: 10 s}]
    order: {template: pump, verify_for: 30 s, coverage: 80 %, opens_at: orange}
"""
ALL = list(HealthCheck)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("api")
    (folder / "data").mkdir(mode=0o700)
    with Mosquitto(dir=folder, config=["max_queued_messages 0"]) as broker:
        config = small_city.write(folder, gateways=1, sites=2, broker_port=broker.port, rules=RULES)
        with ServiceProcess(config, folder / "data", broker.port) as running:
            at_ms = int(running.get("/api/v1/time")["now_ms"]) - 5_000
            out = Publisher(broker.port, "field")
            out.send("city/v1/gw-01/readings", reading_message("b1", 0, [("u-000001.depth", at_ms, 130.0)], at_ms))
            out.finish()
            until(lambda: running.get("/api/v1/orders"))
            yield running


SCHEMA = schemathesis.openapi.from_dict(document(reads_need_token=False))
OPERATIONS = {f"{o.method.upper()} {o.path}": o for o in (found.ok() for found in SCHEMA.get_all_operations())}


def test_the_service_shows_the_page_that_these_requests_are_drawn_from(service: ServiceProcess) -> None:
    assert service.get("/api/openapi.json") == document(reads_need_token=False)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_answer_is_one_that_the_page_names(name: str, service: ServiceProcess) -> None:
    token = (service.data / "desk.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}

    @settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=ALL)
    @given(case=OPERATIONS[name].as_strategy())
    def ask(case: Any) -> None:
        answer = case.call(base_url=service.address, headers=headers, timeout=20)
        case.validate_response(answer, checks=CHECKS)

    ask()
