"""The mail channel: plain text by SMTP, with a Message-ID made of the notice's key, so that a repeat threads as one."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import threading
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from citypulse.clock import utc
from citypulse.errors import DeliveryError
from citypulse.model import Notice, Priority

from .channel import Channel, ChannelSettings, Letter, read_secret

ADDRESS = r"^[^\s@<>,;]{1,64}@[^\s@<>,;]{1,255}$"


class MailSettings(ChannelSettings):
    """A mail server, a sender, and who reads: persons by their own address, of a team its members and `to`.

    `teams` names the readers of some teams in their stead.
    """

    host: str = Field(min_length=1, max_length=255)
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_env: str = ""
    password_file: str = ""
    sender: str = Field(pattern=ADDRESS)
    to: tuple[str, ...] = ()
    teams: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    timeout_s: float = Field(default=15.0, gt=0, le=30)

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.password_env and self.password_file:
            raise ValueError("give password_env or password_file, not both")
        everybody = [*self.to, *(a for team in self.teams.values() for a in team)]
        if wrong := [a for a in everybody if "@" not in a or any(c in a for c in " \r\n<>,;")]:
            raise ValueError(f"not a mail address: {wrong[0]!r}")
        if self.user and self.security == "none":
            raise ValueError("a password is never sent in the clear: use starttls or tls")
        return self


class MailChannel(Channel):
    """Sends one mail per notice to all readers of its team."""

    settings = MailSettings
    sample: ClassVar[dict[str, Any]] = {
        "host": "127.0.0.1",
        "port": "{port}",
        "security": "none",
        "sender": "city@mill.example",
        "to": ["duty@mill.example"],
        "timeout_s": 1.0,
    }
    transport: ClassVar[str] = "smtp"
    contact: ClassVar[str] = "mail"

    def send(self, notice: Notice, now_ms: int) -> str:
        """Send the mail; return the server's last answer code."""
        s = self._settings
        readers = self.addresses(notice.target)
        if not readers:
            raise DeliveryError(f"nobody reads mail for {notice.target}", permanent=True)
        password = read_secret(s.password_env, s.password_file)
        cut: list[threading.Timer] = []
        try:
            with self._server() as server:
                cut.append(_deadline(server, s.timeout_s))
                if s.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if s.user:
                    server.login(s.user, password)
                refused = server.send_message(_mail(notice, s.sender, readers, now_ms), s.sender, readers)
        except smtplib.SMTPAuthenticationError as error:  # a password can be mended
            raise DeliveryError(_said(error), permanent=False, provider_code=str(error.smtp_code)) from None
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            worst = min(codes, default=550)
            raise DeliveryError(
                f"no reader accepted: {error}", permanent=worst >= 500, provider_code=str(worst)
            ) from None
        except smtplib.SMTPResponseException as error:
            is_permanent = 500 <= error.smtp_code < 600
            raise DeliveryError(_said(error), permanent=is_permanent, provider_code=str(error.smtp_code)) from None
        except (OSError, smtplib.SMTPException) as error:
            said = f"{s.host}: {type(error).__name__}: {error}"
            is_connected = bool(cut)
            code = "no-answer" if is_connected else "no-connection"
            raise DeliveryError(said, permanent=False, provider_code=code, may_be_taken=is_connected) from None
        finally:
            for timer in cut:
                timer.cancel()
        return "250" if not refused else f"250, refused: {', '.join(sorted(refused))}"

    def _server(self) -> smtplib.SMTP:
        s = self._settings
        if s.security == "tls":
            return smtplib.SMTP_SSL(s.host, s.port, timeout=s.timeout_s, context=ssl.create_default_context())
        return smtplib.SMTP(s.host, s.port, timeout=s.timeout_s)


def _deadline(server: smtplib.SMTP, seconds: float) -> threading.Timer:
    """Close the connection after `seconds`, however busily the other side drips."""

    def close() -> None:
        with contextlib.suppress(OSError):
            if server.sock is not None:
                server.sock.shutdown(2)

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    return timer


def _mail(notice: Notice, sender: str, readers: tuple[str, ...], now_ms: int) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = " ".join(notice.title.split())[:300]
    mail["From"] = sender
    mail["To"] = ", ".join(readers)
    mail["Date"] = format_datetime(utc(now_ms))
    mail["Message-ID"] = f"<{notice.idem_key}@citypulse>"
    mail["References"] = f"<{notice.subject}@citypulse>"
    if notice.level is Priority.P1:
        mail["Importance"] = "high"
    link = f"\n\n确认 acknowledge: {notice.link}" if isinstance(notice, Letter) and notice.link else ""
    mail.set_content(f"{notice.body}{link}\n\n{notice.reason}\n#{notice.idem_key[:12]}\n")
    return mail


def _said(error: smtplib.SMTPResponseException) -> str:
    said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else str(error.smtp_error)
    return f"{error.smtp_code} {said[:300]}"
