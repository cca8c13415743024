"""What a form that a person sends may hold: bounded, finite, plain JSON, so that it can be kept for ever."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from citypulse.model import Answer, Command

BYTES_MAX: Final = 16_384  # of a command's data as JSON: it is a form, not a file
DEPTH_MAX: Final = 6  # of a command's data
INT_MAX: Final = 2**53  # what every JSON reader keeps exactly


def unfit(value: Any, depth: int = DEPTH_MAX) -> str:
    """Return why a command's data cannot be kept as JSON, or "". Never raises, however odd the value."""
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, int):
        return "" if abs(value) <= INT_MAX else "a whole number is larger than 2^53"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "a number is not finite"
    if isinstance(value, str):
        return "" if value.isascii() or value.encode("utf-8", "ignore").decode() == value else "a text is not Unicode"
    if depth == 0:
        return f"it is nested deeper than {DEPTH_MAX}"
    if isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple)):
        inside = list(value)
    else:
        return f"{type(value).__name__} is not JSON"
    return next((said for item in inside if (said := unfit(item, depth - 1))), "")


def refusal(command: Command) -> Answer | None:
    """Return the answer to a command that cannot be kept as it is: odd values, or too many; None when it can."""
    wrong = unfit([command.id, command.verb, command.target, command.data])
    if not wrong and len(msgspec.json.encode(command.data)) > BYTES_MAX:
        wrong = f"it is larger than {BYTES_MAX} bytes"
    if not wrong:
        return None
    said = f"命令内容不能接收 the data of this command cannot be taken: {wrong}"
    return Answer(command=command.id, ok=False, code="bad_data", message=said)
