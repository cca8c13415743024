"""Where people's commands wait for the heart, and get their answers after the commit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError

from citypulse.errors import CityError
from citypulse.forms import refusal
from citypulse.model import Answer, Command

COMMANDS_MAX = 5_000  # people and phones: far more than a storm brings; past it the asker is told to wait


class MailboxFullError(CityError):
    """Too many commands wait; ask again shortly."""


class Mailbox:
    """A bounded queue of commands, each with the future its asker waits on."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` is called when something arrives, so that the heart does not sleep through it."""
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Command, Future[Answer]]] = deque()
        self._asked: dict[str, list[Future[Answer]]] = {}
        self.refused = 0

    def submit(self, command: Command) -> Future[Answer]:
        """Queue a command; raises MailboxFullError at the bound.

        One that cannot be kept in the journal as it is gets its answer here: the heart never sees it.
        """
        future: Future[Answer] = Future()
        if (refused := refusal(command)) is not None:
            future.set_result(refused)
            return future
        with self._lock:
            if len(self._waiting) >= COMMANDS_MAX:
                self.refused += 1
                raise MailboxFullError(f"系统繁忙 {COMMANDS_MAX} commands are waiting; ask again in a second")
            self._waiting.append((command, future))
        self._wake()
        return future

    def drain(self) -> list[Command]:
        """Take everything that waits, in order; their askers keep waiting for `answer`."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            for command, future in taken:
                self._asked.setdefault(command.id, []).append(future)
        return [command for command, _ in taken]

    def answer(self, answers: Iterable[Answer]) -> None:
        """Tell the askers, now that it is durable."""
        for answer in answers:
            with self._lock:
                futures = self._asked.pop(answer.command, [])
            for future in futures:
                try:
                    future.set_result(answer)
                except InvalidStateError:
                    continue  # the asker has left

    @property
    def depth(self) -> int:
        """How many commands wait."""
        return len(self._waiting)
