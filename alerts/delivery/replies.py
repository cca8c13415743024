"""What a plain phone answers: `<code>1` acknowledges the alarm that code was given for, `<code>0` takes that back.

A code belongs to one phone and one occurrence for ever, so an old message can only ever mean its own alarm. Pure; what
came of an answer is said back in both languages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from alerts.channels.gateway import digits, masked
from citypulse.model import Actor, Person, Team, Text, split_target

CODE_DIGITS_MAX: Final = 12
TEXT_CHARS_MAX: Final = 500
VERBS: Final[Mapping[str, str]] = {"1": "acknowledge", "0": "unacknowledge"}
_SAID: Final = re.compile(rf"\s*#?([0-9]{{1,{CODE_DIGITS_MAX}}})[\s,.]*([10])\s*[#.!。]?\s*")

NOT_UNDERSTOOD: Final = Text(
    zh="没有看懂。请回复短信里的编号加 1，例如 271", en="not understood; reply the code and 1, e.g. 271"
)
NOT_YOURS: Final = Text(zh="这个编号不是发给本号码的", en="this code was not given to your number")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that was understood: which code, and what to do."""

    code: int
    verb: str


def parse(text: str) -> Reply | None:
    """Read an answer: the code followed by 1 or 0. Full-width digits and blanks do no harm; anything else is None."""
    if len(text) > TEXT_CHARS_MAX:
        return None
    found = _SAID.fullmatch(unicodedata.normalize("NFKC", text))
    return None if found is None else Reply(code=int(found[1]), verb=VERBS[found[2]])


def who_answers(phone: str, target: str, people: Mapping[str, Person], teams: Mapping[str, Team]) -> Actor:
    """Return in whose name a phone answers: the person whose number it is, else the team that was called."""
    person = next((p for p in people.values() if digits(p.address("phone")) == phone), None)
    if person is not None:
        return Actor(name=person.id, role=person.role, unit=person.unit)
    desk, _ = split_target(target)
    team = teams.get(desk)
    role = team.kind if team is not None else "duty"
    return Actor(name=f"{desk} {masked(phone)}", role=role, unit=team.unit if team is not None else "")


def who_taps(target: str, people: Mapping[str, Person], teams: Mapping[str, Team]) -> Actor | None:
    """Return in whose name a link is used: the person or team it was sent to; None when it is no longer configured."""
    team_id, one = split_target(target)
    person = people.get(one or target)
    if person is not None:
        return Actor(name=person.id, role=person.role, unit=person.unit)
    team = teams.get(team_id)
    return None if team is None else Actor(name=team.id, role=team.kind, unit=team.unit)
