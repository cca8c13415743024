"""The console's page templates; the library behind them is loaded with the first page, not at the service's start."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


class Pages:
    """Fills templates in; whatever it is given is escaped, and what a template names must be given."""

    def __init__(self) -> None:
        """Load nothing yet."""
        self._environment: Environment | None = None
        self._loading = threading.Lock()

    def _loaded(self) -> Environment:
        with self._loading:
            if self._environment is None:
                from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415

                self._environment = Environment(
                    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
                )
        return self._environment

    def render(self, name: str, **values: Any) -> str:
        """Return the page `name` with these values."""
        return self._loaded().get_template(name).render(**values)
