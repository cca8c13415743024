"""A plain phone answers by SMS: `<code>1` acknowledges exactly the alarm that code was given for, for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.channels.gateway import digits
from alerts.delivery.replies import Reply, parse
from citypulse.ledger import Ledger
from tests.alerts.cast import RED
from tests.console.desk_port import Port

PHONE = "13800000001"


@pytest.fixture
def port(tmp_path, monkeypatch):
    monkeypatch.setenv("SMS_IN", "inbound-secret")
    made = Port(tmp_path)
    yield made
    made.close()


def called(port, phone=PHONE, target="ada"):
    port.commit(port.world.raises("well.ch4", RED, "gas"))
    alarm = port.world.alarm("gas|well.ch4")
    return port.ledger.reply_codes.code_for([phone], alarm.id, target, port.now_ms())


def say(port, text, phone="+86 138 0000 0001", **more):
    headers = {"Authorization": "Bearer inbound-secret"} | more.pop("headers", {})
    return port.client().post("/in/phone", json={"phone": phone, "text": text}, headers=headers)


def test_the_code_and_one_acknowledges_as_the_person_whose_number_it_is(port):
    answer = say(port, f"{called(port)}1")
    assert answer.json()["ok"], answer.text
    alarm = port.world.alarm("gas|well.ch4")
    assert (alarm.is_acked, alarm.acked_by) == (True, "ada")


def test_the_code_and_nought_takes_it_back(port):
    code = called(port)
    say(port, f"{code}1")
    assert say(port, f"{code}0").json()["ok"]
    assert not port.world.alarm("gas|well.ch4").is_acked


def test_a_gateway_that_delivers_an_answer_twice_asks_once(port):
    code = called(port)
    assert say(port, f"{code}1").json() == say(port, f"{code}1").json()
    kinds = [r.event.kind for r in port.ledger.events(subject=port.world.alarm("gas|well.ch4").id)]
    assert kinds.count("acknowledged") == 1


def test_a_number_that_is_nobodys_answers_for_the_team_that_was_called(port):
    code = called(port, "13911112222", "desk")
    say(port, f"{code}1", "13911112222")
    assert port.world.alarm("gas|well.ch4").acked_by == "desk 139****2222"


def test_a_code_means_nothing_from_another_phone(port):
    code = called(port)
    answer = say(port, f"{code}1", "13900000009").json()
    assert (answer["ok"], answer["code"]) == (False, "not_understood")
    assert not port.commands


def test_an_old_code_never_reaches_the_next_occurrence(port):
    code = called(port)
    say(port, f"{code}1")
    port.commit(port.world.clears("well.ch4", "gas"))
    from tests.console.test_links import _ack

    port.submit(replace(_ack(port), id="r", verb="alarm.reset", data={"reason": "aired"}))
    port.world.now_ms += 3_600_000
    again = called(port)
    assert again != code
    assert not say(port, f"{code}1").json()["ok"]
    assert not port.world.alarm("gas|well.ch4").is_acked


@pytest.mark.parametrize("text", ["", "1", "ok", "27", "271 1 0", "abc1", "-11", "9" * 400, "１\n"])
def test_what_is_not_understood_says_how_to_answer(port, text):
    called(port)
    answer = say(port, text)
    assert answer.status_code == 200
    assert not answer.json()["ok"]
    assert not port.world.alarm("gas|well.ch4").is_acked


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, {"Authorization": ""}])
def test_without_the_secret_nothing_is_read(port, headers):
    assert say(port, f"{called(port)}1", headers=headers).status_code == 401
    assert not port.commands


def test_a_channel_that_takes_no_answers_and_one_that_is_not_there_look_the_same(port):
    client = port.client()
    headers = {"X-Citypulse-Secret": "inbound-secret"}
    board, none = (client.post(f"/in/{name}", json={}, headers=headers) for name in ("board", "nowhere"))
    assert (board.status_code, board.json()) == (none.status_code, none.json())
    assert board.status_code == 401


def test_guessing_the_secret_is_slowed_down(port):
    client = port.client()
    answers = [client.post("/in/phone", headers={"X-Citypulse-Secret": str(n)}).status_code for n in range(20)]
    assert answers.count(401) == 10
    assert answers.count(429) == 10


def test_a_form_is_understood_as_well_as_json(port):
    code = called(port)
    answer = port.client().post(
        "/in/phone", data={"phone": PHONE, "text": f"{code}1"}, headers={"X-Citypulse-Secret": "inbound-secret"}
    )
    assert answer.json()["ok"]


def test_a_body_without_a_number_is_refused(port):
    headers = {"Authorization": "Bearer inbound-secret", "Content-Type": "application/json"}
    for body in (b"", b"[]", b"{", b"x" * 100_000):
        assert port.client().post("/in/phone", content=body, headers=headers).status_code == 400


@given(st.integers(1, 10**9), st.sampled_from("10"), st.sampled_from(["", " ", "  ", ","]))
def test_every_code_can_be_answered(code, verb, between):
    assert parse(f"{code}{between}{verb}") == Reply(code=code, verb={"1": "acknowledge", "0": "unacknowledge"}[verb])


@given(st.text(max_size=40))
def test_no_text_breaks_the_reading(text):
    found = parse(text)
    assert found is None or found.code >= 0


def test_full_width_digits_are_digits():
    assert parse("２７１") == Reply(code=27, verb="acknowledge")


@pytest.mark.parametrize("number", ["13800000001", "+8613800000001", "8613800000001", "0086 138-0000-0001"])
def test_one_telephone_number_in_its_many_forms(number):
    assert digits(number) == PHONE


# codes in the ledger


@given(
    steps=st.lists(
        st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), st.integers(0, 5)),
        max_size=25,
    )
)
def test_a_code_never_means_two_alarms_on_one_phone(tmp_path_factory, steps):
    ledger = Ledger.open(tmp_path_factory.mktemp("codes"))
    meant = {}
    for phones, subject in steps:
        code = ledger.reply_codes.code_for(phones, f"alarm-{subject}", "desk", 0)
        for phone in phones:
            assert meant.setdefault((phone, code), subject) == subject
            assert ledger.reply_codes.find(phone, code).subject == f"alarm-{subject}"
    ledger.close()


def test_forgetting_old_codes_frees_none_of_them(tmp_path):
    ledger = Ledger.open(tmp_path)
    codes = ledger.reply_codes
    assert [codes.code_for([PHONE], f"alarm-{n}", "desk", n) for n in range(3)] == [1, 2, 3]
    assert codes.code_for([PHONE], "alarm-1", "desk", 9) == 2, "the same alarm keeps its code"
    assert codes.prune(before_ms=10) == 3
    assert codes.find(PHONE, 2) is None
    ledger.close()
    ledger = Ledger.open(tmp_path)
    assert ledger.reply_codes.code_for([PHONE], "alarm-9", "desk", 20) == 4
    ledger.close()
