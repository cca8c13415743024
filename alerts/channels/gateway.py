"""What SMS and voice gateways share: one HTTP request made from a template, and an answer that is looked into.

Gateways differ only in the words of their requests, so a new one is configuration: address, headers and a body in which
`{to}`, `{text}` and the like stand for what a notice says. Values go into a JSON or form body as data, never as
markup: no name of a street can break out of its field. The address itself takes no fields.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, ClassVar, Final, Literal, Self
from urllib.parse import urlencode

from pydantic import Field, field_validator, model_validator

from citypulse.errors import DeliveryError
from citypulse.model import PART, Notice

from .channel import Channel, ChannelSettings, Letter, SecretSettings, read_secret
from .http import check_url, post
from .robot import KEY_DIGITS

FIELDS: Final = ("to", "text", "title", "body", "level", "colour", "code", "link", "key", "target", "secret")
NUMBERS_MAX: Final = 200  # people of one team who are told; more is a mistake of the configuration
_FIELD: Final = re.compile(r"\{(\w+)\}")
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class GatewaySettings(SecretSettings):
    """A gateway: where its requests go, what they look like, and how its answer says "taken".

    `{secret}` in headers and body is the secret of secret_env or secret_file; further headers whose values are secrets
    are named in `headers_env`. `success` is where the answer keeps its word, e.g. `data.code`, and `success_values`
    what it says when it has taken the message; `bad_number_values` what it says when the number is at fault and
    `unanswered_values` when nobody picked up: neither is the channel's own failure. `inbound_secret_*` guards the
    address for answers: /in/<channel>.
    """

    url: str = Field(max_length=2_000)
    method: Literal["POST", "PUT"] = "POST"
    headers: dict[str, str] = Field(default_factory=dict)
    headers_env: dict[str, str] = Field(default_factory=dict)
    form: Literal["json", "form"] = "json"
    template: dict[str, Any] = Field(default_factory=dict)
    success: str = ""
    success_values: tuple[str | int | bool, ...] = (0, "0", "ok", "OK", True)
    passing_values: tuple[str | int, ...] = ()
    throttled_values: tuple[str | int, ...] = ()
    bad_number_values: tuple[str | int, ...] = ()
    unanswered_values: tuple[str | int, ...] = ()
    to: tuple[str, ...] = ()
    teams: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    text_chars_max: int = Field(default=300, ge=20, le=2_000)
    timeout_s: float = Field(default=8.0, gt=0, le=30)
    inbound_secret_env: str = ""
    inbound_secret_file: str = ""
    inbound_phone: str = "phone"
    inbound_text: str = "text"

    @field_validator("url")
    @classmethod
    def _fit(cls, url: str) -> str:
        if _FIELD.search(url):
            raise ValueError("the address takes no {fields}: put them into the template")
        return check_url(url)

    @field_validator("to", "teams")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        listed = value if isinstance(value, tuple) else [n for numbers in value.values() for n in numbers]
        for number in listed:
            if not re.fullmatch(r"\+?[0-9][0-9 -]{2,24}", number):
                raise ValueError(f"not a telephone number: {number!r}")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.inbound_secret_env and self.inbound_secret_file:
            raise ValueError("give inbound_secret_env or inbound_secret_file, not both")
        for name, text in self.headers.items():
            if not _HEADER.fullmatch(name) or any(ord(c) < 32 or ord(c) > 126 for c in text):
                raise ValueError(f"header {name!r} has a name or value that HTTP cannot carry")
        for found in _FIELD.findall(json.dumps([self.template, self.headers], ensure_ascii=False)):
            if found not in FIELDS:
                raise ValueError(f"{{{found}}} is no field; there are {', '.join(FIELDS)}")
        return self

    def inbound_secret(self) -> str:
        """Read what an answering gateway has to know; "" when answers are not taken."""
        return read_secret(self.inbound_secret_env, self.inbound_secret_file)


def digits(number: str) -> str:
    """Return a telephone number without blanks, dashes and the Chinese country code, for comparing."""
    bare = re.sub(r"[ \-]", "", number)
    return re.sub(r"^(\+86|0086|86(?=1[0-9]{10}$))", "", bare)


class Gateway(Channel):
    """Sends by template. `default_template` is what is sent when the configuration gives none."""

    settings: ClassVar[type[ChannelSettings]] = GatewaySettings
    sample: ClassVar[dict[str, Any]] = {
        "url": "{url}",
        "to": ["13800000001"],
        "success": "code",
        "success_values": [0],
        "passing_values": [429, 500],
        "throttled_values": [429],
        "timeout_s": 1.0,
    }
    takes: ClassVar[bytes] = b'{"code":0,"id":"sms-77"}'
    refuses: ClassVar[tuple[tuple[bytes, bool, str], ...]] = (
        (b'{"code":160040,"msg":"number is on the black list"}', True, "160040"),
        (b'{"code":500,"msg":"busy"}', False, "500"),
        (b'{"code":429,"msg":"too many"}', False, "429"),
        (b'{"msg":"fine"}', False, "?"),
        (b"<html>log in</html>", False, "?"),
        (b"[]", False, "?"),
    )
    contact: ClassVar[str] = "phone"
    sends_each: ClassVar[bool] = True
    default_template: ClassVar[dict[str, Any]]

    @property
    def takes_answers(self) -> bool:
        """True when answers may come back, so that a code to answer with makes sense."""
        return bool(self._settings.inbound_secret_env or self._settings.inbound_secret_file)

    def words(self, notice: Notice) -> str:
        """Return what is sent: cut to size, with the code to answer with, the link and the notice's key at the end."""
        link, code = (notice.link, notice.code) if isinstance(notice, Letter) else ("", "")
        tail = (f" 回复{code}1确认 reply {code}1 to ack" if code else "") + (f" {link}" if link else "")
        tail += f" #{notice.idem_key[:KEY_DIGITS]}"
        head = " ".join(f"{notice.title}\n{notice.body}".split())
        room = max(20, self._settings.text_chars_max - len(tail))
        return (head if len(head) <= room else head[: room - 1] + "…") + tail

    def parts(self, target: str) -> tuple[str, ...]:
        """Return a target for each person of a team, at most NUMBERS_MAX."""
        return super().parts(target)[:NUMBERS_MAX]

    def send(self, notice: Notice, now_ms: int) -> str:  # noqa: ARG002 - nothing here is signed with the time
        """Make one request a number; return what the gateway calls the message, or its code.

        A team's notice comes split, with one number; where it is not (a digest for a whole team), it counts as sent
        when one number took it, and what the others said is in the code.
        """
        numbers = self.addresses(notice.target)[:NUMBERS_MAX]
        if not numbers:
            said = f"no telephone number is known for {notice.target}"
            raise DeliveryError(said, permanent=True, is_of_target=PART in notice.target)
        if len(numbers) == 1:
            return self._request(notice, numbers[0], notice.idem_key)
        took: list[str] = []
        last: DeliveryError | None = None
        for number in numbers:
            key = hashlib.sha256(f"{notice.idem_key}|{number}".encode()).hexdigest()
            try:
                took.append(self._request(notice, number, key))
            except DeliveryError as error:
                last = error
                if not error.permanent and not took:
                    raise  # the gateway itself: the other numbers wait for the next try
        if last is not None and not took:
            raise last
        return f"{took[0]} ({len(took)} of {len(numbers)})"

    def _request(self, notice: Notice, number: str, key: str) -> str:
        s = self._settings
        fields = self._fields(notice, number, key)
        message = _filled(s.template or self.default_template, fields)
        if s.form == "json":
            body, kind = json.dumps(message, ensure_ascii=False).encode(), "application/json; charset=utf-8"
        else:
            body, kind = urlencode(_flat(message)).encode(), "application/x-www-form-urlencoded; charset=utf-8"
        headers = {
            "Content-Type": kind,
            "Idempotency-Key": key,
            **{name: str(_filled(text, fields)) for name, text in s.headers.items()},
            **{name: read_secret(env, "") for name, env in s.headers_env.items()},
        }
        reply = post(s.url, body, headers, timeout_s=s.timeout_s, method=s.method)
        return self._judge(reply.status, reply.body)

    def _fields(self, notice: Notice, number: str, key: str) -> dict[str, str]:
        link, code = (notice.link, notice.code) if isinstance(notice, Letter) else ("", "")
        return {
            "to": number,
            "text": self.words(notice),
            "title": notice.title,
            "body": notice.body,
            "level": str(int(notice.level)),
            "colour": notice.level.colour_zh,
            "code": code,
            "link": link,
            "key": key,
            "target": notice.target,
            "secret": self._settings.secret(),
        }

    def _judge(self, status: int, body: bytes) -> str:
        s = self._settings
        if not s.success:
            return str(status)
        try:
            answer = json.loads(body)
            found: Any = answer
            for part in s.success.split("."):
                found = found[int(part)] if isinstance(found, list) else found[part]
        except (ValueError, TypeError, KeyError, IndexError, RecursionError):
            said = body[:200].decode("utf-8", "replace")
            raise DeliveryError(f"an answer without a code: {said!r}", permanent=False, provider_code="?") from None
        if not _is_in(found, s.success_values):
            is_throttled = _is_in(found, s.throttled_values)
            is_of_target = _is_in(found, (*s.bad_number_values, *s.unanswered_values))
            raise DeliveryError(
                f"code {found}: {json.dumps(answer, ensure_ascii=False)[:300]}",
                permanent=not (is_throttled or _is_in(found, s.passing_values)),
                provider_code=str(found)[:80],
                wait_s=60.0 if is_throttled else 0.0,
                may_be_taken=False,
                is_of_target=is_of_target,
            )
        name = answer.get("id") if isinstance(answer, dict) else None
        return str(name or found)[:80]


def _is_in(value: Any, values: tuple[Any, ...]) -> bool:
    return any(type(value) is type(one) and value == one for one in values)


def _filled(value: Any, fields: dict[str, str]) -> Any:
    """Put the fields into every text of a template; what stands in a field is never looked at again."""
    if isinstance(value, str):
        return _FIELD.sub(lambda m: fields.get(m[1], m[0]), value)
    if isinstance(value, dict):
        return {k: _filled(v, fields) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, fields) for v in value]
    return value


def _flat(message: dict[str, Any]) -> dict[str, str]:
    return {
        k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, separators=(",", ":"))
        for k, v in message.items()
    }


def masked(number: str) -> str:
    """Return a telephone number as records may show it: 138****0001."""
    bare = digits(number)
    return f"{bare[:3]}****{bare[-4:]}" if len(bare) >= 8 else f"#{hashlib.sha256(bare.encode()).hexdigest()[:8]}"
