"""Signed links: one tap on a phone acknowledges one alarm, as one person, until they expire. Pure but for the secret.

A link names the alarm (whose id is of one occurrence only), the level it was called with and who was called. It is
signed with HMAC-SHA256, so it can neither be made up nor be changed into another; nothing is kept about it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from citypulse.errors import CityError
from citypulse.model import Notice, NoticeKind, Priority

SECRET_ENV: Final = "CITYPULSE_LINK_SECRET"  # noqa: S105 - the name of a variable
SECRET_FILE: Final = "links.key"  # noqa: S105 - the name of a file
SECRET_CHARS_MIN: Final = 32
TOKEN_CHARS_MAX: Final = 400
LASTS_MS: Final = 24 * 3_600_000  # a shift and the next one; after that the board is the place
PATH: Final = "/k/"
CALLS: Final = frozenset({NoticeKind.RAISED, NoticeKind.WORSENED, NoticeKind.REMINDER})


class LinkError(CityError):
    """A link that opens nothing: `reason` is forged (never ours) or expired (once ours)."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        self.reason = reason
        super().__init__(f"this link is {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a link says: for whom, about which occurrence, at which level it was called, until when."""

    alarm: str
    target: str
    level: Priority
    rev: int
    expires_ms: int


class Signer:
    """Makes and reads links with one secret."""

    def __init__(self, secret: bytes, public_url: str = "") -> None:
        """`public_url` is the console's address as phones see it; without it no links are written."""
        self._secret = secret
        self.public_url = public_url.rstrip("/")

    @classmethod
    def at(cls, data_dir: Path, public_url: str = "") -> Signer:
        """Take the secret from $CITYPULSE_LINK_SECRET, or from DATA/links.key, made at the first start (mode 0600)."""
        return cls(load_secret(data_dir), public_url)

    def token(self, link: Link) -> str:
        """Return the link's token: the same words give the same token, so that a repeat is a repeat."""
        said = json.dumps([link.alarm, link.target, int(link.level), link.rev, link.expires_ms], separators=(",", ":"))
        body = _b64(said.encode())
        return f"{body}.{self._sign(body)}"

    def read(self, token: str, now_ms: int) -> Link:
        """Return what a token says. Raises LinkError when it was not made here or is over."""
        body, dot, signature = token.partition(".")
        if len(token) > TOKEN_CHARS_MAX or not dot or not token.isascii():
            raise LinkError("forged")
        if not hmac.compare_digest(signature, self._sign(body)):
            raise LinkError("forged")
        alarm, target, level, rev, expires_ms = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if now_ms >= expires_ms:
            raise LinkError("expired")
        return Link(alarm=alarm, target=target, level=Priority(level), rev=rev, expires_ms=expires_ms)

    def url_for(self, notice: Notice) -> str:
        """Return the address that acknowledges what a notice calls for; "" when it calls for nothing, or no address."""
        if not self.public_url or notice.subject_kind != "alarm" or notice.kind not in CALLS:
            return ""
        link = Link(
            alarm=notice.subject,
            target=notice.target,
            level=notice.level,
            rev=notice.rev,
            expires_ms=notice.created_ms + LASTS_MS,
        )
        return f"{self.public_url}{PATH}{self.token(link)}"

    def _sign(self, body: str) -> str:
        return _b64(hmac.new(self._secret, b"ack-link." + body.encode(), hashlib.sha256).digest())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def load_secret(data_dir: Path) -> bytes:
    """Return the signing secret, made on first use. Raises CityError when it cannot be read or is too short."""
    given = os.environ.get(SECRET_ENV, "")
    if given:
        if len(given) < SECRET_CHARS_MIN:
            raise CityError(f"${SECRET_ENV} has {len(given)} characters; give it at least {SECRET_CHARS_MIN}")
        return given.encode()
    path = data_dir / SECRET_FILE
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        fresh = path.with_suffix(f".{os.getpid()}.new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # whole or not at all, and never over one that is there
        finally:
            fresh.unlink()
    try:
        found = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CityError(f"{path}: cannot be read ({error}); mend its owner, or remove it to have a new one") from None
    if len(found) < SECRET_CHARS_MIN:
        raise CityError(f"{path}: too short for a secret; remove it to have a new one made")
    return found.encode()
