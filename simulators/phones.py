"""Simulated people with telephones: some sleep through a text message, somebody taps the link in it.

They know nothing but what the SMS gateway has sent them. A tap is what a browser would do: open the page, read the
form, press the button. Whoever is not named as awake never answers.
"""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from citypulse.clock import Clock

from .providers import Providers

log = structlog.get_logger()

LOOK_S = 0.1  # real seconds between two looks at the telephone
TIMEOUT_S = 20.0
TRIES_MAX = 3
PAGE_BYTES_MAX = 200_000
WAITING_MAX = 10_000  # taps remembered as waiting; more than that nobody's telephone can show

_LINK = re.compile(r"https?://[^\s)\]]+/k/[\w.-]+")
_FIELD = re.compile(r'name="(\w+)" value="(\w+)"')


@dataclass(slots=True)
class PhoneStats:
    """What was done on telephones; counters since the start."""

    texts: int = 0  # messages that somebody with a telephone got
    unanswered: int = 0  # of those with a link, the ones whose reader sleeps
    taps: int = 0  # pages on which the button was pressed and that then said so
    late: int = 0  # pages that said it is over, or was seen to already


@dataclass(slots=True, kw_only=True)
class _Tap:
    due_ms: int
    link: str
    tries: int = 0


@dataclass(slots=True)
class Phones:
    """All telephones of a run.

    `awake` maps a telephone number, digits only, to how many seconds (the city's) its owner takes to answer.
    """

    providers: Providers
    clock: Clock
    awake: Mapping[str, float]
    stats: PhoneStats = field(default_factory=PhoneStats)
    _seen: int = 0
    _waiting: list[_Tap] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Read and tap, in a thread of our own."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="phones", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Switch them off."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def step(self, now_ms: int) -> None:
        """Read what is new, and tap what is due."""
        for message in self.providers.since(self._seen):
            self._seen = message.number
            if not message.to:
                continue
            self.stats.texts += 1
            link = _LINK.search(message.text)
            if link is None:
                continue
            waits = [self.awake[n] for n in map(digits, message.to) if n in self.awake]
            if waits and len(self._waiting) < WAITING_MAX:
                self._waiting.append(_Tap(due_ms=message.at_ms + round(min(waits) * 1000), link=link[0]))
            else:
                self.stats.unanswered += 1
        due = [tap for tap in self._waiting if tap.due_ms <= now_ms]
        self._waiting = [tap for tap in self._waiting if tap.due_ms > now_ms]
        for tap in due:
            if not self._tap(tap.link) and tap.tries + 1 < TRIES_MAX:
                self._waiting.append(_Tap(due_ms=now_ms + 30_000, link=tap.link, tries=tap.tries + 1))

    def _tap(self, link: str) -> bool:
        """Open the page and press its button; False when it is worth another try."""
        try:
            page = _fetch(link, None)
            if "<form" not in page:  # seen to by somebody already
                self.stats.late += 1
                return True
            said = _fetch(link, urllib.parse.urlencode(dict(_FIELD.findall(page))).encode())
        except urllib.error.HTTPError as error:
            error.close()
            is_over = error.code in {403, 404, 410}
            self.stats.late += is_over
            return is_over
        except OSError:
            return False
        self.stats.taps += "已确认" in said
        return True

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.step(self.clock.now_ms())
            except Exception:  # a telephone that breaks would look like an officer who does not care
                log.exception("simulator.phones_failed")


def digits(number: str) -> str:
    """Return the digits of a telephone number."""
    return "".join(c for c in number if c.isdigit())


def _fetch(link: str, form: bytes | None) -> str:
    with urllib.request.urlopen(link, data=form, timeout=TIMEOUT_S) as page:  # noqa: S310 - only links from our own gateway
        return str(page.read(PAGE_BYTES_MAX).decode())
