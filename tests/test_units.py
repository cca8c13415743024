"""Units: what engineers write is read exactly, and what cannot be meant is refused with its cure."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from citypulse.units import (
    UNITS,
    UnitError,
    convert,
    duration_s,
    lookup,
    parse,
    parse_rate,
    spell,
    spell_duration,
)

PAIRS = sorted((a, b) for a in UNITS for b in UNITS if UNITS[a].dimension == UNITS[b].dimension)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("15 cm", "m", 0.15),
        ("27cm", "m", 0.27),
        ("20 %LEL", "%VOL", 1.0),
        ("10000 ppm", "%VOL", 1.0),
        ("5 %VOL", "%LEL", 100.0),
        ("500 µg/L", "mg/L", 0.5),
        ("500 μg/L", "mg/L", 0.5),  # the Greek letter
        ("1.5 mS/cm", "µS/cm", 1500.0),
        ("-200 mV", "V", -0.2),
        ("24 mm/d", "mm/h", 1.0),
        ("100 L/s", "m³/s", 0.1),
        ("0.4 MPa", "kPa", 400.0),
        ("2 bar", "kPa", 200.0),
        ("12 inch", "cm", 30.48),
        ("212 °F", "°C", 100.0),
        ("273.15 K", "°C", 0.0),
        ("25 ℃", "°C", 25.0),
        ("15 厘米", "cm", 15.0),
        ("10 度", "°", 10.0),
        ("1e-3 m", "mm", 1.0),
    ],
)
def test_a_measure_is_read_in_any_unit_of_its_dimension(text: str, unit: str, value: float) -> None:
    assert math.isclose(parse(text).to(unit), value, rel_tol=1e-12, abs_tol=1e-9)


@pytest.mark.parametrize("centimetres", [3, 5, 15, 20, 27, 40])
def test_flood_limits_survive_conversion_to_the_last_bit(centimetres: int) -> None:
    assert convert(centimetres, "cm", "m") == float(f"0.{centimetres:02d}")


@pytest.mark.parametrize(
    ("text", "unit", "per_second"),
    [
        ("5 cm/5 min", "cm", 5 / 300),
        ("5 cm/5min", "cm", 5 / 300),
        ("2 %/min", "%", 2 / 60),
        ("-2 mg/L/2 h", "mg/L", -2 / 7200),
        ("3 mm/d", "mm", 3 / 86_400),
        ("9 °F/h", "°C", 5 / 3600),  # a change has no zero point
        ("20 %LEL/10 min", "%VOL", 1 / 600),
        ("10 mm/h/h", "mm/h", 10 / 3600),
    ],
)
def test_a_rate_is_read_per_second(text: str, unit: str, per_second: float) -> None:
    assert math.isclose(parse_rate(text).to(unit), per_second, rel_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60 s", 60), ("5 min", 300), ("2h", 7200), ("1 d", 86_400), ("500 ms", 0.5), ("0 s", 0), ("10 分钟", 600)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("2m", "ambiguous", "write `2 min`"),
        ("60", "has no unit", "write `60 s` or `60 min`"),
        ("5 cm", "is not a duration", "`min`"),
        ("-5 s", "negative", ""),
        ("soon", "is not a number", ""),
        ("5 mins", "is not known", "did you mean `min`?"),
    ],
)
def test_a_bad_duration_is_refused_with_its_cure(text: str, message: str, hint: str) -> None:
    with pytest.raises(UnitError, match=message) as caught:
        duration_s(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["5 cm", "5 mg/L", "5 cm/5", "cm/min", "5 cm/0 min", "5 cm/", "/min"])
def test_what_is_no_change_over_time_is_no_rate(text: str) -> None:
    with pytest.raises(UnitError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", " ", "cm", "15", "--3 cm", "1,5 cm", "nan cm", "inf cm", "15 cm cm"])
def test_what_is_no_measure_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse(text)


@pytest.mark.parametrize(("wrong", "right"), [("CM", "cm"), ("MG/L", "mg/L"), ("%lell", "%LEL"), ("uS/cmm", "µS/cm")])
def test_a_misspelt_unit_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(UnitError) as caught:
        lookup(wrong)
    assert f"`{right}`" in caught.value.hint


def test_units_of_different_dimensions_never_convert() -> None:
    for a in UNITS:
        for b in UNITS:
            if UNITS[a].dimension != UNITS[b].dimension:
                with pytest.raises(UnitError, match="is a unit of"):
                    convert(1.0, a, b)


@given(st.floats(-1e6, 1e6), st.sampled_from(PAIRS))
def test_there_and_back_is_where_we_began(value: float, pair: tuple[str, str]) -> None:
    a, b = pair
    assert math.isclose(convert(convert(value, a, b), b, a), value, rel_tol=1e-9, abs_tol=1e-6)


@given(st.text(max_size=30))
def test_no_text_breaks_the_readers(text: str) -> None:
    for read in (parse, parse_rate, duration_s):
        with contextlib.suppress(UnitError):
            read(text)


@given(st.floats(0, 1e7, allow_subnormal=False), st.sampled_from(sorted(UNITS)))
def test_what_is_spelt_can_be_read_again(value: float, unit: str) -> None:
    assert math.isclose(parse(spell(value, unit)).value, value, rel_tol=1e-5, abs_tol=1e-300)


@given(st.integers(0, 10**7))
def test_a_spelt_duration_is_the_same_duration(seconds: int) -> None:
    assert math.isclose(duration_s(spell_duration(seconds)), seconds, rel_tol=1e-5)
