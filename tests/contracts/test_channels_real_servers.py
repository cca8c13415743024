"""Channels against servers that behave as the real ones do: blocks, broken connections, answers without an end."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import replace
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError

from alerts.channels import CHANNELS, Letter
from alerts.channels.apprise_service import MISSING
from citypulse.clock import monotonic_s
from citypulse.errors import DeliveryError
from citypulse.model import Person, Text
from tests.contracts.test_channels import NOTICE, NOW_MS, Provider, build
from tests.support.robot import BREAKS, CLOSES_HALF, DRIPS, FLOODS, MUTE, REFUSES, RESETS, RobotServer

ROBOTS = ["dingtalk", "feishu", "wecom"]
LETTER = Letter(**{f: getattr(NOTICE, f) for f in NOTICE.__slots__}, link="https://city.example/k/abc.def", code="27")


@pytest.fixture
def serve():
    made = []

    def start(kind, **more):
        made.append(RobotServer(kind, **more))
        return made[-1]

    yield start
    for server in made:
        server.close()


@pytest.fixture
def provider():
    stand_in = Provider()
    yield stand_in
    stand_in.close()


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_robot_that_blocks_says_how_long_to_leave_it_alone_and_that_nothing_was_taken(kind, serve, tmp_path):
    server = serve(kind, per_minute=2)
    channel = build(kind, server.url, tmp_path)
    for _ in range(2):
        assert channel.send(NOTICE, NOW_MS) == "0"
    with pytest.raises(DeliveryError) as caught:
        channel.send(NOTICE, NOW_MS)
    error = caught.value
    assert (error.permanent, error.may_be_taken, error.wait_s) == (False, False, 60.0)
    assert error.provider_code in {"130101", "45009", "11232"}


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_refusal_in_a_200_was_surely_not_taken(kind, serve, tmp_path):
    server = serve(kind, mood=lambda _t: REFUSES)
    with pytest.raises(DeliveryError) as caught:
        build(kind, server.url, tmp_path).send(NOTICE, NOW_MS)
    assert (caught.value.permanent, caught.value.may_be_taken) == (True, False)
    assert caught.value.provider_code in {"310000", "93000", "19021"}


@pytest.mark.parametrize("kind", [*ROBOTS, "webhook"])
@pytest.mark.parametrize("trouble", [RESETS, CLOSES_HALF, MUTE, DRIPS])
def test_when_no_whole_answer_came_it_may_have_been_taken(kind, trouble, serve, tmp_path):
    server = serve(kind, mood=lambda _t: trouble)
    began = monotonic_s()
    with pytest.raises(DeliveryError) as caught:
        build(kind, server.url, tmp_path, timeout_s=0.4).send(NOTICE, NOW_MS)
    assert (caught.value.permanent, caught.value.may_be_taken) == (False, True)
    assert caught.value.provider_code == "no-answer"
    assert monotonic_s() - began < 3.0


@pytest.mark.parametrize("kind", ROBOTS)
def test_half_an_answer_is_none(kind, serve, tmp_path):
    server = serve(kind, mood=lambda _t: BREAKS)
    with pytest.raises(DeliveryError) as caught:
        build(kind, server.url, tmp_path).send(NOTICE, NOW_MS)
    assert (caught.value.permanent, caught.value.may_be_taken, caught.value.provider_code) == (False, True, "?")


@pytest.mark.parametrize("kind", [*ROBOTS, "webhook"])
def test_an_answer_without_an_end_costs_neither_memory_nor_time(kind, serve, tmp_path):
    server = serve(kind, mood=lambda _t: FLOODS)
    with pytest.raises(DeliveryError, match="larger") as caught:
        build(kind, server.url, tmp_path).send(NOTICE, NOW_MS)
    assert caught.value.may_be_taken


@pytest.mark.parametrize("kind", [*ROBOTS, "webhook", "sms", "voice"])
def test_where_nobody_listens_nothing_was_taken(kind, serve, tmp_path):
    server = serve("webhook")
    server.close()
    with pytest.raises(DeliveryError) as caught:
        build(kind, server.url, tmp_path).send(NOTICE, NOW_MS)
    assert (caught.value.provider_code, caught.value.may_be_taken) == ("no-connection", False)


def test_retry_after_is_believed_within_ten_minutes(serve, provider, tmp_path):
    server = serve("webhook", per_minute=0)
    with pytest.raises(DeliveryError) as caught:
        build("webhook", server.url, tmp_path).send(NOTICE, NOW_MS)
    assert caught.value.wait_s == 30.0
    for said, waits in (("99999999", 60.0), ("7200", 600.0), ("Wed, 21 Oct", 60.0), ("-5", 60.0)):
        provider.status, provider.headers = 429, {"Retry-After": said}
        with pytest.raises(DeliveryError) as caught:
            build("webhook", provider.url, tmp_path).send(NOTICE, NOW_MS)
        assert caught.value.wait_s == waits


@pytest.mark.parametrize("kind", [*ROBOTS, "sms"])
def test_the_link_that_acknowledges_survives_the_longest_words(kind, provider, tmp_path):
    provider.body = CHANNELS[kind].takes
    build(kind, provider.url, tmp_path).send(replace(LETTER, body="水位" * 9_000, title="长" * 600), NOW_MS)
    body = provider.requests[0][2].decode()
    assert LETTER.link in body
    assert LETTER.idem_key[:12] in body


# SMS and voice gateways


def test_a_persons_own_number_is_called_and_a_team_is_one_request_for_each_of_its_numbers(provider, tmp_path):
    provider.body = CHANNELS["sms"].takes
    channel = build("sms", provider.url, tmp_path, to=["13800000009"], teams={"pumps": ["13700000001"]})
    ada = Person(id="ada", name=Text(zh="阿达", en="Ada"), role="duty", teams=("desk",), contacts=(("phone", "1381"),))
    bo = Person(id="bo", name=Text(zh="波", en="Bo"), role="duty", teams=("desk",), contacts=(("mail", "bo@x.cn"),))
    channel.people = {"ada": ada, "bo": bo}
    for target in ("ada", "desk", "pumps"):
        channel.send(replace(NOTICE, target=target), NOW_MS)
    assert [json.loads(r[2])["to"] for r in provider.requests] == ["1381", "1381", "13800000009", "13700000001"]
    assert not channel.can_reach("bo")
    with pytest.raises(DeliveryError, match="no telephone number") as caught:
        channel.send(replace(NOTICE, target="bo"), NOW_MS)
    assert caught.value.permanent


def test_a_gateways_own_words_are_configuration(provider, monkeypatch, tmp_path):
    monkeypatch.setenv("SMS_KEY", "s3cret")
    monkeypatch.setenv("SMS_APP", "app-7")
    provider.body = b'{"result":{"status":["OK"]}}'
    channel = build(
        "sms", provider.url, tmp_path, form="form", secret_env="SMS_KEY",
        template={"mobile": "{to}", "param": {"name": "{title}", "code": "{code}"}, "sign": "城脉"},
        headers={"X-Sign": "k={secret}"}, headers_env={"X-App": "SMS_APP"},
        success="result.status.0", success_values=["OK"],
    )  # fmt: skip
    assert channel.send(replace(LETTER, title='a"}{secret}&x=1'), NOW_MS) == "OK"
    _, headers, body = provider.requests[-1]
    form = parse_qs(body.decode(), strict_parsing=True)
    assert form["mobile"] == ["13800000001"]
    assert json.loads(form["param"][0]) == {"name": 'a"}{secret}&x=1', "code": "27"}, "a field is never filled again"
    assert "x" not in form
    assert (headers["X-Sign"], headers["X-App"]) == ("k=s3cret", "app-7")


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://host/{to}"},
        {"template": {"to": "{nobody}"}},
        {"headers": {"X y": "1"}},
        {"headers": {"X": "a\r\nY: b"}},
        {"to": ["call me"]},
        {"method": "GET"},
        {"inbound_secret_env": "A", "inbound_secret_file": "b"},
        {"per_minute": 0},
    ],
)
def test_a_gateway_that_cannot_work_is_refused_at_configuration(wrong, tmp_path):
    with pytest.raises(ValidationError):
        build("sms", "http://127.0.0.1:9/", tmp_path, **wrong)


def test_an_sms_offers_its_code_only_when_it_has_one(provider, tmp_path):
    provider.body = CHANNELS["sms"].takes
    channel = build("sms", provider.url, tmp_path)
    channel.send(LETTER, NOW_MS)
    channel.send(NOTICE, NOW_MS)
    first, second = (json.loads(r[2])["text"] for r in provider.requests)
    assert "回复271确认" in first
    assert "回复" not in second
    assert len(first) <= 300


# Apprise, the optional extra


def test_without_the_library_a_notice_waits_and_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryError) as caught:
        build("apprise", "", tmp_path).send(NOTICE, NOW_MS)
    assert str(caught.value) == MISSING
    assert not caught.value.permanent


class Service:
    """What the library's own object does, as far as it is used."""

    def __init__(self, **_):
        self.said = []

    def add(self, address):
        return not address.startswith("nonsense")

    def notify(self, **words):
        self.said.append(words)
        return "fails" not in words["title"]


@pytest.mark.parametrize(
    ("address", "title", "wrong"),
    [
        ("json://127.0.0.1/", "fine", ""),
        ("json://127.0.0.1/", "fails", "was not sent"),
        ("nonsense://", "fine", "does not understand"),
        ("dingtalk://token", "fine", "kind of its own"),
        ("file:///etc/passwd", "fine", "not allowed"),
    ],
)
def test_apprise_is_handed_only_what_leaves_the_house_and_has_no_adapter(address, title, wrong, monkeypatch, tmp_path):
    library = types.SimpleNamespace(
        Apprise=lambda asset: Service(), AppriseAsset=dict, NotifyType=types.SimpleNamespace(FAILURE=1, INFO=2)
    )
    monkeypatch.setitem(sys.modules, "apprise", library)
    monkeypatch.setenv("CITYPULSE_APPRISE_ADDRESS", address)
    channel = build("apprise", "", tmp_path)
    if not wrong:
        assert channel.send(replace(NOTICE, title=title), NOW_MS) == "sent"
        return
    with pytest.raises(DeliveryError, match=wrong):
        channel.send(replace(NOTICE, title=title), NOW_MS)
