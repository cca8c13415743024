"""How the API takes requests: strict about fields, once for each key, and every refusal in one form."""

from __future__ import annotations

import pytest

from citypulse.console.asking import KEYS_MAX, Keys
from citypulse.evidence.photos import EvidenceStore
from tests.alerts.cast import RED
from tests.console.desk_port import Port

LEAD = {"Authorization": "Bearer lead"}


class Desk(Port):
    """The console's port with what lists and changes need."""

    def __init__(self, folder):
        super().__init__(folder)
        self.pictures = EvidenceStore(folder)

    def alarms(self, **query):
        return self.room.alarms(**query)

    def orders(self, **query):
        return self.room.orders(**query)

    def situations(self):
        return self.room.situations()


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def alarm(desk):
    desk.commit(desk.world.raises("well.ch4", RED, "gas"))
    return desk.world.alarm("gas|well.ch4").id


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/api/v1/alarms", 405), ("GET", "/api/v1/x", 404)]
)
def test_what_no_route_answers_is_refused_in_the_form_of_every_other_refusal(desk, method, path, status):
    answer = desk.client().request(method, path)
    assert answer.status_code == status
    assert answer.json()["ok"] is False
    assert path in answer.json()["message"]


def test_every_answer_is_private_and_inert(desk, alarm):
    for path in ("/api/v1/alarms", f"/api/v1/alarms/{alarm}", "/livez", "/nowhere", "/"):
        headers = desk.client().get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert headers["Cache-Control"] == "no-store", path
        assert "default-src" in headers["Content-Security-Policy"], path


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("domian=gas", "did you mean 'domain'"),
        ("domain=gass", "did you mean 'gas'"),
        ("limit=many", "whole number"),
        ("open=TRUE", "true or false"),
    ],
)
def test_a_misspelt_filter_is_refused_because_an_empty_list_looks_like_peace(desk, query, hint):
    answer = desk.client().get(f"/api/v1/alarms?{query}")
    assert answer.status_code == 400
    assert hint in answer.json()["message"]


def test_a_list_says_whether_there_is_more(desk, alarm):
    client = desk.client()
    assert client.get("/api/v1/alarms?limit=1").headers["X-Has-More"] == "false"
    desk.commit(desk.world.raises("well.o2", RED, "gas"))
    cut = client.get("/api/v1/alarms?limit=1")
    assert len(cut.json()) == 1
    assert cut.headers["X-Has-More"] == "true"


def comment(desk, alarm, note, headers=None, **more):
    return desk.client().post(
        f"/api/v1/alarms/{alarm}/comment", json={"note": note} | more, headers=LEAD | (headers or {})
    )


@pytest.mark.parametrize("way", ["body", "header"])
def test_the_same_request_twice_is_one_change(desk, alarm, way):
    key = {"command_id": "k1"} if way == "body" else {}
    headers = {"Idempotency-Key": "k1"} if way == "header" else {}
    first, second = (comment(desk, alarm, "seen", headers, **key) for _ in range(2))
    assert first.json() == second.json()
    assert first.json()["command_id"] == "k1"
    notes = [e for e in desk.room.events(subject=alarm, after_seq=0, limit=100) if e["kind"] == "commented"]
    assert len(notes) == 1


def test_a_key_used_again_for_something_else_is_refused_and_not_swallowed(desk, alarm):
    assert comment(desk, alarm, "one", command_id="k1").status_code == 200
    again = comment(desk, alarm, "two", command_id="k1")
    assert again.status_code == 409
    assert again.json()["code"] == "id_reused"


def test_a_change_meant_for_an_older_revision_is_refused(desk, alarm):
    seen = desk.client().get(f"/api/v1/alarms/{alarm}").headers["ETag"]
    assert comment(desk, alarm, "one", {"If-Match": seen}).status_code == 200
    late = comment(desk, alarm, "two", {"If-Match": seen})
    assert late.status_code == 412
    assert late.json()["code"] == "changed"
    assert comment(desk, alarm, "two", {"If-Match": "*"}).status_code == 200


def test_the_board_gives_levels_a_shape_times_a_zone_and_alarms_their_evidence(desk, alarm):
    page = desk.client().get("/").text
    for word in ("⬣ 1", "未确认", desk.config.timezone, f"/api/v1/incidents/{alarm}.html"):
        assert word in page, word


def test_keys_are_bounded_and_the_oldest_is_forgotten_first():
    keys = Keys()
    assert not keys.is_reused("old", 1)
    for number in range(KEYS_MAX):
        keys.is_reused(str(number), number)
    assert not keys.is_reused("old", 2)
    assert keys.is_reused(str(KEYS_MAX - 1), "other")
