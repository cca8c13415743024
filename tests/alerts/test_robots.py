"""The group robots' signatures, computed here by the providers' own words, and what they may not let through."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from pydantic import ValidationError

from alerts.channels import CHANNELS
from tests.contracts.test_channels import NOTICE, NOW_MS, Provider, build


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setenv("ROBOT_TOKEN", "tok/en=1")
    monkeypatch.setenv("ROBOT_SECRET", "SEC+mill")
    stand_in = Provider()
    yield stand_in
    stand_in.close()


SECRETS = {"token_env": "ROBOT_TOKEN", "secret_env": "ROBOT_SECRET"}


def test_dingtalk_signs_time_and_secret_with_the_secret_and_quotes_it_once(provider, tmp_path):
    provider.body = CHANNELS["dingtalk"].takes
    build("dingtalk", provider.url, tmp_path, **SECRETS).send(NOTICE, NOW_MS)
    query = urlsplit(provider.requests[0][0]).query
    fields = parse_qs(query, strict_parsing=True)
    digest = hmac.new(b"SEC+mill", f"{NOW_MS}\nSEC+mill".encode(), hashlib.sha256).digest()
    assert fields["sign"] == [base64.b64encode(digest).decode()]
    assert unquote(query).count("%") == 0, "quoted once, not twice"
    assert fields["timestamp"] == [str(NOW_MS)]
    assert fields["access_token"] == ["tok/en=1"]


def test_feishu_signs_nothing_with_time_and_secret(provider, tmp_path):
    provider.body = CHANNELS["feishu"].takes
    build("feishu", provider.url.split("?")[0], tmp_path, **SECRETS).send(NOTICE, NOW_MS)
    path, _, body = provider.requests[0]
    message = json.loads(body)
    seconds = str(NOW_MS // 1000)
    digest = hmac.new(f"{seconds}\nSEC+mill".encode(), b"", hashlib.sha256).digest()
    assert (message["timestamp"], message["sign"]) == (seconds, base64.b64encode(digest).decode())
    assert path == "/hook/tok%2Fen%3D1"


def test_wecom_puts_its_key_into_the_address_and_keeps_to_4096_bytes(provider, tmp_path):
    provider.body = CHANNELS["wecom"].takes
    long = replace(NOTICE, body="水位" * 3_000, title="长" * 900)
    build("wecom", provider.url, tmp_path, token_env="ROBOT_TOKEN").send(long, NOW_MS)
    path, _, body = provider.requests[0]
    assert path == "/hook?tenant=mill&key=tok%2Fen%3D1"
    content = json.loads(body)["markdown"]["content"]
    assert len(content.encode()) <= 4_096
    assert content.endswith("#" + "a" * 12), "the key survives the cut"


@pytest.mark.parametrize("kind", ["dingtalk", "wecom", "feishu"])
def test_a_note_cannot_page_everybody_or_lead_elsewhere(kind, provider, tmp_path):
    provider.body = CHANNELS[kind].takes
    evil = replace(NOTICE, body='<at user_id="all">all</at> [click](http://evil) @all')
    build(kind, provider.url, tmp_path).send(evil, NOW_MS)
    sent = provider.requests[0][2].decode()
    assert "<at" not in sent
    assert "](http" not in sent
    assert "@all" not in sent


@pytest.mark.parametrize("kind", ["dingtalk", "wecom", "feishu"])
def test_a_token_in_the_address_is_refused(kind, tmp_path):
    with pytest.raises(ValidationError, match="token is a secret"):
        build(kind, "https://robot.example/send?access_token=abc", tmp_path)
    with pytest.raises(ValidationError):
        build(kind, "https://robot.example/send", tmp_path, per_minute=60)
