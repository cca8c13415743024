"""A changed `alarms:` section takes over while the city runs: what runs keeps running, and what changed is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from citypulse.model import Command
from tests.test_city_reload import ALICE, MILL, T0, S, World, rules

TERMS = """
alarms:
  shelf: {{longest: {shelf}}}
  levels:
    yellow: {{realarm: {{after: {after}}}}}
"""


def text(shelf: str = "4 h", after: str = "1 h") -> str:
    return rules() + TERMS.format(shelf=shelf, after=after)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, text())
    yield world
    world.ledger.close()


def raise_yellow(world: World) -> str:
    for second in (0, 30, 60):
        world.say(T0 + second * S, (MILL, 15.0))
    (alarm,) = world.alarms()
    return alarm.id


def test_an_acknowledged_alarm_asks_again_by_the_new_time_and_its_record_says_so(world: World) -> None:
    raise_yellow(world)
    world.ack(world.alarms()[0], T0 + 70 * S)
    world.write(text(after="30 min"))
    outcome = world.reload(T0 + 80 * S)
    assert outcome.kind == "applied"
    assert [line.en for line in outcome.terms] == [
        f"realarm after 1 h → 30 min for all yellow ({world.file}:{_line(world, 'realarm')})"
    ]
    (event,) = world.events("terms_changed")
    assert event.data["changes"] == [
        {"what": "realarm after", "was": "1 h", "now": "30 min", "at": f"{world.file}:{_line(world, 'realarm')}"}
    ]
    assert world.alarms()[0].is_acked, "the acknowledgement stands"
    world.city.tick(T0 + (70 + 1_799) * S)
    assert world.events("realarmed") == []
    world.city.tick(T0 + (70 + 1_800) * S)
    assert len(world.events("realarmed")) == 1


def test_a_shelf_that_was_granted_keeps_its_end(world: World) -> None:
    number = raise_yellow(world)
    until_ms = T0 + 3 * 3_600 * S
    shelve = Command(id="s", verb="alarm.shelve", target=number, actor=ALICE, at_ms=T0 + 70 * S,
                     data={"reason": "works", "until_ms": until_ms})  # fmt: skip
    world.mailbox.submit(shelve)
    world.city.tick(T0 + 70 * S)
    world.write(text(shelf="10 min"))
    world.reload(T0 + 80 * S)
    assert world.alarms()[0].shelved_until_ms == until_ms
    (event,) = world.events("terms_changed")
    assert [c["what"] for c in event.data["changes"]] == ["shelf longest"]
    world.restart(T0 + 90 * S)
    assert world.alarms()[0].shelved_until_ms == until_ms
    world.city.tick(until_ms)
    assert world.alarms()[0].shelved_until_ms is None


def test_other_lines_of_the_file_move_the_section_and_change_nothing(world: World) -> None:
    raise_yellow(world)
    world.ack(world.alarms()[0], T0 + 70 * S)
    world.write("\n# a comment\n" + text())
    outcome = world.reload(T0 + 80 * S)
    assert (outcome.kind, outcome.terms) == ("applied", ())
    assert world.events("terms_changed") == []


def test_a_change_while_dead_is_said_at_the_start(world: World) -> None:
    raise_yellow(world)
    world.ack(world.alarms()[0], T0 + 70 * S)
    world.write(text(after="2 h"))
    world.city._past = lambda _fingerprint: None
    world.restart(T0 + 100 * S)
    world.city.tick(T0 + 100 * S)
    world.city.tick(T0 + (70 + 7_199) * S)
    assert world.events("realarmed") == []
    world.city.tick(T0 + (70 + 7_200) * S)
    assert len(world.events("realarmed")) == 1


def _line(world: World, word: str) -> int:
    lines = world.file.read_text(encoding="utf-8").split("\n")
    return 1 + next(n for n, line in enumerate(lines) if word in line)
