"""The QARTOD tests, reading by reading: the edge cases of their definitions and the promise of any batching."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from citypulse.model import Lane, Quality, ReadingBatch
from ingest.qc.catalogue import QcTest, names_of, outranks, roll_up
from ingest.qc.controller import QualityControl
from ingest.qc.qartod import syntax
from ingest.qc.settings import SensorQuality

T0 = 1_546_300_800_000  # 2019-01-01
NAN = math.nan


def final_flags(section, values, times_s=None, depth=None, received_ms=None):
    """Feed one sensor reading by reading; amendments replace the flag of the reading before."""
    control = QualityControl([SensorQuality.model_validate(section)], [1.0])
    times = [T0 + 1000 * (t if times_s is not None else i) for i, t in enumerate(times_s or range(len(values)))]
    flags = []
    for i, (time, value) in enumerate(zip(times, values, strict=True)):
        batch = ReadingBatch.of([0], [time], [value], None if received_ms is None else [received_ms], quality=[0])
        graded = control.apply(batch, None if depth is None else np.array([depth[i]]))
        if len(graded.amendments):
            assert graded.amendments.time_ms[0] == times[i - 1]
            flags[-1] = int(graded.amendments.quality[0])
        flags.append(int(graded.flags[0]))
    return flags


def test_gross_range_bounds_are_good_and_spans_are_sorted():
    section = {"gross_range": {"fail": [50, 10], "suspect": [20, 40]}}
    assert final_flags(section, [9, 10, 19, 20, 40, 41, 50, 51, NAN]) == [4, 3, 3, 1, 1, 3, 3, 4, 9]


def test_a_suspect_span_outside_the_fail_span_is_refused():
    with pytest.raises(ValueError, match="must lie within"):
        SensorQuality.model_validate({"gross_range": {"fail": [1, 1], "suspect": [2, 2]}})


def test_an_average_spike_is_judged_one_reading_late_and_the_ends_are_not_evaluated():
    section = {"spike": {"suspect": 25, "fail": 50}}
    assert final_flags(section, [10, 12, 1000, 13, 15, 40, 9, 9]) == [2, 4, 4, 4, 1, 3, 1, 2]


def test_a_differential_spike_needs_two_steps_in_opposite_directions():
    section = {"spike": {"suspect": 0.5, "fail": 1, "method": "differential"}}
    assert final_flags(section, [3, 5, 6, 8, 6, 6, 6.75, 6]) == [2, 1, 1, 4, 1, 1, 3, 2]


def test_a_spike_beside_a_missing_reading_is_not_evaluated():
    assert final_flags({"spike": {"suspect": 1}}, [1, 1, 9, NAN, 1, 1, 1]) == [2, 3, 2, 9, 2, 1, 2]


def test_a_zero_spike_threshold_is_off():
    assert final_flags({"spike": {"suspect": 0, "fail": 5}}, [1, 2, 1, 9, 1]) == [2, 1, 1, 4, 2]


def test_the_rate_after_a_missing_reading_is_undefined_and_good():
    section = {"rate_of_change": {"suspect": 1, "fail": 5}}
    assert final_flags(section, [2, 4, NAN, 90, 91, 97]) == [1, 3, 9, 1, 1, 4]


def test_the_rate_counts_whole_seconds_and_one_instant_as_one_second():
    section = {"rate_of_change": {"suspect": 1}}
    assert final_flags(section, [0, 3, 3, 6], [0, 3, 4, 4]) == [1, 1, 1, 3]


def test_a_flat_line_ignores_missing_values_in_its_window():
    section = {"interval_s": 900, "flat_line": {"suspect_after_s": 3000, "fail_after_s": 4800, "tolerance": 0.01}}
    values = [1, 2, NAN, 2, 2.001, 2, 2.001, 2, 4]
    assert final_flags(section, values, [900 * i for i in range(9)]) == [1, 1, 9, 1, 3, 3, 4, 4, 1]


def test_a_zero_tolerance_never_flags():
    section = {"interval_s": 1, "flat_line": {"suspect_after_s": 2, "fail_after_s": 3, "tolerance": 0}}
    assert final_flags(section, [5] * 6) == [1] * 6


def test_an_attenuated_window_is_open_on_the_left_and_needs_its_readings():
    section = {
        "interval_s": 86_400,
        "attenuated": {
            "over_s": 172_800,
            "suspect_below": 100,
            "fail_below": 50,
            "statistic": "range",
            "min_readings": 2,
        },
    }
    days = [86_400 * i for i in range(5)]
    assert final_flags(section, [1, NAN, 10, 100, 1000], days) == [2, 9, 2, 3, 1]


def test_an_attenuated_standard_deviation_is_that_of_the_population():
    section = {"interval_s": 1, "attenuated": {"over_s": 2, "suspect_below": 1.0, "fail_below": 0.9}}
    # 0 and 2: the population's deviation is exactly 1, the sample's would be 1.41
    assert final_flags(section, [0, 2, 3.9, 3.9]) == [4, 1, 3, 4]


def test_a_window_that_overflows_its_places_is_counted():
    section = {"interval_s": 10, "window_max": 3, "attenuated": {"over_s": 100, "suspect_below": 1, "fail_below": 0}}
    control = QualityControl([SensorQuality.model_validate(section)], [10.0])
    control.apply(ReadingBatch.of([0] * 5, [T0 + i for i in range(5)], [1, 2, 3, 4, 5], quality=[0] * 5))
    assert control.window_overflow.tolist() == [2]


@pytest.mark.parametrize(("period", "expected"), [("month", [1, 3, 2]), ("dayofweek", [2, 1, 1]), ("hour", [1, 3, 3])])
def test_climatology_members_overwrite_each_other_and_no_member_is_not_evaluated(period, expected):
    spans = {"month": ([1, 2], [2, 2]), "dayofweek": ([2, 6], [2, 6]), "hour": ([0, 23], [1, 23])}[period]
    section = {
        "climatology": [
            {"period": period, "tspan": spans[0], "vspan": [0, 10]},
            {"period": period, "tspan": spans[1], "vspan": [0, 10 if period == "dayofweek" else 4]},
        ]
    }
    # Tuesday 1 January 00:00, Saturday 16 February 2019 12:00, Sunday 3 March 2019 06:00
    times = [0, (46 * 24 + 12) * 3600, (61 * 24 + 6) * 3600]
    assert final_flags(section, [5, 5, 5], times) == expected


def test_climatology_by_depth_skips_readings_without_one():
    section = {
        "climatology": [{"tspan": ["2019-01-01", "2019-02-01"], "zspan": [0, 10], "vspan": [0, 1], "fspan": [0, 2]}]
    }
    assert final_flags(section, [1, 1.5, 3, 1, 1], depth=[10, 0, 5, 11, NAN]) == [1, 3, 4, 2, 2]


def test_an_unknown_period_is_refused():
    with pytest.raises(ValueError, match="not known"):
        SensorQuality.model_validate({"climatology": [{"period": "moon", "tspan": [0, 1], "vspan": [0, 1]}]})


def test_the_first_reading_takes_the_gap_verdict_of_the_second():
    section = {"time_gap": {"fail_after_s": 7200}}
    assert final_flags(section, [1, 1, 1, 1], [0, 7201, 9000, 16_200]) == [4, 4, 1, 1]


def test_reception_and_impossible_dates_are_judged_by_our_own_witness():
    section = {"reception": {"fail_after_s": 60}, "impossible_date": {"fail_span": [T0, T0 + 120_000]}}
    flags = final_flags(section, [1, 1, 1, 1], [0, 50, 100, -1], received_ms=T0 + 70_000)
    assert flags == [4, 1, 4, 4]


@pytest.mark.parametrize(
    ("line", "expected", "counts", "delimiter", "flag"),
    [
        ("0AEE61", 6, "char", None, 1),
        ("0AEE61", 3, "byte", None, 1),
        ("0AEE6", 3, "byte", None, 4),
        ("1,2,3", 3, "char", ",", 1),
    ],
)
def test_syntax_counts_characters_bytes_or_fields(line, expected, counts, delimiter, flag):
    assert syntax(line, expected, counts=counts, delimiter=delimiter) == flag


def test_syntax_refuses_to_count_anything_else():
    with pytest.raises(ValueError, match="char or byte"):
        syntax("x", 1, counts="word")


def test_flags_roll_up_by_precedence():
    tests = np.array([[1, 1, 9, 9, 2], [1, 3, 1, 9, 9], [2, 4, 2, 9, 9]], np.uint8)
    assert roll_up(tests).tolist() == [1, 4, 1, 9, 2]
    ranked = [9, 2, 1, 3, 4]
    assert all(outranks(a, b) == ranked[max(i, j)] for i, a in enumerate(ranked) for j, b in enumerate(ranked))


def test_a_missing_value_is_never_better_than_missing():
    section = {"gross_range": {"fail": [0, 10]}, "time_gap": {}}
    assert final_flags(section, [1, NAN, math.inf]) == [1, 9, 9]


def test_the_flag_a_reading_came_with_is_rolled_in_and_the_reason_is_told():
    control = QualityControl(
        [SensorQuality.model_validate({"gross_range": {"fail": [0, 10], "suspect": [2, 8]}})], [1.0]
    )
    graded = control.apply(ReadingBatch.of([0] * 3, [1, 2, 3], [5, 9, 11], quality=[Quality.FAIL, Quality.GOOD, 0]))
    assert graded.flags.tolist() == [4, 3, 4]
    assert [names_of(int(t)) for t in graded.tests] == [(), ("gross_range",), ("gross_range",)]


def test_only_live_readings_are_remembered():
    control = QualityControl(
        [SensorQuality.model_validate({"rate_of_change": {"suspect": 1}, "gross_range": {"fail": [0, 99]}})], [1.0]
    )
    batch = ReadingBatch.of([0] * 4, [2000, 1000, 3000, 3000], [5, 500, 5, 80], quality=[0] * 4)
    batch.lane[:] = [Lane.LIVE, Lane.HISTORY, Lane.LIVE, Lane.DUPLICATE]
    assert control.apply(batch).flags.tolist() == [1, 4, 1, 2]


def test_a_sensor_without_settings_keeps_its_flag():
    control = QualityControl([None], [1.0])
    assert control.apply(ReadingBatch.of([0], [0], [1], quality=[Quality.SUSPECT])).flags.tolist() == [3]


EVERYTHING = {
    "missing": [-9999],
    "interval_s": 60,
    "gross_range": {"fail": [-50, 50], "suspect": [-20, 20]},
    "climatology": [{"period": "hour", "tspan": [0, 12], "vspan": [-10, 10]}],
    "spike": {"suspect": 5, "fail": 20},
    "rate_of_change": {"suspect": 0.1, "fail": 1},
    "flat_line": {"tolerance": 0.1, "suspect_after_s": 120, "fail_after_s": 300},
    "attenuated": {"over_s": 600, "suspect_below": 1, "fail_below": 0.2},
    "time_gap": {"fail_after_s": 300},
    "jump": {"rise": {"floor": 3, "scales": 4}, "fall": {"floor": 3, "scales": 4}, "baseline": 0.01},
    "returned": {"floor": 4},
    "frozen": {"after_s": 300},
    "settling": {},
}
READING = st.tuples(
    st.integers(0, 2), st.integers(1, 400), st.sampled_from([0.0, 0.05, 1.0, 7.0, -30.0, 60.0, -9999.0, NAN])
)


def stream_of(rows):
    time, sensors, times, values = T0, [], [], []
    for sensor, step, value in rows:
        time += step * 1000
        sensors.append(sensor)
        times.append(time)
        values.append(value)
    return ReadingBatch.of(sensors, times, values, quality=[0] * len(rows))


def told(control, batch, offset):
    graded = control.apply(batch)
    a = graded.amendments
    amended = zip(
        a.sensor.tolist(),
        a.time_ms.tolist(),
        a.quality.tolist(),
        a.tests.tolist(),
        (a.by + offset).tolist(),
        strict=True,
    )
    return list(zip(graded.flags.tolist(), graded.tests.tolist(), strict=True)), list(amended)


def control_of_three():
    return QualityControl([SensorQuality.model_validate(EVERYTHING)] * 3, [60.0] * 3)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(READING, min_size=1, max_size=60), data=st.data())
def test_flags_and_amendments_do_not_depend_on_how_readings_are_batched(rows, data):
    batch = stream_of(rows)
    whole = told(control_of_three(), batch, 0)
    cuts = sorted({0, len(rows), *data.draw(st.lists(st.integers(0, len(rows)), max_size=6))})
    control, flags, amended = control_of_three(), [], []
    for start, stop in pairwise(cuts):
        part_flags, part_amended = told(control, batch.take(slice(start, stop)), start)
        flags += part_flags
        amended += part_amended
    assert (flags, amended) == whole


@settings(max_examples=30, deadline=None)
@given(rows=st.lists(READING, min_size=2, max_size=60), cut=st.integers(1, 59))
def test_a_restored_control_continues_as_if_nothing_had_happened(rows, cut):
    batch, cut = stream_of(rows), min(cut, len(rows) - 1)
    first = control_of_three()
    first.apply(batch.take(slice(0, cut)))
    second = control_of_three()
    second.restore(first.state())
    rest = batch.take(slice(cut, len(rows)))
    assert told(first, rest, 0) == told(second, rest, 0)


def test_a_state_of_other_settings_is_refused():
    control = QualityControl([SensorQuality.model_validate(EVERYTHING)], [60.0])
    with pytest.raises(ValueError, match="is \\(3,\\), not \\(1,\\)"):
        control.restore(control_of_three().state())


def test_every_test_has_a_name_in_both_languages():
    from ingest.qc.catalogue import TEST_NAMES

    assert set(TEST_NAMES) == set(QcTest)
    assert all(text.zh and text.en for text in TEST_NAMES.values())
