"""Lanes by number: what is known of each when rules are compiled, kept as columns; a `LaneSpec` is made when asked for.

A city of a million sensors has millions of lanes: an object for each would cost gigabytes and minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Rule, Sensor, SensorTable


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSpec:
    """What a detector is told of one lane when it lays out its memory.

    inputs: sensor indexes, in slot order · sensors: the same as Sensor · cadence_ms: the slowest input's ·
    rule_row: number of its rule, which `sample["rule"]` repeats ·
    calm: open interval of features that are good for every limit of the rule (exactness is not needed there).
    """

    rule: Rule
    scope: str
    inputs: tuple[int, ...]
    sensors: tuple[Sensor, ...]
    cadence_ms: int
    rule_row: int
    calm: tuple[float, float]
    timezone: str = "UTC"  # the city's, for what depends on the hour of the day

    @property
    def settings(self) -> Any:
        """The rule's settings: an instance of the detector's own model."""
        return self.rule.settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes(Sequence[LaneSpec]):
    """Many lanes as columns of one length.

    rules, calm: by rule row · rule_row: int32 · scope: int32, which of its rule's scopes · cadence_ms: int64 ·
    inputs[first_input[k] : first_input[k] + n_inputs[k]]: sensor indexes of lane k.
    """

    rules: tuple[Rule, ...]
    calm: tuple[tuple[float, float], ...]
    table: SensorTable
    timezone: str
    rule_row: NDArray[np.int32]
    scope: NDArray[np.int32]
    cadence_ms: NDArray[np.int64]
    first_input: NDArray[np.int64]
    n_inputs: NDArray[np.int32]
    inputs: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rule_row)

    @overload
    def __getitem__(self, lane: int) -> LaneSpec: ...
    @overload
    def __getitem__(self, lane: slice) -> Lanes: ...
    def __getitem__(self, lane: int | slice) -> LaneSpec | Lanes:
        if isinstance(lane, slice):
            return self.take(np.arange(len(self))[lane])
        row = int(self.rule_row[lane])
        first = int(self.first_input[lane])
        inputs = tuple(self.inputs[first : first + int(self.n_inputs[lane])].tolist())
        return LaneSpec(
            rule=self.rules[row],
            scope=self.rules[row].scopes[self.scope[lane]],
            inputs=inputs,
            sensors=tuple(sensor for k in inputs if (sensor := self.table.sensors[k]) is not None),
            cadence_ms=int(self.cadence_ms[lane]),
            rule_row=row,
            calm=self.calm[row],
            timezone=self.timezone,
        )

    def __iter__(self) -> Iterator[LaneSpec]:
        return (self[k] for k in range(len(self)))

    def name(self, lane: int) -> tuple[str, str]:
        """Return (rule id, scope) of one lane."""
        rule = self.rules[self.rule_row[lane]]
        return rule.id, rule.scopes[self.scope[lane]]

    def take(self, which: NDArray[Any]) -> Lanes:
        """Return some of the lanes, in the order of `which` (indexes)."""
        return Lanes(
            rules=self.rules,
            calm=self.calm,
            table=self.table,
            timezone=self.timezone,
            rule_row=self.rule_row[which],
            scope=self.scope[which],
            cadence_ms=self.cadence_ms[which],
            first_input=self.first_input[which],
            n_inputs=self.n_inputs[which],
            inputs=self.inputs,
        )

    def one_of_each_rule(self) -> list[LaneSpec]:
        """Return one lane of every rule that has any."""
        rows, last = np.unique(self.rule_row[::-1], return_index=True)
        return [self[len(self) - 1 - int(k)] for k in last[: len(rows)]]


class LaneNumbers(Mapping[tuple[str, str], int]):
    """(rule id, scope) → lane. A rule's own table is made when somebody first asks for one of its lanes."""

    def __init__(self, lanes: Lanes) -> None:
        """Look up in `lanes`."""
        self._lanes = lanes
        self._rows: dict[str, list[int]] = {}
        for row, rule in enumerate(lanes.rules):
            self._rows.setdefault(rule.id, []).append(row)
        self._of_rule: dict[str, dict[str, int]] = {}

    def of_rule(self, rule_id: str) -> Mapping[str, int]:
        """Return scope → lane of one rule, empty when there is none of that id."""
        if rule_id not in self._of_rule:
            lanes = self._lanes
            found: dict[str, int] = {}
            for row in self._rows.get(rule_id, ()):
                scopes = lanes.rules[row].scopes
                mine = np.flatnonzero(lanes.rule_row == row)
                found.update(zip((scopes[k] for k in lanes.scope[mine].tolist()), mine.tolist(), strict=True))
            self._of_rule[rule_id] = found
        return self._of_rule[rule_id]

    def __getitem__(self, name: tuple[str, str]) -> int:
        try:
            return self.of_rule(name[0])[name[1]]
        except KeyError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return (self._lanes.name(k) for k in range(len(self._lanes)))

    def __len__(self) -> int:
        return len(self._lanes)
