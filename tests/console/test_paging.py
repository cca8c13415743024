"""Long lists in pages over HTTP: whole, each row once, whatever is raised meanwhile; a foreign cursor is refused."""

from __future__ import annotations

import base64
import json
from itertools import chain
from urllib.parse import parse_qs, urlsplit

import pytest

from citypulse.model import Priority
from tests.console.desk_port import Port
from tests.ledger.ledger_cast import T0, a_notice, an_alarm, an_order, effects_of


class ListPort(Port):
    """A console whose lists come from the ledger as they stand there."""

    def alarms(self, **query):
        return self.room.alarms(**query)

    def orders(self, **query):
        return self.room.orders(**query)

    def put(self, **rows):
        self.commit(effects_of(**rows))


@pytest.fixture
def port(tmp_path):
    made = ListPort(tmp_path)
    yield made
    made.close()


def alarm(number, level=3, at_ms=None, **changes):
    when = T0 + number * 1000 if at_ms is None else at_ms
    return an_alarm(number, id=f"a{number:04}", level=Priority(level), raised_wall_ms=when, **changes)


def pages(client, path, between=lambda: None, **query):
    """Walk a list by the Link header; return the pages as lists of ids."""
    found, url = [], path
    answer = client.get(path, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        found.append([row["id"] for row in answer.json()])
        if answer.headers["X-Has-More"] == "false":
            assert "Link" not in answer.headers
            return found
        url, _, rel = answer.headers["Link"].partition(">; ")
        assert rel == 'rel="next"'
        assert parse_qs(urlsplit(url[1:]).query)["after"] == [answer.headers["X-Next-After"]]
        between()
        answer = client.get(url[1:])


def flat(found):
    return list(chain.from_iterable(found))


def test_the_pages_of_alarms_are_the_list_most_serious_first(port):
    port.put(alarms=[alarm(n, level=1 + n % 4) for n in range(23)])
    whole = [row["id"] for row in port.client().get("/api/v1/alarms?limit=100").json()]
    found = pages(port.client(), "/api/v1/alarms", limit=5)
    assert [len(page) for page in found] == [5, 5, 5, 5, 3]
    assert flat(found) == whole


def test_alarms_of_one_instant_come_once_each(port):
    port.put(alarms=[alarm(n, level=2, at_ms=T0) for n in range(11)])
    found = flat(pages(port.client(), "/api/v1/alarms", limit=3, sort="newest"))
    assert sorted(found) == [f"a{n:04}" for n in range(11)]
    assert len(set(found)) == 11


def test_what_is_raised_between_two_pages_moves_nothing(port):
    port.put(alarms=[alarm(n) for n in range(10)])
    fresh = iter(range(100, 120))

    def more():
        port.put(alarms=[alarm(next(fresh), level=1), alarm(next(fresh))])

    found = flat(pages(port.client(), "/api/v1/alarms", more, limit=3))
    assert found == [f"a{n:04}" for n in reversed(range(10))]


def test_by_time_alone_nothing_is_missed_when_an_alarm_becomes_worse_meanwhile(port):
    port.put(alarms=[alarm(n) for n in range(10)])
    worse = alarm(2, level=1, rev=2)
    found = flat(pages(port.client(), "/api/v1/alarms", lambda: port.put(alarms=[worse]), limit=4, sort="newest"))
    assert found == [f"a{n:04}" for n in reversed(range(10))]


def test_orders_and_notices_have_pages_too(port):
    port.put(
        orders=[an_order(n, opened_ms=T0 + n, level=Priority(1 + n % 2)) for n in range(1, 8)],
        notices=[a_notice(f"k{n}") for n in range(7)],
    )
    client = port.client()
    for path in ("/api/v1/orders", "/api/v1/notices"):
        whole = [row["id"] for row in client.get(path).json()]
        assert len(whole) == 7
        assert flat(pages(client, path, limit=2)) == whole


def test_a_cursor_of_another_list_or_of_no_list_is_refused_in_a_sentence(port):
    port.put(alarms=[alarm(n) for n in range(5)])
    client = port.client()
    cursor = client.get("/api/v1/alarms?limit=2").headers["X-Next-After"]
    forged = base64.urlsafe_b64encode(json.dumps(["x", [], {}, None]).encode()).decode()
    for path in (
        f"/api/v1/alarms?domain=gas&after={cursor}",
        f"/api/v1/alarms?sort=newest&after={cursor}",
        f"/api/v1/orders?after={cursor}",
        f"/api/v1/notices?after={cursor}",
        f"/api/v1/alarms?after={forged}",
        "/api/v1/alarms?after=nonsense",
        "/api/v1/alarms?after=%F0%9F%92%A7",
        "/api/v1/alarms?sort=upwards",
    ):
        answer = client.get(path)
        assert answer.status_code == 400, path
        assert answer.json()["message"]
    assert client.get(f"/api/v1/alarms?limit=1&after={cursor}").status_code == 200, "a page may be of another length"
