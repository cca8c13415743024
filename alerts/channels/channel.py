"""What a channel is: one way out of the house. It sends one notice and says what its provider answered.

A channel never retries, queues or decides whom to tell: that is the outbox's. It only tells a failure that may pass
from one that will not. docs/extend/channel.md shows how to write one; tests/contracts/test_channels.py tries it.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from citypulse.errors import DeliveryError
from citypulse.model import PART, Notice, Person, split_target

SECRET_BYTES_MAX = 4_096


class ChannelSettings(BaseModel):
    """Base of every channel's settings.

    `per_minute` bounds what a provider is asked to take; the rest waits, or goes out collected. `fail_over_to` names
    the channels that take over, in this order, when this one does not deliver.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    per_minute: int = Field(default=600, ge=1, le=100_000)
    fail_over_to: tuple[str, ...] = ()


class SecretSettings(ChannelSettings):
    """Settings with a secret, which stands in an environment variable or a file: one of the two, never in YAML."""

    secret_env: str = ""
    secret_file: str = ""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.secret_env and self.secret_file:
            raise ValueError("give secret_env or secret_file, not both")
        return self

    def secret(self) -> str:
        """Read the secret now; "" when none is configured. Raises DeliveryError when it is not where it should be."""
        return read_secret(self.secret_env, self.secret_file)


def read_secret(env: str, file: str) -> str:
    """Read a secret from an environment variable or a file; "" when neither is named.

    Read at every send, so that a secret can be changed without a restart. Raises DeliveryError, which may pass.
    """
    if env:
        found = os.environ.get(env)
        if not found:
            raise DeliveryError(f"environment variable {env} is not set", permanent=False)
        return found
    if file:
        try:
            with Path(file).open(encoding="utf-8") as opened:
                return opened.read(SECRET_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DeliveryError(f"secret file {file} cannot be read: {error}", permanent=False) from None
    return ""


def tag(address: str) -> str:
    """Return what stands for an address that belongs to no configured person: never the address itself."""
    return "n" + hashlib.sha256(address.encode()).hexdigest()[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter(Notice):
    """A notice as it is sent: with what is only known then, and never kept in the ledger.

    link: address of the page that acknowledges it, or "" · code: what a plain phone answers with, or "".
    """

    link: str = ""
    code: str = ""


class Channel(ABC):
    """One configured channel. Owned by one sender thread; need not be thread-safe.

    settings: its settings model · sample: settings that work, `{url}` stands for the provider's address; used by
    the reference page and by the battery of tests · takes: what its provider answers when it has taken a notice ·
    refuses: answers with HTTP status 200 that are refusals all the same, as (body, is it permanent, provider's code).
    """

    settings: ClassVar[type[ChannelSettings]]
    sample: ClassVar[dict[str, Any]]
    transport: ClassVar[str] = "http"  # http | smtp | file: which stand-in the battery puts up
    takes: ClassVar[bytes] = b"{}"
    refuses: ClassVar[tuple[tuple[bytes, bool, str], ...]] = ()
    sends_each: ClassVar[bool] = False  # one message a person: a team's notice is split before it is sent
    contact: ClassVar[str] = ""  # the kind of a person's contact it uses; "" for a channel that calls nobody in person
    people: Mapping[str, Person] = {}  # by id; set when the channel is built

    def __init__(self, settings: Any, data_dir: Path) -> None:
        """`data_dir` is where channels that write files may write."""
        self._settings = settings
        self._data_dir = data_dir

    def addresses(self, target: str) -> tuple[str, ...]:
        """Return where a person, or everybody of a team, is reached by this kind of channel; none twice."""
        team, one = split_target(target)
        person = self.people.get(one or target)
        if person is not None:
            found = [person.address(self.contact)]
        elif one:
            found = [a for a in self.addresses(team) if tag(a) == one]
        else:
            named = getattr(self._settings, "teams", {}).get(target)
            members = [p.address(self.contact) for p in self.people.values() if target in p.teams]
            found = list(named) if named else [*members, *getattr(self._settings, "to", ())]
        return tuple(dict.fromkeys(a for a in found if a))

    def parts(self, target: str) -> tuple[str, ...]:
        """Return the targets that stand for each person behind a team, `desk/ada`; a bare address by its tag."""
        if target in self.people or PART in target:
            return ()
        owners = {p.address(self.contact): p.id for p in reversed([*self.people.values()]) if target in p.teams}
        return tuple(f"{target}{PART}{owners.get(a) or tag(a)}" for a in self.addresses(target))

    @property
    def apart_s(self) -> float:
        """Seconds between one person's message and the next one's; 0: all at once."""
        return 0.0

    @property
    def stops_when_reached(self) -> bool:
        """True when the provider's yes means that a person listened, so that nobody after them need be told."""
        return False

    def can_reach(self, target: str) -> bool:
        """Say whether it has an address for `target`; a channel that calls nobody in person always has."""
        return not self.contact or bool(self.addresses(target))

    @abstractmethod
    def send(self, notice: Notice, now_ms: int) -> str:
        """Send one notice; return the provider's code. Raises DeliveryError; `permanent` says whether to try again."""


def as_json(notice: Notice) -> dict[str, Any]:
    """Return a notice as every machine-readable channel writes it."""
    more = {"link": notice.link, "code": notice.code} if isinstance(notice, Letter) else {}
    return more | {
        "idem_key": notice.idem_key,
        "kind": notice.kind.value,
        "subject": notice.subject,
        "subject_kind": notice.subject_kind,
        "rev": notice.rev,
        "step": notice.step,
        "level": notice.level.colour,
        "target": notice.target,
        "channel": notice.channel,
        "title": notice.title,
        "body": notice.body,
        "reason": notice.reason,
        "created_ms": notice.created_ms,
    }
