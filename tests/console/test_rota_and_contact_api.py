"""Rotas and citizens' contacts over real HTTP, a real desk and a real ledger; and the nightly proof on their clock."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from citypulse.ledger import Ledger
from citypulse.model import Actor
from citypulse.night_proof import PROVE_DAYS, NightlyProof
from citypulse.rota_views import coverage_view, rota_view, stand_ins_of
from tests.alerts.cast import T0, World
from tests.alerts.people_cast import DESK, peopled
from tests.console.desk_port import Port

HOUR_MS = 3_600_000
CONTACT = "张三 13812345678"
WHO = {
    "lead": Actor(name="lea", role="lead", unit="desk"),
    "duty": Actor(name="dan", role="duty", unit="desk"),
    "viewer": Actor(name="vera", role="viewer"),
    "crew": Actor(name="ada", role="crew", unit="pumps"),
}


class RotaPort(Port):
    """The same port over a city that has people and a rota."""

    def __init__(self, folder: Any, config: Any = None) -> None:
        super().__init__(folder)
        self.config = config or peopled()
        self.world = World(self.config)

    def actor_of(self, token: str) -> Actor | None:
        return WHO.get(token)

    def rotas(self, *, team: str, at_ms: int | None, days: int) -> list[dict[str, Any]]:
        now = self.now_ms() if at_ms is None else at_ms
        return rota_view(self.config, stand_ins_of(self.ledger, self.config), at_ms=now, days=days, team=team)

    def rota_coverage(self, *, days: int) -> dict[str, Any]:
        stand_ins = stand_ins_of(self.ledger, self.config)
        return coverage_view(self.config, stand_ins, from_ms=self.now_ms(), days=days)

    def orders(self, **query: Any) -> list[dict[str, Any]]:
        return self.room.orders(**query)

    def order(self, order_id: str) -> dict[str, Any] | None:
        return self.room.order(order_id)

    def events(self, **query: Any) -> list[dict[str, Any]]:
        return self.room.events(**query)

    def contacts(self, order_id: str, who: Actor) -> list[str]:
        return self.room.contacts(order_id, who, now_ms=self.now_ms())


@pytest.fixture
def port(tmp_path):
    made = RotaPort(tmp_path)
    # Pictures are not needed here: no command of these tests names one.
    made.pictures = type("None_", (), {"lacks": staticmethod(lambda _names: [])})()  # type: ignore[attr-defined]
    yield made
    made.close()


def as_(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {who}"}


# ── rotas ───────────────────────────────────────────────────────────────────────────────────────


def test_the_rota_says_who_is_on_until_when_and_who_comes_next(port):
    (desk,) = port.client().get("/api/v1/rota", params={"team": "desk", "days": 2}).json()
    assert desk["team"] == "desk"
    assert desk["on_duty"]
    assert {p["id"] for p in desk["on_duty"]} <= {"dan", "dee", "lea"}
    assert len(desk["next"]) > 2
    assert "+86" not in json.dumps(desk), "who is reached how, never at which number"


@pytest.mark.parametrize(
    "query", [{"days": "93"}, {"days": "-1"}, {"days": "x"}, {"at_ms": "soon"}, {"at_ms": str(10**18)}]
)
def test_a_rota_asked_for_nonsense_answers_400_with_the_field(port, query):
    answer = port.client().get("/api/v1/rota", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in answer.json()["message"]


def test_the_proof_is_asked_for_over_http(port):
    found = port.client().get("/api/v1/rota/coverage", params={"days": 3}).json()
    assert found["until_ms"] - found["from_ms"] == 3 * 24 * HOUR_MS
    assert {"is_whole", "gaps", "strips", "warnings"} <= set(found)


def test_an_override_over_http_changes_who_is_on_and_a_withdrawal_changes_it_back(port):
    client = port.client()
    before = client.get("/api/v1/rota", params={"team": "desk"}).json()[0]["on_duty"][0]["id"]
    instead = "dee" if before != "dee" else "dan"
    body = {"instead_of": before, "person": instead, "reason": "ill", "until_ms": port.now_ms() + 2 * HOUR_MS}
    assert client.post("/api/v1/rota/desk/override", json=body).status_code == 401, "changes need a token"
    refused = client.post("/api/v1/rota/desk/override", json=body, headers=as_("crew"))
    assert (refused.status_code, refused.json()["ok"]) == (403, False)
    done = client.post("/api/v1/rota/desk/override", json=body, headers=as_("lead"))
    assert done.status_code == 200, done.json()
    on = [p["id"] for p in client.get("/api/v1/rota", params={"team": "desk"}).json()[0]["on_duty"]]
    assert instead in on
    assert before not in on
    (made,) = client.get("/api/v1/rota", params={"team": "desk"}).json()[0]["stand_ins"]
    back = client.post("/api/v1/rota/desk/withdraw", json={"id": made["id"], "reason": "well"}, headers=as_("lead"))
    assert back.status_code == 200, back.json()
    assert before in [p["id"] for p in client.get("/api/v1/rota", params={"team": "desk"}).json()[0]["on_duty"]]


def test_a_hand_over_needs_its_note_and_stays_on_record(port):
    client = port.client()
    assert client.post("/api/v1/rota/desk/handover", json={}, headers=as_("duty")).status_code == 422
    said = client.post("/api/v1/rota/desk/handover", json={"note": "gate 3 sticks"}, headers=as_("duty"))
    assert said.status_code == 200, said.json()
    lines = [e for e in client.get("/api/v1/events").json() if e["kind"] == "handed_over"]
    assert len(lines) == 1
    assert "gate 3 sticks" in lines[0]["because"]


def test_a_team_that_is_not_there_is_404(port):
    answer = port.client().post("/api/v1/rota/nobody/handover", json={"note": "x"}, headers=as_("lead"))
    assert answer.status_code in {404, 422}
    assert answer.json()["ok"] is False


# ── the nightly proof ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def gappy(tmp_path):
    """A desk whose nights nobody watches."""
    day_only = replace(DESK, shifts=DESK.shifts[:1], fallback=())
    made = RotaPort(tmp_path, peopled(rotas={"desk": day_only}))
    yield made
    made.close()


def proof_of(port: RotaPort) -> NightlyProof:
    return NightlyProof(lambda: port.config, lambda days: port.rota_coverage(days=days), port.submit)


def local(hour: float, day: int = 0) -> int:
    """An hour of the night after T0, local time (UTC+8)."""
    midnight = (T0 + 8 * HOUR_MS) // (24 * HOUR_MS) * 24 * HOUR_MS - 8 * HOUR_MS
    return midnight + round((24 * (day + 1) + hour) * HOUR_MS)


def gap_notices(port: RotaPort) -> list[Any]:
    return [r.notice for r in port.ledger.outbox_rows(limit=1000) if "值班空档" in r.notice.title]


def test_a_gap_is_told_to_the_lead_at_the_hour_and_not_before(gappy):
    proof = proof_of(gappy)
    for hour in (0.0, 1.0, 1.99):
        gappy.world.now_ms = local(hour)
        assert not proof.look(gappy.now_ms())
    assert not gap_notices(gappy)
    gappy.world.now_ms = local(2.0)
    assert proof.look(gappy.now_ms())
    assert gap_notices(gappy)
    assert [c.verb for c in gappy.commands] == ["rota.gap"]
    assert gappy.commands[0].data["gaps"] > 0


def test_it_is_proven_once_a_night_and_again_the_next(gappy):
    proof = proof_of(gappy)
    done = []
    for minute in range(0, 48 * 60, 10):
        gappy.world.now_ms = local(0) + minute * 60_000
        if proof.look(gappy.now_ms()):
            done.append(minute)
    assert done == [120, 26 * 60]
    assert len({c.id for c in gappy.commands}) == 2


def test_a_service_that_was_down_at_the_hour_proves_when_it_is_back_and_a_restart_tells_nobody_twice(gappy):
    gappy.world.now_ms = local(5.5)
    assert proof_of(gappy).look(gappy.now_ms())
    told = len(gap_notices(gappy))
    assert told > 0
    gappy.world.now_ms += 60_000
    assert proof_of(gappy).look(gappy.now_ms()), "a new process knows nothing and proves again"
    assert len(gap_notices(gappy)) == told, "but the heart knows this night's command"


def test_what_failed_is_tried_again(gappy):
    calls = []

    def prove(days: int) -> dict[str, Any]:
        calls.append(days)
        if len(calls) == 1:
            raise OSError("the disk is away")
        return gappy.rota_coverage(days=days)

    proof = NightlyProof(lambda: gappy.config, prove, gappy.submit)
    with pytest.raises(OSError, match="disk"):
        proof.look(local(2.0))
    assert proof.look(local(2.1))
    assert calls == [PROVE_DAYS, PROVE_DAYS]


def test_a_whole_rota_tells_nobody(port):
    whole = {"is_whole": True, "gaps": [], "gaps_in_all": 0}
    proof = NightlyProof(lambda: port.config, lambda _days: whole, port.submit)
    assert proof.look(local(2.0))
    assert not port.commands


# ── a citizen's contact ─────────────────────────────────────────────────────────────────────────


def reported(port: RotaPort) -> str:
    body = {"site": "mill", "cause": "smell", "level": "blue", "contact": CONTACT, "note": "it smells"}
    made = port.client().post("/api/v1/orders", json=body, headers=as_("duty"))
    assert made.status_code == 200, made.json()
    return str(made.json()["subject"])


def test_every_view_masks_the_contact(port):
    number = reported(port)
    client = port.client()
    for path in (f"/api/v1/orders/{number}", "/api/v1/orders", "/api/v1/events"):
        for who in ("viewer", "duty", "lead"):
            text = client.get(path, headers=as_(who)).text
            assert "12345678" not in text
    assert "138****5678" in client.get(f"/api/v1/orders/{number}").text


def test_the_contact_is_shown_to_who_may_see_it_and_the_look_is_on_record(port):
    number = reported(port)
    path = f"/api/v1/orders/{number}/contact"
    assert port.client().post(path, json={"reason": "x"}).status_code == 401
    refused = port.client().post(path, json={"reason": "curious"}, headers=as_("viewer"))
    assert refused.status_code == 403
    assert "contacts" not in refused.json()
    assert port.client().post(path, json={}, headers=as_("duty")).status_code == 422
    shown = port.client().post(path, json={"reason": "call back"}, headers=as_("duty"))
    assert shown.json()["contacts"] == [CONTACT]
    assert shown.headers["cache-control"] == "no-store"
    lines = port.client().get("/api/v1/events", params={"subject": number}).json()
    assert [(e["kind"], e["actor"]) for e in lines if e["kind"] == "contact_seen"] == [("contact_seen", "dan")]


def test_after_it_was_erased_nobody_sees_it(port):
    number = reported(port)
    done = port.client().post(f"/api/v1/orders/{number}/forget", json={"reason": "he asks"}, headers=as_("lead"))
    assert done.status_code == 200, done.json()
    shown = port.client().post(f"/api/v1/orders/{number}/contact", json={"reason": "x"}, headers=as_("duty"))
    assert shown.status_code == 409
    ledger = port.ledger
    assert isinstance(ledger, Ledger)
    order = ledger.order(number)
    assert order is not None
    assert "contact" not in order.data["intake"]
