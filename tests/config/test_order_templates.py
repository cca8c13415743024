"""What an order template may say about time, steps and checklists, and what it is told when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from citypulse.app import extensions
from citypulse.config import check_city
from citypulse.model import Priority, TimeLimit

TOP = Path(__file__).parents[2]
GOOD = """
order_templates:
  build:
    name: {zh: 违建, en: illegal building}
    checklist: [{zh: 取证, en: take evidence}]
    checklist_required: true
    timers:
      all: {handle: 20 working days, accept: 4 工作时}
      red: {accept: 90 s}
    steps:
      - {id: stop, name: {zh: 停工, en: stop the works}, within: 4 working hours}
      - {id: fine, name: {zh: 处罚, en: penalty}, within: 7 工作日, after: stop}
      - {id: clear, name: {zh: 拆除, en: demolition}, within: 20 working days, after: fine}
"""


def test_limits_by_level_and_steps_with_their_own_clocks_are_read(tmp_path):
    config = city_with(tmp_path, GOOD)
    build = config.templates["build"]
    assert build.timers[Priority.P3]["T4"] == TimeLimit(seconds=20 * 28_800.0, is_work=True)
    assert build.timers[Priority.P3]["T3"] == TimeLimit(seconds=4 * 3_600.0, is_work=True)
    assert build.timers[Priority.P1]["T3"] == TimeLimit(seconds=90.0), "one level's own goes before what is said of all"
    assert [(s.id, s.after, s.within.seconds) for s in build.steps] == [
        ("stop", "", 4 * 3_600.0), ("fine", "stop", 7 * 28_800.0), ("clear", "fine", 20 * 28_800.0)]  # fmt: skip
    assert build.is_checklist_required
    assert config.templates["pump"].timers == {}


def city_with(tmp_path: Path, text: str):
    config, found = checked(tmp_path, text)
    assert config is not None, [d.message for d in found]
    return config


def checked(tmp_path: Path, text: str):
    whole = (TOP / "sensors.yaml").read_text()
    (tmp_path / "sensors.yaml").write_text(whole.replace("\norder_templates:\n", text, 1))
    return check_city(tmp_path / "sensors.yaml", extensions())


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("4 working hours", "4 fortnights", "E122", "fortnights"),
        ("4 working hours", "0 working hours", "E105", "above nought"),
        ("after: stop", "after: stpo", "E302", "no step `stpo`"),
        ("id: clear", "id: stop", "E301", "given twice"),
        ("{handle: 20 working days, accept: 4 工作时}", "{accept: 4 工作时}", "E101", "`handle` is missing for red"),
        ("    checklist: [{zh: 取证, en: take evidence}]\n", "", "E101", "no checklist"),
        ("handle: 20", "handel: 20", "E103", "handel"),
    ],
)
def test_each_mistake_is_named_with_its_line(tmp_path, old, new, code, words):
    assert old in GOOD
    config, found = checked(tmp_path, GOOD.replace(old, new, 1))
    assert config is None
    said = [d for d in found if d.code == code]
    assert said, [(d.code, d.message) for d in found]
    assert any(words in d.message for d in said), [d.message for d in said]
