"""The HTTP API keeps what its OpenAPI page says, held to it by generated requests against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

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


@pytest.fixture
def api(service: ServiceProcess) -> Any:
    document = service.get("/api/openapi.json")
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.address)
    return schema


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_page_names(case: Any, service: ServiceProcess) -> None:
    token = (service.data / "desk.token").read_text().strip()
    case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS, timeout=20)
