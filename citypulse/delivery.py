"""How delivery looks from outside: each channel's health, and what a plain phone's answer asks of the heart."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from alerts.channels.gateway import GatewaySettings, digits
from alerts.delivery.outbox import Deliverer
from alerts.delivery.replies import NOT_UNDERSTOOD, NOT_YOURS, parse, who_answers
from citypulse.clock import iso
from citypulse.errors import DeliveryError
from citypulse.ledger.replies import ReplyCodes
from citypulse.model import CityConfig, Command

ANSWER_WINDOW_MS: Final = 600_000  # the same answer of the same phone within this is a gateway's repeat, not a wish


def channel_views(
    config: CityConfig, deliverer: Deliverer, waiting: Mapping[str, tuple[int, int]], now_ms: int
) -> list[dict[str, Any]]:
    """Return every configured channel with its health and what waits for it, JSON-ready."""
    views = []
    for name, health in deliverer.health.items():
        count, oldest_ms = waiting.get(name, (0, now_ms))
        configured = config.channels.get(name)
        views.append(
            asdict(health)
            | {
                "id": name,
                "kind": configured.kind if configured is not None else "",
                "per_minute": configured.settings.per_minute if configured is not None else None,
                "fail_over_to": list(configured.settings.fail_over_to) if configured is not None else [],
                "is_failing": health.is_failing,
                "is_resting": now_ms < health.resting_until_ms,
                "waiting": count,
                "oldest_waiting_s": max(0, now_ms - oldest_ms) // 1000 if count else 0,
                "failing_since_at": iso(health.failing_since_ms) if health.failing_since_ms is not None else None,
                "delivered_at": iso(health.delivered_ms) if health.delivered_ms is not None else None,
            }
        )
    return views


def gateway_of(config: CityConfig, channel: str) -> GatewaySettings | None:
    """Return the settings of a channel that may be answered, or None."""
    found = config.channels.get(channel)
    return found.settings if found is not None and isinstance(found.settings, GatewaySettings) else None


def may_answer(settings: GatewaySettings, given: str) -> bool:
    """Say whether `given` is the secret that guards this gateway's address for answers."""
    try:
        secret = settings.inbound_secret()
    except DeliveryError:
        return False
    return bool(secret) and hmac.compare_digest(secret.encode(), given.encode())


def understood(
    config: CityConfig, codes: ReplyCodes, channel: str, phone: str, text: str, now_ms: int
) -> tuple[Command | None, str]:
    """Return the command an answer asks for, or None, and then what to say back.

    The command's id is made of phone, code, verb and time window: a gateway that delivers an answer twice asks once.
    """
    reply, number = parse(text), digits(phone)
    if reply is None:
        return None, f"{NOT_UNDERSTOOD.zh}. {NOT_UNDERSTOOD.en}"
    meant = codes.find(number, reply.code)
    if meant is None:
        return None, f"{NOT_YOURS.zh}. {NOT_YOURS.en}"
    command = Command(
        id=f"reply-{channel}-{number}-{reply.code}-{reply.verb}-{now_ms // ANSWER_WINDOW_MS}",
        verb=f"alarm.{reply.verb}",
        target=meant.subject,
        actor=who_answers(number, meant.target, config.people, config.teams),
        at_ms=now_ms,
        data={"note": f"短信回复 by reply {reply.code} ({channel})"},
    )
    return command, ""
