"""What every channel must keep, tried on each entry of CHANNELS against a real local server (or file)."""

from __future__ import annotations

import email
import email.policy
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from alerts.channels import CHANNELS, Channel
from citypulse.clock import monotonic_s
from citypulse.errors import DeliveryError
from citypulse.model import Notice, NoticeKind, Priority

NOW_MS = 1_795_312_800_000
NOTICE = Notice(
    idem_key="a" * 64,
    subject="alarm-1",
    subject_kind="alarm",
    rev=3,
    kind=NoticeKind.RAISED,
    step=0,
    channel="phone",
    target="desk",
    level=Priority.P1,
    title="【红1级】告警 磨坊桥 下穿积水 · red alarm: Mill Bridge, underpass water depth",
    body="31 cm ≥ 27 cm\n「请封路」· close the road 🚧",
    reason="route r1 (sensors.yaml:9)",
    created_ms=NOW_MS,
    not_before_ms=NOW_MS,
)


class Provider:
    """A stand-in for the provider's server: answers as told, remembers what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        self.drip_s = 0.0  # pause between the bytes of the answer
        self.is_mute = False  # takes the request and never answers
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.let_go = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length", "0"))
                provider.requests.append((self.path, dict(self.headers), self.rfile.read(size)))
                if provider.is_mute:
                    provider.let_go.wait(10)
                    return
                self.send_response(provider.status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(provider.body)))
                self.end_headers()
                try:
                    if not provider.drip_s:
                        self.wfile.write(provider.body)
                        return
                    for byte in provider.body:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        if provider.let_go.wait(provider.drip_s):
                            return
                except OSError:
                    return  # the client has hung up, which is what it is tested for

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?tenant=mill"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    stand_in = Provider()
    yield stand_in
    stand_in.close()


def build(kind: str, url: str, data_dir: Path, /, **more: Any) -> Channel:
    channel = CHANNELS[kind]
    port = str(urlsplit(url).port or 2525)
    sample = {
        k: v.replace("{url}", url).replace("{port}", port) if isinstance(v, str) else v
        for k, v in channel.sample.items()
    }
    return channel(channel.settings.model_validate(sample | more), data_dir)


class PostOffice:
    """A stand-in mail server: speaks just enough SMTP, answers DATA as told, remembers the mails."""

    def __init__(self) -> None:
        self.answer = b"250 taken"
        self.rcpt = b"250 ok"
        self.is_mute = False
        self.mails: list[bytes] = []
        self.let_go = threading.Event()
        office = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text: bytes) -> None:
                self.wfile.write(text + b"\r\n")

            def handle(self) -> None:
                if office.is_mute:
                    office.let_go.wait(10)
                    return
                self.say(b"220 mill")
                while line := self.rfile.readline():
                    word = line[:4].upper()
                    if word == b"DATA":
                        self.say(b"354 go on")
                        office.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                        self.say(office.answer)
                    elif word == b"RCPT":
                        self.say(office.rcpt)
                    elif word == b"QUIT":
                        self.say(b"221 bye")
                        return
                    else:
                        self.say(b"250 ok")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"smtp://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.let_go.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def post_office() -> Iterator[PostOffice]:
    stand_in = PostOffice()
    yield stand_in
    stand_in.close()


EVERY = sorted(CHANNELS)
OVER_HTTP = sorted(kind for kind, c in CHANNELS.items() if c.transport == "http")
BY_MAIL = sorted(kind for kind, c in CHANNELS.items() if c.transport == "smtp")
IN_FILES = sorted(kind for kind, c in CHANNELS.items() if c.transport == "file")


@pytest.mark.parametrize("kind", EVERY)
def test_its_sample_is_a_valid_configuration_and_unknown_keys_are_not(kind, tmp_path):
    channel = build(kind, "http://127.0.0.1:9/hook", tmp_path)
    assert isinstance(channel, Channel)
    with pytest.raises(ValidationError):
        build(kind, "http://127.0.0.1:9/hook", tmp_path, colour="red")


@pytest.mark.parametrize("kind", EVERY)
def test_no_secret_can_stand_in_its_settings(kind):
    words = ("secret", "token", "password", "key")
    names = [n for n in CHANNELS[kind].settings.model_fields if any(w in n for w in words)]
    assert all(n.endswith(("_env", "_file")) for n in names)


@pytest.mark.parametrize("kind", IN_FILES)
def test_a_notice_is_one_whole_json_line_per_send_and_carries_its_key(kind, tmp_path):
    channel = build(kind, "", tmp_path)
    first = channel.send(NOTICE, NOW_MS)
    second = channel.send(replace(NOTICE, idem_key="b" * 64), NOW_MS + 1)
    assert first != second
    lines = [json.loads(line) for f in tmp_path.iterdir() for line in f.read_text("utf-8").splitlines()]
    assert [line["idem_key"] for line in lines] == ["a" * 64, "b" * 64]
    assert lines[0]["body"] == NOTICE.body
    assert lines[0]["sent_ms"] == NOW_MS


@pytest.mark.parametrize("kind", IN_FILES)
def test_a_file_that_cannot_be_written_is_a_passing_failure(kind, tmp_path):
    (tmp_path / "in-the-way").write_text("")
    channel = build(kind, "", tmp_path / "in-the-way")
    with pytest.raises(DeliveryError) as caught:
        channel.send(NOTICE, NOW_MS)
    assert not caught.value.permanent


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_taken_notice_gives_the_providers_code_and_the_words_arrive_whole(kind, provider, tmp_path):
    provider.body = CHANNELS[kind].takes
    assert build(kind, provider.url, tmp_path).send(NOTICE, NOW_MS)
    (_, headers, body), *rest = provider.requests
    assert not rest
    assert headers["Content-Type"].startswith("application/json")
    sent = json.dumps(json.loads(body), ensure_ascii=False)
    assert "磨坊桥" in sent
    assert "🚧" in sent


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_repeat_is_recognisable_by_the_same_key(kind, provider, tmp_path):
    provider.body = CHANNELS[kind].takes
    channel = build(kind, provider.url, tmp_path)
    channel.send(NOTICE, NOW_MS)
    channel.send(NOTICE, NOW_MS + 60_000)
    for _, headers, body in provider.requests:
        assert NOTICE.idem_key in headers.get("Idempotency-Key", "") or NOTICE.idem_key[:12].encode() in body


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (401, True), (403, True), (404, True), (410, True), (413, True), (422, True),
     (408, False), (429, False), (500, False), (502, False), (503, False), (504, False)],
)  # fmt: skip
def test_it_tells_a_permanent_refusal_from_a_passing_one(kind, status, permanent, provider, tmp_path):
    provider.status, provider.body = status, b"no"
    with pytest.raises(DeliveryError) as caught:
        build(kind, provider.url, tmp_path).send(NOTICE, NOW_MS)
    assert caught.value.permanent is permanent
    assert caught.value.provider_code == str(status)


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_refusal_inside_a_200_is_a_refusal(kind, provider, tmp_path):
    for body, permanent, code in CHANNELS[kind].refuses:
        provider.body = body
        with pytest.raises(DeliveryError) as caught:
            build(kind, provider.url, tmp_path).send(NOTICE, NOW_MS)
        assert (caught.value.permanent, caught.value.provider_code) == (permanent, code), body


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_not_followed(kind, status, provider, tmp_path):
    provider.status, provider.headers = status, {"Location": provider.url}
    with pytest.raises(DeliveryError, match="redirect") as caught:
        build(kind, provider.url, tmp_path).send(NOTICE, NOW_MS)
    assert caught.value.permanent
    assert len(provider.requests) == 1


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("trouble", ["mute", "drip"])
def test_a_provider_that_stalls_costs_no_more_than_the_timeout(kind, trouble, provider, tmp_path):
    provider.is_mute = trouble == "mute"
    provider.drip_s = 0.1 if trouble == "drip" else 0.0
    provider.body = b" " * 600
    began = monotonic_s()
    with pytest.raises(DeliveryError) as caught:
        build(kind, provider.url, tmp_path, timeout_s=0.3).send(NOTICE, NOW_MS)
    assert not caught.value.permanent
    assert monotonic_s() - began < 2.0


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_an_endless_answer_is_cut_off(kind, provider, tmp_path):
    provider.body = b"x" * 200_000
    with pytest.raises(DeliveryError, match="larger"):
        build(kind, provider.url, tmp_path).send(NOTICE, NOW_MS)


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_nobody_listening_is_a_passing_failure(kind, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(DeliveryError) as caught:
        build(kind, f"http://127.0.0.1:{port}/hook", tmp_path).send(NOTICE, NOW_MS)
    assert not caught.value.permanent


NO_PLACES = ["file:///etc/passwd", "ftp://host/x", "gopher://host/", "//host/x", "http://", "host", "javascript:1"]
NO_PLACES += ["http://user:pw@host/", "http://host/\r\nX: y", "http://host:port/", "http://host/#top"]


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("url", NO_PLACES)
def test_addresses_that_are_no_place_to_post_to_are_refused_at_configuration(kind, url, tmp_path):
    with pytest.raises(ValidationError):
        build(kind, "", tmp_path, url=url)


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_an_enormous_notice_does_not_hang_the_channel(kind, provider, tmp_path):
    provider.body = CHANNELS[kind].takes
    huge = replace(NOTICE, body="水" * 300_000)
    try:
        code, permanent = build(kind, provider.url, tmp_path).send(huge, NOW_MS), True
    except DeliveryError as error:
        code, permanent = error.provider_code, error.permanent
    assert permanent, f"cut to size, or refused for good, but never tried again ({code})"


@pytest.mark.parametrize("kind", BY_MAIL)
def test_a_mail_carries_the_words_and_the_key(kind, post_office, tmp_path):
    assert build(kind, post_office.url, tmp_path).send(NOTICE, NOW_MS) == "250"
    mail = email.message_from_bytes(post_office.mails[0], policy=email.policy.default)
    assert mail["Subject"].startswith("【红1级】告警 磨坊桥")
    assert "🚧" in mail.get_content()
    assert NOTICE.idem_key in mail["Message-ID"]


@pytest.mark.parametrize("kind", BY_MAIL)
@pytest.mark.parametrize(
    ("answer", "permanent"), [(b"451 later", False), (b"452 full", False), (b"550 no", True), (b"554 spam", True)]
)
@pytest.mark.parametrize("at", ["answer", "rcpt"])
def test_mail_tells_a_permanent_refusal_from_a_passing_one(kind, at, answer, permanent, post_office, tmp_path):
    setattr(post_office, at, answer)
    with pytest.raises(DeliveryError) as caught:
        build(kind, post_office.url, tmp_path).send(NOTICE, NOW_MS)
    assert (caught.value.permanent, caught.value.provider_code) == (permanent, answer[:3].decode())


@pytest.mark.parametrize("kind", BY_MAIL)
def test_a_mail_server_that_stalls_or_is_away_is_a_passing_failure(kind, post_office, tmp_path):
    post_office.is_mute = True
    began = monotonic_s()
    with pytest.raises(DeliveryError) as caught:
        build(kind, post_office.url, tmp_path, timeout_s=0.3).send(NOTICE, NOW_MS)
    assert not caught.value.permanent
    assert monotonic_s() - began < 2.0


@pytest.mark.parametrize("kind", BY_MAIL)
def test_a_title_with_line_breaks_cannot_add_headers(kind, post_office, tmp_path):
    evil = replace(NOTICE, title="x\r\nBcc: everybody@example.org\r\n\r\nhello")
    build(kind, post_office.url, tmp_path).send(evil, NOW_MS)
    mail = email.message_from_bytes(post_office.mails[0], policy=email.policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"] == "x Bcc: everybody@example.org hello"
