"""The features detectors gave to readings, as CSV: for judging a detector apart from the limit laid on it."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from citypulse.clock import iso
from rules.detector import SUSPECT, Quiet
from rules.engine import Engine


class ScoreFile:
    """Writes `rule,scope,time,score` for every reading a statistical detector had something to say of.

    Of rules whose every reading goes the long way: most others take a reading that changes nothing without working
    out a feature, so theirs would have holes.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is written before `attach`."""
        self._path = path
        self._file: IO[str] | None = None
        self._names: list[str] = []
        self._is_told: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()

    def attach(self, engine: Engine) -> None:
        """Begin the file anew with what `engine` will say from now on."""
        if self._file is not None:
            self._file.close()
        self._file = self._path.open("w", encoding="utf-8")
        self._file.write("rule,scope,time,score\n")
        plan = engine.plan
        detectors = [plan.detectors[d] for d in plan.lane_detector]
        self._names = [f"{spec.rule.id},{spec.scope}" for spec in plan.specs]
        self._is_told = np.array([d.quiet is Quiet.NEVER and not d.is_watchdog for d in detectors], np.bool_)
        engine.heed = self.write

    def write(self, samples: NDArray[Any]) -> None:
        """Take the samples of one slice of work, their values replaced by features."""
        assert self._file is not None  # noqa: S101 - attach opened it
        if not len(self._is_told):
            return
        mine = samples[(samples["seen"] <= SUSPECT) & self._is_told[samples["lane"]]]
        columns = zip(mine["lane"].tolist(), mine["time_ms"].tolist(), mine["x"].tolist(), strict=True)
        self._file.writelines(f"{self._names[lane]},{iso(ms)},{x:.9g}\n" for lane, ms, x in columns)
