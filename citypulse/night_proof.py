"""The nightly proof that every alarm of the coming fortnight reaches somebody: once a night, at its hour or after it.

A service that was down at the hour proves as soon as it is up again. The command carries the local day, so a restart
in the night tells nobody twice: the heart answers a command it knows without doing it again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Final
from zoneinfo import ZoneInfo

from citypulse.clock import utc
from citypulse.model import CityConfig, Command
from citypulse.rota_views import gap_command

PROVE_AT_H: Final = 2  # local hour
PROVE_DAYS: Final = 14


class NightlyProof:
    """Looks at the city's clock; one thread's own."""

    def __init__(
        self,
        config: Callable[[], CityConfig],
        prove: Callable[[int], dict[str, Any]],
        submit: Callable[[Command], object],
    ) -> None:
        """`prove` returns the proof of so many days (rota_views.coverage_view); `submit` is the heart's mailbox."""
        self._config = config
        self._prove = prove
        self._submit = submit
        self._proven: date | None = None

    def look(self, now_ms: int) -> bool:
        """Prove when it is time and this night's proof is not done; return whether it was done now."""
        config = self._config()
        here = utc(now_ms).astimezone(ZoneInfo(config.timezone))
        if here.hour < PROVE_AT_H or self._proven == here.date():
            return False
        command = gap_command(self._prove(PROVE_DAYS), config, now_ms)
        if command is not None:
            self._submit(command)
        self._proven = here.date()  # only now: what failed is tried again
        return True
