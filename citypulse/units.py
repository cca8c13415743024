"""Units of measure: a small table of what a city's sensors and their engineers use, and nothing else.

Every unit belongs to a dimension and is an affine map to that dimension's base: `base = value * factor +
offset`. Converting across dimensions is refused; a misspelt unit is answered with the nearest one.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass


class UnitError(ValueError):
    """A measure that cannot be read or converted; `hint` says what to write instead ("" when nobody can know)."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the message and the cure apart, so that a checker can underline one and advise the other."""
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: `base = value * factor + offset` in its dimension's base unit."""

    symbol: str
    dimension: str
    factor: float
    offset: float = 0.0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with its unit, as written."""

    value: float
    unit: Unit

    def to(self, symbol: str) -> float:
        """Return the value in another unit of the same dimension; UnitError otherwise."""
        return convert(self.value, self.unit.symbol, symbol)


@dataclass(frozen=True, slots=True)
class Rate:
    """A change over time, as written: `5 cm/5 min` is value 5, unit cm, per_s 300."""

    value: float
    unit: Unit
    per_s: float

    def to(self, symbol: str) -> float:
        """Return the change in `symbol` per second; offsets (°F) do not count, a change has no zero point."""
        target = lookup(symbol)
        _same_dimension(self.unit, target)
        return self.value * self.unit.factor / target.factor / self.per_s


# fmt: off
_TABLE = (
    # length, base m
    Unit("m", "length", 1.0, aliases=("米",)),
    Unit("cm", "length", 0.01, aliases=("厘米",)),
    Unit("mm", "length", 0.001, aliases=("毫米",)),
    Unit("km", "length", 1000.0, aliases=("公里",)),
    Unit("inch", "length", 0.0254, aliases=("in", "英寸")),
    Unit("ft", "length", 0.3048),
    # time, base s
    Unit("s", "time", 1.0, aliases=("sec", "秒")),
    Unit("ms", "time", 0.001, aliases=("毫秒",)),
    Unit("min", "time", 60.0, aliases=("分钟",)),
    Unit("h", "time", 3600.0, aliases=("小时", "hour", "hours")),
    Unit("d", "time", 86_400.0, aliases=("天", "day", "days")),
    Unit("wk", "time", 604_800.0, aliases=("周", "week", "weeks")),
    # what is dissolved, base mg/L
    Unit("mg/L", "concentration", 1.0, aliases=("mg/l", "毫克/升")),
    Unit("µg/L", "concentration", 0.001, aliases=("ug/L", "ug/l", "µg/l")),
    Unit("g/L", "concentration", 1000.0, aliases=("g/l",)),
    # water
    Unit("NTU", "turbidity", 1.0, aliases=("FNU", "ntu")),
    Unit("µS/cm", "conductivity", 1.0, aliases=("uS/cm", "us/cm", "µs/cm")),
    Unit("mS/cm", "conductivity", 1000.0),
    Unit("S/m", "conductivity", 10_000.0),
    Unit("pH", "acidity", 1.0, aliases=("ph",)),
    Unit("°C", "temperature", 1.0, aliases=("degC", "℃", "摄氏度")),
    Unit("°F", "temperature", 5 / 9, offset=-160 / 9, aliases=("degF", "℉")),
    Unit("K", "temperature", 1.0, offset=-273.15),
    # shares, base %
    Unit("%", "share", 1.0, aliases=("％", "%RH", "percent")),
    Unit("‰", "share", 0.1),
    # gas in air, base %VOL. LEL of methane is 5 %VOL (GB/T 50493), so 20 %LEL = 1 %VOL = 10,000 ppm.
    Unit("%VOL", "gas in air", 1.0, aliases=("%vol", "vol%", "%Vol")),
    Unit("%LEL", "gas in air", 0.05, aliases=("%lel", "LEL%")),
    Unit("ppm", "gas in air", 1e-4),
    Unit("ppb", "gas in air", 1e-7),
    # rain, base mm/h
    Unit("mm/h", "rain intensity", 1.0),
    Unit("mm/d", "rain intensity", 1 / 24),
    Unit("mm/min", "rain intensity", 60.0),
    # flow, base m³/s
    Unit("m³/s", "flow", 1.0, aliases=("m3/s", "立方米/秒")),
    Unit("m³/h", "flow", 1 / 3600, aliases=("m3/h",)),
    Unit("L/s", "flow", 0.001, aliases=("l/s",)),
    # volume, base m³
    Unit("m³", "volume", 1.0, aliases=("m3", "立方米")),
    Unit("L", "volume", 0.001, aliases=("l", "升")),
    # pressure, base kPa
    Unit("kPa", "pressure", 1.0, aliases=("kpa",)),
    Unit("MPa", "pressure", 1000.0, aliases=("mpa",)),
    Unit("Pa", "pressure", 0.001),
    Unit("bar", "pressure", 100.0),
    # electricity, base V
    Unit("V", "voltage", 1.0),
    Unit("mV", "voltage", 0.001),
    # ground and covers
    Unit("°", "angle", 1.0, aliases=("deg", "度")),
    Unit("rad", "angle", 180 / math.pi),
    Unit("g", "acceleration", 1.0),
    Unit("m/s²", "acceleration", 1 / 9.80665, aliases=("m/s2",)),
    Unit("dB", "sound level", 1.0),
)
# fmt: on

UNITS: dict[str, Unit] = {u.symbol: u for u in _TABLE}
_SPELLINGS: dict[str, Unit] = {name: u for u in _TABLE for name in (u.symbol, *u.aliases)}
_FOLDED: dict[str, str] = {name.casefold(): u.symbol for u in reversed(_TABLE) for name in (u.symbol, *u.aliases)}

_MEASURE = re.compile(r"^\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")
_PER = re.compile(r"^\s*(\d+(?:\.\d+)?|\.\d+)?\s*(\D*?)\s*$")
_MICRO = str.maketrans({"μ": "µ"})  # the Greek letter is meant as the micro sign


def lookup(symbol: str) -> Unit:
    """Return the unit spelt `symbol`; UnitError with the nearest spelling as hint when there is none."""
    spelt = symbol.translate(_MICRO)
    if spelt in _SPELLINGS:
        return _SPELLINGS[spelt]
    raise UnitError(f"unit `{symbol}` is not known", _nearest(spelt))


def _nearest(symbol: str) -> str:
    if symbol.casefold() in _FOLDED:
        return f"did you mean `{_FOLDED[symbol.casefold()]}`?"
    close = difflib.get_close_matches(symbol.casefold(), list(_FOLDED), n=1, cutoff=0.5)
    if close:
        return f"did you mean `{_FOLDED[close[0]]}`?"
    return "known units: " + ", ".join(UNITS)


def convert(value: float, source: str, target: str) -> float:
    """Return `value` in `target`; both must be of one dimension."""
    a, b = lookup(source), lookup(target)
    _same_dimension(a, b)
    if a is b:
        return value
    if a.offset == b.offset == 0.0:
        # One rounding instead of three: 27 cm is 0.27 m exactly as written, not 0.27000000000000002.
        ratio = a.factor / b.factor
        back = b.factor / a.factor
        return value / round(back) if ratio < 1 and math.isclose(back, round(back), rel_tol=1e-12) else value * ratio
    return (value * a.factor + a.offset - b.offset) / b.factor


def _same_dimension(a: Unit, b: Unit) -> None:
    if a.dimension != b.dimension:
        family = ", ".join(f"`{u.symbol}`" for u in _TABLE if u.dimension == b.dimension)
        raise UnitError(
            f"`{a.symbol}` is a unit of {a.dimension}, `{b.symbol}` of {b.dimension}", f"write it in {family}"
        )


def parse(text: str) -> Measure:
    """Read `15 cm`, `0.5 mg/L`, `-200 mV`; UnitError when the number or its unit is missing or unknown."""
    number, symbol = _split(text)
    if not symbol:
        raise UnitError(f"`{text.strip()}` has no unit", "a number needs its unit, for example `15 cm`")
    return Measure(number, lookup(symbol))


def _split(text: str) -> tuple[float, str]:
    found = _MEASURE.match(text)
    if not found:
        raise UnitError(f"`{text.strip()}` is not a number with a unit", "write the number first, for example `15 cm`")
    return float(found[1]), found[2]


def parse_rate(text: str) -> Rate:
    """Read `5 cm/5 min`, `2 %/min`, `0.5 mg/L/h`; UnitError when it is not a change over time."""
    head, slash, tail = text.rpartition("/")
    per = _PER.match(tail)
    unit = _SPELLINGS.get(per[2]) if per else None
    if not slash or per is None or unit is None or unit.dimension != "time":
        raise UnitError(
            f"`{text.strip()}` is not a change over time", "write a change per time, for example `5 cm/5 min`"
        )
    count = float(per[1]) if per[1] else 1.0
    if count <= 0:
        raise UnitError(f"`{text.strip()}` divides by no time at all", "write a time above zero")
    measure = parse(head)
    return Rate(measure.value, measure.unit, count * unit.factor)


def duration_s(text: str, *, is_signed: bool = False) -> float:
    """Read `60 s`, `5 min`, `2 h`, `1 d` as seconds; UnitError for anything else, and for the ambiguous `2m`.

    Only a signed one, such as an offset from UTC, may be negative.
    """
    number, symbol = _split(text)
    if symbol in {"m", "M", "mo"}:
        amount = text.strip().removesuffix(symbol).strip()
        raise UnitError(f"duration `{text.strip()}` is ambiguous (minute, month or metre)", f"write `{amount} min`")
    if not symbol:
        raise UnitError(f"duration `{text.strip()}` has no unit", f"write `{text.strip()} s` or `{text.strip()} min`")
    unit = lookup(symbol)
    if unit.dimension != "time":
        raise UnitError(f"`{text.strip()}` is not a duration", "write `s`, `min`, `h` or `d`")
    if number < 0 and not is_signed:
        raise UnitError(f"duration `{text.strip()}` is negative", "a duration is zero or more")
    return number * unit.factor


def spell(value: float, unit: str) -> str:
    """Write a value with its unit for people: at most six significant digits, no trailing zeros."""
    return f"{value:.6g} {unit}".strip()


def spell_duration(seconds: float) -> str:
    """Write a duration in the largest unit that leaves a whole number: 600 → `10 min`, 90 → `90 s`."""
    for symbol in ("d", "h", "min"):
        size = UNITS[symbol].factor
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.6g} {symbol}"
    return f"{seconds:.6g} s"
