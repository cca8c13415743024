"""A citizen's name and telephone number: how they are shown to those who need not know them, and where they stand.

Personal information (个人信息保护法): kept with its order and nowhere else, masked in every view, shown only by a
command that is on record, erased some time after the order has ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from citypulse.model import SYSTEM, Command

_NUMBER: Final = re.compile(r"(?<![0-9a-zA-Z:])\+?[0-9](?:[ \-]?[0-9]){6,14}(?![0-9a-zA-Z])")
_MAIL: Final = re.compile(r"[\w.+-]+@([\w-]+\.)+\w+")
_WORD: Final = re.compile(r"[^\W\d_]+")
MOBILE: Final = re.compile(r"(?<![0-9])(?:\+?86[ \-]?)?1[3-9](?:[ \-]?[0-9]){9}(?![0-9])")


def _bare(number: str) -> str:
    return re.sub(r"[ \-+]", "", number)


def masked_number(number: str) -> str:
    """Return a telephone number as others may see it: 138****1234; a short one keeps its last two digits."""
    bare = _bare(number)
    if len(bare) == 13 and bare.startswith("86"):
        bare = bare[2:]
    return f"{bare[:3]}****{bare[-4:]}" if len(bare) >= 10 else "****" + bare[-2:]


def masked(contact: str) -> str:
    """Return a contact as others may see it: `张三 13812341234` as `张* 138****1234`, a mail address as `z***@x.cn`."""
    found: list[str] = []

    def keep(text: str) -> str:
        found.append(text)
        return f"\0{len(found) - 1}\0"

    text = contact.replace("\0", "")
    text = _MAIL.sub(lambda m: keep(f"{m[0][0]}***@{m[0].partition('@')[2]}"), text)
    text = _NUMBER.sub(lambda m: keep(masked_number(m[0])), text)
    text = _WORD.sub(lambda m: keep(m[0][0] + "*" * min(3, len(m[0]) - 1)), text)
    return re.sub(r"\0(\d+)\0|[0-9]", lambda m: found[int(m[1])] if m[1] is not None else "*", text)


def scrubbed(note: str) -> str:
    """Return a note in which mobile numbers are masked: it goes into a record that can never be erased."""
    return MOBILE.sub(lambda m: masked_number(m[0]), note)


def places_of(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of an order's data in which a contact stands: its report, and those that joined it."""
    for one in (data.get("intake"), *data.get("further", ())):
        if isinstance(one, dict) and one.get("contact"):
            yield one


def contacts_of(data: dict[str, Any]) -> list[str]:
    """Return every contact of an order's data, as given, each once."""
    return list(dict.fromkeys(str(one["contact"]) for one in places_of(data)))


def with_masked(data: dict[str, Any]) -> dict[str, Any]:
    """Return an order's data with every contact masked; the same object where there is none."""
    return _changed(data, lambda one: one | {"contact": masked(str(one["contact"]))})


def without_contacts(data: dict[str, Any]) -> dict[str, Any]:
    """Return an order's data with every contact erased; the same object where there is none."""
    return _changed(data, lambda one: {k: v for k, v in one.items() if k != "contact"} | {"contact_erased": True})


def erasure(number: str, *, now_ms: int, kept_s: float) -> Command:
    """Return the command by which an order's contacts are erased when their time is over: on record, once."""
    reason = f"结案后保存期已满 kept for {kept_s / 86_400:g} days after its end"
    return Command(
        id=f"erase:{number}:{now_ms}",
        verb="order.forget",
        target=number,
        actor=SYSTEM,
        at_ms=now_ms,
        data={"reason": reason},
    )


def _changed(data: dict[str, Any], change: Any) -> dict[str, Any]:
    if not any(places_of(data)):
        return data
    new = dict(data)
    if (intake := data.get("intake")) and intake.get("contact"):
        new["intake"] = change(intake)
    if "further" in data:
        new["further"] = [change(one) if one.get("contact") else one for one in data["further"]]
    return new
