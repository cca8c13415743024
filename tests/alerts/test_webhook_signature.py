"""The webhook's signature can be checked by the receiver, and its secret is found where it was said to be."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from pydantic import ValidationError

from citypulse.errors import DeliveryError
from tests.contracts.test_channels import NOTICE, NOW_MS, Provider, build


@pytest.fixture
def receiver():
    stand_in = Provider()
    yield stand_in
    stand_in.close()


@pytest.mark.parametrize("place", ["env", "file"])
def test_the_receiver_can_verify_the_signature(place, receiver, tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "mill-wheel")
    (tmp_path / "secret").write_text("mill-wheel\n")
    where = {"secret_env": "HOOK_SECRET"} if place == "env" else {"secret_file": str(tmp_path / "secret")}
    build("webhook", receiver.url, tmp_path, **where).send(NOTICE, NOW_MS)
    path, headers, body = receiver.requests[0]
    signed = headers["X-Citypulse-Timestamp"].encode() + b"." + body
    expected = "sha256=" + hmac.new(b"mill-wheel", signed, hashlib.sha256).hexdigest()
    assert headers["X-Citypulse-Signature"] == expected
    assert headers["Idempotency-Key"] == NOTICE.idem_key
    assert path == "/hook?tenant=mill"


def test_without_a_secret_nothing_is_signed(receiver, tmp_path):
    build("webhook", receiver.url, tmp_path).send(NOTICE, NOW_MS)
    assert "X-Citypulse-Signature" not in receiver.requests[0][1]


def test_a_secret_that_is_missing_stops_the_sending_until_it_is_there(receiver, tmp_path, monkeypatch):
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(DeliveryError, match="HOOK_SECRET is not set") as caught:
        build("webhook", receiver.url, tmp_path, secret_env="HOOK_SECRET").send(NOTICE, NOW_MS)
    assert not caught.value.permanent
    assert not receiver.requests


def test_a_secret_has_one_place(tmp_path):
    with pytest.raises(ValidationError, match="not both"):
        build("webhook", "http://host/", tmp_path, secret_env="A", secret_file="b")
