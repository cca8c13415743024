"""Where a backtest stands, in a file, so that one that was stopped goes on instead of beginning again.

The file belongs to one question: these configurations, these readings. It is refused for any other, written whole or
not at all, and removed when the backtest has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from citypulse.clock import monotonic_s
from citypulse.errors import CityError

from .trial import Trial

FORMAT = 1
EVERY_S = 10.0
BYTES_MAX = 512 * 2**20  # a checkpoint larger than this is not written: the run goes on without


class CheckpointError(CityError):
    """A checkpoint cannot be used here; says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far the readings have been taken.

    at_last: how many of the readings at `until_ms` were among them · seen: how many by code · is_sorted: counted in
    the order of files that were sorted in memory.
    """

    readings: int
    since_ms: int
    until_ms: int
    seen: list[int]
    fingerprint: tuple[int, int]
    at_last: int
    is_sorted: bool


class Checkpoint:
    """Saves now and then, and restores once."""

    def __init__(self, path: Path, question: str, *, goes_on: bool, every_s: float = EVERY_S) -> None:
        """question: a text that differs when configurations, readings or what is run do. goes_on: use what is there."""
        self.path = path
        self._question, self._every_s = question, every_s
        self._saved_s = monotonic_s()
        self._found = self._read() if goes_on and path.exists() else None
        self._is_held = False  # what is in the file is further than this run is

    def _read(self) -> dict[str, object]:
        from citypulse.ledger.packing import DamagedError, load  # noqa: PLC0415 - a database, for who resumes

        try:
            found = load(self.path.read_bytes())
        except (OSError, DamagedError, msgspec.DecodeError) as error:
            raise CheckpointError(f"{self.path}: cannot be read ({error}); delete it and begin again") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise CheckpointError(f"{self.path}: is no checkpoint of this version; delete it and begin again")
        if found["question"] != self._question:
            raise CheckpointError(
                f"{self.path}: 检查点属于另一次回测 belongs to other configurations, readings or options; run what it "
                "was made for, or leave out --resume to begin again"
            )
        return found

    def resume(self, trials: Sequence[Trial], *, is_sorted: bool) -> Place | None:
        """Let the trials stand where the file says, and return the place; None when there is nothing to go on from."""
        if self._found is None:
            return None
        place = msgspec.convert(self._found["place"], Place)
        if place.is_sorted != is_sorted:
            self._is_held = place.is_sorted
            return None
        states = self._found["trials"]
        assert isinstance(states, list)  # noqa: S101 - `save` below wrote it
        for trial, state in zip(trials, states, strict=True):
            trial.restore(state)
        self._found, self._is_held = None, False
        return place

    def offer(self, place: Callable[[], Place], trials: Sequence[Trial]) -> None:
        """Save if it is time."""
        if self._is_held or monotonic_s() - self._saved_s < self._every_s:
            return
        from citypulse.ledger.packing import dump  # noqa: PLC0415

        blob = dump(
            {
                "format": FORMAT,
                "question": self._question,
                "place": msgspec.to_builtins(place()),
                "trials": [trial.state() for trial in trials],
            }
        )
        if len(blob) <= BYTES_MAX:
            beside = self.path.with_name(self.path.name + ".new")
            beside.write_bytes(blob)
            beside.replace(self.path)
        self._saved_s = monotonic_s()

    def drop(self) -> None:
        """The backtest has ended: nothing is left to go on from."""
        self.path.unlink(missing_ok=True)
