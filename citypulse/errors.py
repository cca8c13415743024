"""Whose fault it is: the operator's (ConfigError), the field's (PayloadError), the asker's (Refused), ours (BugError).

Each error says what happened, where, why it matters and what to do. An error that decides a retry
carries `permanent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from citypulse.config.diagnostics import Diagnostic


class CityError(Exception):
    """Base of every error this system raises on purpose."""


class ConfigError(CityError):
    """The configuration is wrong; carries every problem found, not only the first."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        """Keep the diagnostics; the text lists one per line."""
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(d) for d in self.diagnostics))


class PayloadError(CityError):
    """A message from the field cannot be read; `reason` is a stable short code, `detail` is for people."""

    def __init__(self, reason: str, detail: str) -> None:
        """`reason` names the kind (`json_syntax`, `unknown_sensor` …); `detail` says where and why."""
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class Refused(CityError):  # noqa: N818 - a refusal is an answer, not a failure
    """A person asked for a step that is not allowed now; says the state and what would be allowed."""

    def __init__(self, message: str, *, code: str = "not_allowed", allowed: Sequence[str] = ()) -> None:
        """`allowed` lists the verbs that the subject would accept in its present state."""
        self.code = code
        self.allowed = tuple(allowed)
        super().__init__(message)


class DeliveryError(CityError):
    """A channel could not deliver a notice; `permanent` decides whether it is worth trying again."""

    def __init__(
        self,
        message: str,
        *,
        permanent: bool,
        provider_code: str = "",
        wait_s: float = 0.0,
        may_be_taken: bool | None = None,
        is_of_target: bool = False,
    ) -> None:
        """`provider_code` is the provider's own answer, kept as evidence.

        `wait_s`: how long the provider wants to be left alone · `may_be_taken`: whether it may have been taken all the
        same (no answer in time, a server error), so that its end has to be told too; by default when not permanent ·
        `is_of_target`: whom it was for is at fault (a wrong number, nobody answers), not the channel.
        """
        self.is_of_target = is_of_target
        self.wait_s = wait_s
        self.may_be_taken = not permanent if may_be_taken is None else may_be_taken
        self.permanent = permanent
        self.provider_code = provider_code
        super().__init__(message)


class StoreError(CityError):
    """A reading store could not take or give readings; `permanent` decides whether it is worth trying again."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        """`permanent=False` means the sink waits and tries the same batch again."""
        self.permanent = permanent
        super().__init__(message)


class BugError(CityError):
    """Something that cannot happen has happened: our mistake."""
