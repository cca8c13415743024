"""Frozen nouns to table rows and back: the columns of a table are the fields of its noun."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from enum import Enum, IntEnum
from operator import attrgetter
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import sqlalchemy as sa

T = TypeVar("T")


def _plain(value: Any) -> Any:
    """What JSON does not know by itself: numpy's scalars."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in the ledger: use str, int, float, bool, list or dict")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain, order="deterministic")


def to_json(value: Any) -> str:
    """Write `value` as canonical JSON: keys sorted, no spaces, NaN as null."""
    return _ENCODER.encode(value).decode()


def _same(value: Any) -> Any:
    return value


class _Kind:
    """How one type of field is kept: its SQL type, the way in, the way out, and what an added column starts with."""

    __slots__ = ("default", "from_sql", "sql", "to_sql")

    def __init__(self, sql: Any, default: Any, to_sql: Callable[[Any], Any], from_sql: Callable[[Any], Any]) -> None:
        self.sql, self.default, self.to_sql, self.from_sql = sql, default, to_sql, from_sql


def _scalar(hint: Any) -> _Kind:
    if hint is bool:
        return _Kind(sa.Boolean, "0", _same, bool)
    if hint is int:
        return _Kind(sa.BigInteger, "0", _same, _same)
    if hint is float:  # SQL has no NaN: it becomes NULL and comes back as NaN
        return _Kind(sa.Double, None, _same, lambda v: float("nan") if v is None else v)
    if hint is str:
        return _Kind(sa.Text, "", _same, _same)
    if hint is bytes:
        return _Kind(sa.LargeBinary, None, _same, _same)
    if isinstance(hint, type) and issubclass(hint, IntEnum):
        return _Kind(sa.BigInteger, str(int(next(iter(hint)))), int, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _Kind(sa.Text, next(iter(hint)).value, attrgetter("value"), hint)
    if get_origin(hint) in (tuple, dict):
        decode = msgspec.json.Decoder(hint).decode
        return _Kind(sa.Text, "{}" if get_origin(hint) is dict else "[]", to_json, decode)
    raise TypeError(f"no column type for {hint!r}")


def _kind(hint: Any) -> tuple[_Kind, bool]:
    """Return how `hint` is kept, and whether None is allowed."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        kind = _scalar(inner[0])
        to_sql, from_sql = kind.to_sql, kind.from_sql
        return _Kind(
            kind.sql,
            None,
            lambda v: None if v is None else to_sql(v),
            lambda v: None if v is None else from_sql(v),
        ), True
    kind = _scalar(hint)
    return kind, kind.default is None and hint is float


class Rows(Generic[T]):
    """The way between one noun and its table."""

    def __init__(self, noun: type[T]) -> None:
        """Read the fields of the frozen dataclass `noun`."""
        self._noun = noun
        hints = get_type_hints(noun)
        self._fields: tuple[Field[Any], ...] = fields(noun)  # type: ignore[arg-type]
        self.names = tuple(f.name for f in self._fields)
        self._kinds = [_kind(hints[name]) for name in self.names]
        self._get = attrgetter(*self.names)
        self._out = [(k, kind.to_sql) for k, (kind, _) in enumerate(self._kinds) if kind.to_sql is not _same]
        self._in = [kind.from_sql for kind, _ in self._kinds]

    def columns(self, *, primary_key: Sequence[str] = ()) -> list[sa.Column[Any]]:
        """Return fresh columns for a table, one per field; each has a default so that it can be added later."""
        return [
            sa.Column(
                name,
                kind.sql,
                primary_key=name in primary_key,
                nullable=is_optional,
                server_default=None if is_optional or kind.default is None else kind.default,
            )
            for name, (kind, is_optional) in zip(self.names, self._kinds, strict=True)
        ]

    def row(self, noun: T) -> tuple[Any, ...]:
        """Return the values of one row, in the order of `names`."""
        values = list(self._get(noun))
        for place, out in self._out:
            values[place] = out(values[place])
        return tuple(values)

    def noun(self, row: Sequence[Any]) -> T:
        """Build the noun from the first values of a row, in the order of `names`."""
        return self._noun(**{name: way(value) for name, way, value in zip(self.names, self._in, row, strict=False)})
