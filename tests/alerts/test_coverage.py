"""The proof that somebody is always reached: it finds exactly the hours in which a real alarm would reach nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.people.coverage import DAY_MS, HOUR_MS, REACH_S, coverage
from alerts.people.rota import RotaTable
from citypulse.model import ChainStep, CityConfig, NoticeKind, Priority, StandIn
from citypulse.rota_views import coverage_view, gap_command, stand_ins_of
from tests.alerts.cast import HERE, LEAD, RED, T0, World
from tests.alerts.people_cast import DESK, MILD_CHAIN, PEOPLE, RED_CHAIN, peopled

NOBODY_BY_NIGHT = replace(DESK, shifts=(DESK.shifts[0],), fallback=())
QUICK_CHAIN = replace(RED_CHAIN, steps=(ChainStep(after_s=120, to=("on-duty",), by=("phone",), origin=HERE),))


def gaps(config: CityConfig, kind: str = "nobody", days: int = 3, **more):
    return [g for g in coverage(config, T0, days, **more).gaps if g.kind == kind]


def test_a_rota_without_gaps_is_covered():
    found = coverage(peopled(), T0, 14)
    assert found.is_whole
    assert all(all(strip) for strip in found.strips.values())
    assert len(found.strips[RED, "north"]) == 14 * 24
    assert found.slowest_s[RED] == 0
    assert found.warnings == ()


def test_the_nights_that_nobody_watches_are_gaps_with_their_cause_and_cure():
    config = peopled(rotas={"desk": NOBODY_BY_NIGHT}, chains={"red": QUICK_CHAIN, "mild": MILD_CHAIN})
    found = gaps(config)
    red = [g for g in found if g.level is RED and g.domain == "flood"]
    # 20:00 to 08:00 in Hangzhou; whoever alarms two minutes before the watch begins is heard in time.
    assert (red[0].from_ms, red[0].until_ms) == (T0 + 10 * HOUR_MS, T0 + 22 * HOUR_MS - 120_000)
    assert "nobody of desk is on duty" in red[0].why
    assert "fallback" in red[0].cure


def test_the_strip_shows_the_hours_of_a_gap():
    config = peopled(rotas={"desk": NOBODY_BY_NIGHT}, chains={"red": QUICK_CHAIN, "mild": MILD_CHAIN})
    strip = coverage(config, T0, 1).strips[RED, "north"]
    assert "".join("#" if ok else "." for ok in strip) == "#" * 10 + "." * 12 + "#" * 2


def test_too_few_on_duty_is_a_gap_of_the_rota():
    found = gaps(peopled(rotas={"desk": replace(DESK, at_least=2)}), "thin", 2)
    assert [g.team for g in found] == ["desk"] * len(found)
    assert found[0].from_ms == T0 + 10 * HOUR_MS  # the night watch is one person
    assert "1 on duty (dee), 2 asked for" in found[0].why


def test_a_stand_in_made_while_running_opens_or_closes_a_gap():
    away = StandIn(id="x", team="desk", instead_of="dee", person="", starts_ms=T0, ends_ms=T0 + DAY_MS)
    config = peopled(rotas={"desk": replace(DESK, fallback=())}, chains={"red": QUICK_CHAIN, "mild": MILD_CHAIN})
    assert gaps(config) == []
    assert [g.from_ms for g in gaps(config, runtime={"desk": [away]}) if g.level is RED][:1] == [T0 + 10 * HOUR_MS]


def test_a_channel_that_fails_is_counted_out():
    board_only = peopled(chains={"red": QUICK_CHAIN, "mild": MILD_CHAIN})
    assert gaps(board_only, failing=["board"]) != []
    assert {g.level for g in gaps(board_only, failing=["board"])} == {Priority.P2, Priority.P3, Priority.P4}
    assert all("channel board is failing" in g.why for g in gaps(board_only, failing=["board"]))
    assert [g for g in gaps(board_only, failing=["board"]) if g.level is RED] == []


def test_people_without_the_contact_a_channel_needs_are_not_reached():
    mute = {p: replace(one, contacts=(("mail", "a@example.org"),)) for p, one in PEOPLE.items()}
    found = gaps(peopled(people=mute), failing=["board"])
    assert any("has no phone" in g.why for g in found if g.level is RED)


def test_without_people_nothing_can_be_proven_and_that_is_said():
    found = coverage(peopled(people={}, rotas={}, chains={}, routes=peopled().routes[1:]), T0, 1)
    assert not found.is_whole
    assert any("no `people:`" in warning for warning in found.warnings)


def test_a_year_whose_holidays_are_not_known_is_warned_of():
    december = T0 + 35 * DAY_MS
    assert any("2027" in warning for warning in coverage(peopled(), december, 14).warnings)


def test_the_nightly_proof_tells_the_lead_on_the_record():
    config = peopled(rotas={"desk": replace(DESK, at_least=3)})
    found = coverage_view(config, stand_ins_of(None, config), from_ms=T0, days=2)
    world = World(config)
    effects = world.tick(commands=[gap_command(found, config, T0)])
    assert effects.answers[0].ok
    assert [(n.target, n.subject) for n in effects.notices] == [("lea", "rota:desk")]
    assert [e.kind for e in effects.events] == ["coverage_gap"]
    assert gap_command(coverage_view(peopled(), stand_ins_of(None, peopled()), from_ms=T0, days=2), config, T0) is None


def test_only_the_system_reports_a_gap():
    assert World(peopled()).asks(LEAD, "rota.gap", "desk").code == "bad_data"


# ── against a real desk ─────────────────────────────────────────────────────────────────────────


def reached_by_desk(config: CityConfig, at_ms: int) -> bool:
    """Raise a red alarm on a real desk and see whom its notices find until the time is over."""
    world = World(config)
    world.now_ms = at_ms
    table = RotaTable(config.rotas["desk"])
    sent = [(at_ms, n) for n in world.raises().notices]
    for _ in range(REACH_S[RED] // 60):
        effects = world.wait(60)
        sent += [(world.now_ms, n) for n in effects.notices]
    calls = [(at, n) for at, n in sent if n.subject_kind == "alarm" and n.kind is not NoticeKind.CLEARED]
    return any(n.target in config.people or (n.target == "desk" and table.on_duty(at)) for at, n in calls)


@pytest.mark.parametrize("chain", [QUICK_CHAIN, RED_CHAIN])
@settings(max_examples=40, deadline=None)
@given(minute=st.integers(0, 2 * 1440 - 10), starts=st.integers(0, 23), length=st.integers(1, 24))
def test_the_proof_says_of_any_minute_what_a_real_desk_does(chain, minute, starts, length):
    shift = replace(DESK.shifts[0], starts_s=starts * 3600, ends_s=(starts + length) * 3600)
    rota = replace(DESK, first_day="2026-11-01", shifts=(shift,), fallback=())
    config = peopled(rotas={"desk": rota}, chains={"red": chain, "mild": MILD_CHAIN})
    at_ms = T0 + minute * 60_000
    found = [g for g in gaps(config) if g.level is RED and g.domain == "flood"]
    is_gap = any(g.from_ms <= at_ms < g.until_ms for g in found)
    assert is_gap == (not reached_by_desk(config, at_ms))
