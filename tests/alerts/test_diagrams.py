"""The reference page is what the tables say, and its diagrams draw every state."""

from __future__ import annotations

from pathlib import Path

from alerts.diagrams import GUARD_WORDS, alarm_diagram, order_diagram, order_dot, page
from alerts.guards import GUARDS
from alerts.lifecycle import LETTERS
from citypulse.model import OrderState

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "lifecycle.md"


def test_the_page_is_current():
    assert PAGE.read_text("utf-8") == page(), "run: python -m alerts.diagrams > docs/reference/lifecycle.md"


def test_every_state_and_letter_is_drawn():
    for state in OrderState:
        assert state.value in order_diagram()
        assert state.value in order_dot()
    for letter in LETTERS:
        assert f"--> {letter}" in alarm_diagram()


def test_every_guard_has_words():
    assert set(GUARD_WORDS) == set(GUARDS)
