"""Quality control of water beyond QARTOD: each test fires on its own fault and stays silent on the river."""

import math

import numpy as np

from citypulse.model import ReadingBatch
from ingest.qc.catalogue import names_of
from ingest.qc.controller import QualityControl
from ingest.qc.river import oxygen_saturation
from ingest.qc.settings import QualitySettings

QUARTER_MS = 900_000


class Sonde:
    """An instrument at Mill Bridge whose channels are read every quarter of an hour, in the order given."""

    def __init__(self, **quantities):
        settings = QualitySettings.model_validate(
            {
                "quantities": {
                    name: {"missing": [-9999], "interval_s": 900, **tests} for name, tests in quantities.items()
                }
            }
        )
        self.channels = list(quantities)
        ids = [f"mill-bridge.{name}" for name in self.channels]
        self.control = QualityControl.of_sensors(settings, ids, [900.0] * len(ids))
        self.time_ms = 1_700_000_000_000

    def read(self, **values):
        """One round of readings; returns test names by channel, and what was said of the round before."""
        self.time_ms += QUARTER_MS
        present = [(self.channels.index(name), value) for name, value in values.items()]
        sensor, value = zip(*present, strict=True)
        graded = self.control.apply(
            ReadingBatch.of(sensor, [self.time_ms] * len(sensor), value, quality=[0] * len(sensor))
        )
        late = {
            self.channels[s]: names_of(int(tests))
            for s, tests in zip(graded.amendments.sensor, graded.amendments.tests, strict=True)
        }
        return {self.channels[s]: names_of(int(t)) for s, t in zip(sensor, graded.tests, strict=True)}, late

    def said(self, channel, values):
        """Test names for each value of one channel."""
        return [self.read(**{channel: value})[0][channel] for value in values]


def calm(n, around=8.0, step=0.01):
    rng = np.random.default_rng(3)
    return [around + float(x) for x in rng.uniform(-step, step, n)]


STEPS = {"rise": {"floor": 0.6, "scales": 10}, "fall": {"floor": 0.6, "scales": 10}}


def test_a_jump_is_raised_at_once_and_the_return_is_good():
    sonde = Sonde(do={"jump": STEPS})
    assert sonde.said("do", [*calm(30), 9.0, 8.0, 8.01])[-3:] == [("jump",), (), ()]


def test_a_level_that_stays_is_believed_after_the_hold():
    sonde = Sonde(do={"jump": {**STEPS, "hold": 2}})
    told = sonde.said("do", [*calm(30), 9.5, 9.5, 9.51, 9.5, 9.49])
    assert told[30:] == [("jump",), ("jump",), ("jump", "new_level"), (), ()]


def test_a_direction_left_out_is_natural():
    sonde = Sonde(cond={"jump": {"fall": {"floor": 12, "scales": 10}}})
    assert sonde.said("cond", [*calm(30, 400, 1), 800, 400])[-2:] == [(), ("jump",)]


def test_a_pulse_may_fall_back_to_its_slow_level_but_not_below_it():
    jump = {"fall": {"floor": 12, "scales": 5}, "baseline": 0.003}
    sonde = Sonde(cond={"jump": jump})
    assert sonde.said("cond", [*calm(30, 400, 1), 800, 402, 200])[-3:] == [(), (), ("jump",)]


def test_a_restless_channel_is_given_more_room():
    rng = np.random.default_rng(5)
    sonde = Sonde(do={"jump": STEPS})
    restless = [8 + float(x) for x in rng.uniform(-0.25, 0.25, 200)]
    assert sonde.said("do", [*restless, 9.0])[-1] == ()


def test_a_longer_silence_is_given_more_room():
    sonde = Sonde(do={"jump": STEPS})
    sonde.said("do", calm(30))
    sonde.time_ms += 8 * QUARTER_MS
    assert sonde.said("do", [9.2]) == [()]


def test_a_leap_that_the_level_shares_is_a_flood_and_alone_it_is_a_fault():
    jump = {"rise": {"floor": 5, "scales": 10}, "natural_with": [{"quantity": "level", "moves": 0.05}]}
    sonde = Sonde(level={"returned": {"floor": 1}}, tur={"jump": jump})
    for turbidity in calm(30, 5, 0.5):
        sonde.read(level=0.5, tur=turbidity)
    assert sonde.read(level=0.8, tur=90.0)[0]["tur"] == ()
    for turbidity in calm(10, 90, 0.5):
        sonde.read(level=0.8, tur=turbidity)
    assert sonde.read(level=0.8, tur=400.0)[0]["tur"] == ("jump",)


def test_one_reading_away_and_back_is_known_one_reading_later():
    sonde = Sonde(tur={"returned": {"floor": 10, "factor": 3, "within": 0.3}})
    sonde.said("tur", [10, 11, 10])
    assert sonde.read(tur=170)[0]["tur"] == ()
    now, late = sonde.read(tur=12)
    assert now["tur"] == ()
    assert late == {"tur": ("returned",)}


def test_a_flood_peak_does_not_return_and_is_not_raised():
    sonde = Sonde(tur={"returned": {"floor": 10, "factor": 3, "within": 0.3}})
    sonde.said("tur", [10, 11, 170])
    assert sonde.read(tur=120)[1] == {}


def test_a_frozen_value_is_raised_but_water_at_its_freezing_point_is_not():
    section = {"frozen": {"after_s": 3600, "except_below": 0.3}}
    assert Sonde(temp=section).said("temp", [7.1] * 6)[3:] == [(), ("frozen",), ("frozen",)]
    assert Sonde(temp=section).said("temp", [0.1] * 9) == [()] * 9


TEMPERATURE = {"gross_range": {"fail": [-2, 35]}}


def test_a_channel_is_mistrusted_when_its_temperature_stays_out():
    sonde = Sonde(temp=TEMPERATURE, ph={"companion": {"quantity": "temp", "out_after_s": 2700}})
    told = [sonde.read(temp=-9999, ph=8.0 + 0.01 * k)[0]["ph"] for k in range(5)]
    assert told == [(), (), (), ("companion",), ("companion",)]
    assert sonde.read(temp=12, ph=8.1)[0]["ph"] == ()


def test_a_step_across_a_service_visit_is_raised_once():
    sonde = Sonde(temp=TEMPERATURE, ph={"companion": {"quantity": "temp", "service_step": 0.03}})
    rounds = [(12, 8.4), (-9999, 8.4), (-9999, 8.4), (12, 8.3), (12, 8.31)]
    assert [sonde.read(temp=t, ph=p)[0]["ph"] for t, p in rounds] == [(), (), (), ("service",), ()]


def test_a_visit_that_changes_nothing_is_not_raised():
    sonde = Sonde(temp=TEMPERATURE, ph={"companion": {"quantity": "temp", "service_step": 0.03}})
    rounds = [(12, 8.4), (-9999, 8.4), (12, 8.41)]
    assert [sonde.read(temp=t, ph=p)[0]["ph"] for t, p in rounds] == [(), (), ()]


def test_oxygen_solubility_is_that_of_the_tables():
    # USGS TM 2011.03, fresh water at 760 mmHg
    assert [round(oxygen_saturation(t), 1) for t in (0, 10, 20, 30)] == [14.6, 11.3, 9.1, 7.6]


def test_oxygen_above_saturation_all_day_and_night_is_raised_and_one_normal_night_ends_it():
    oxygen = {"companion": {"quantity": "temp"}, "oversaturated": {"above": 1.07, "altitude_m": 1450}}
    sonde = Sonde(temp={**TEMPERATURE, "jump": STEPS}, do=oxygen)
    told = [sonde.read(temp=5.0, do=12.5)[0]["do"] for _ in range(98)]
    assert told.index(("oversaturated",)) == 96
    assert sonde.read(temp=5.0, do=10.5)[0]["do"] == ()
    assert sonde.read(temp=5.0, do=12.5)[0]["do"] == ()


def test_a_sensor_must_be_quiet_before_it_is_trusted_again_and_longer_after_more_offences():
    sonde = Sonde(do={"jump": STEPS, "settling": {"each": 3, "most": 5}})
    once = sonde.said("do", [*calm(30), 9.0, *calm(4)])[30:]
    assert once == [("jump",), ("unsettled",), ("unsettled",), (), ()]
    often = sonde.said("do", [9.0, 9.1, *calm(6)])
    assert [bool(tests) for tests in often] == [True] * 6 + [False] * 2


def test_a_companion_that_is_not_there_changes_nothing():
    sonde = Sonde(ph={"companion": {"quantity": "temp", "out_after_s": 900, "service_step": 0.01}, "jump": STEPS})
    assert sonde.said("ph", calm(10)) == [()] * 10


def test_a_sentinel_is_missing_and_teaches_nothing():
    sonde = Sonde(do={"jump": STEPS})
    sonde.said("do", calm(30))
    graded = sonde.control.apply(ReadingBatch.of([0], [sonde.time_ms + 1], [-9999.0], quality=[0]))
    assert graded.flags.tolist() == [9]
    sonde.time_ms += QUARTER_MS
    assert sonde.said("do", [8.0]) == [()]
    assert not math.isnan(float(sonde.control.state()["good"][0]))
