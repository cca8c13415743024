"""The heart's letter-box: what cannot be kept is answered at the door, and the rest waits in order, up to a bound."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citypulse.ledger.packing import dump
from citypulse.mailbox import COMMANDS_MAX, Mailbox, MailboxFullError
from citypulse.model import Actor, Answer, Command

ALICE = Actor(name="Alice", role="duty")


def _command(number: str, data: dict[str, Any]) -> Command:
    return Command(id=number, verb="order.new", target="", actor=ALICE, at_ms=0, data=data)


@pytest.mark.parametrize("odd", [2**64, -(2**70), float("nan"), float("inf"), "\ud800", {"a": {"b": {"c": {}}}}])
def test_what_the_journal_could_not_keep_never_reaches_the_heart(odd: Any) -> None:
    mailbox = Mailbox(lambda: None)
    deep = {"x": {"y": {"z": odd}}}
    answer = mailbox.submit(_command("a", deep)).result(0)
    assert (answer.ok, answer.code) == (False, "bad_data")
    assert mailbox.drain() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(data=st.dictionaries(st.text(max_size=5), json_values, max_size=4))
def test_whatever_is_let_in_can_be_kept(data: dict[str, Any]) -> None:
    mailbox = Mailbox(lambda: None)
    mailbox.submit(_command("a", data))
    for command in mailbox.drain():
        dump(command)


def test_commands_wait_in_order_and_are_bounded() -> None:
    woken: list[bool] = []
    mailbox = Mailbox(lambda: woken.append(True))
    futures = [mailbox.submit(_command(str(k), {})) for k in range(COMMANDS_MAX)]
    with pytest.raises(MailboxFullError):
        mailbox.submit(_command("one more", {}))
    assert (mailbox.refused, mailbox.depth, len(woken)) == (1, COMMANDS_MAX, COMMANDS_MAX)
    taken = mailbox.drain()
    assert [c.id for c in taken] == [str(k) for k in range(COMMANDS_MAX)]
    mailbox.answer(Answer(command=c.id, ok=True, message="") for c in taken)
    assert all(f.result(0).ok for f in futures)
