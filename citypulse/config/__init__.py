"""The configuration: `load_city` for those who run it, `check_city` for those who write it."""

from __future__ import annotations

from .check import check_city, inspect_city, load_city
from .diagnostics import Diagnostic, Severity
from .extensions import Extensions

__all__ = ["Diagnostic", "Extensions", "Severity", "check_city", "inspect_city", "load_city"]
