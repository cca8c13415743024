"""Who watches the watcher: systemd, and somebody outside, hear from a city that is well; silence is their alarm.

A city that cannot tell anybody anything cannot tell that either. So it says "I am well" at an interval to systemd
(WATCHDOG=1) and to an address outside (a dead man's switch), and only while that is true.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from alerts.channels.channel import read_secret
from alerts.channels.http import post
from alerts.delivery.pace import ChannelHealth
from citypulse.errors import DeliveryError
from citypulse.health import Health
from citypulse.model import CityConfig

LOOK_S: Final = 5.0  # between two looks; systemd's WatchdogSec should be several times longer
PING_TIMEOUT_S: Final = 8.0
SILENT: Final = frozenset({"log"})  # kinds of channel that call nobody: a file is no way out

log = structlog.get_logger()


def no_way_out(config: CityConfig, health: Mapping[str, ChannelHealth]) -> tuple[str, str] | None:
    """Return the problem (zh, en) that no channel which calls people works now; None while one does."""
    calling = [name for name, c in config.channels.items() if c.kind not in SILENT and name in health]
    if not calling or not all(health[name].is_failing for name in calling):
        return None
    names = ", ".join(calling)
    first = health[calling[0]].last_error
    return (
        f"所有通知通道都发不出去 ({names}): {first}; 请人工值守大屏并检查外网与供应商",
        f"no channel can tell anybody anything ({names}): {first}; watch the console by eye, check the line outside",
    )


def tell_systemd(state: str) -> bool:
    """Send `state` to systemd's notification socket (sd_notify); False where there is none or it cannot be reached."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as door:
        try:
            door.connect("\0" + address[1:] if address.startswith("@") else address)
            door.sendall(state.encode())
        except OSError as error:
            log.warning("watchdog.systemd_unreachable", why=str(error))
            return False
    return True


class Watchdog:
    """Looks at the city's health every LOOK_S and passes on that it is well. One thread's own; never raises."""

    def __init__(self, config: Callable[[], CityConfig], health: Callable[[], Health]) -> None:
        """`config` is the one in force, `health` what /readyz says."""
        self._config = config
        self._health = health
        self._is_ready_told = False
        self._is_mute = False
        self._ping_failures = 0
        self._pinged_s: float | None = None

    def look(self, now_s: float) -> None:
        """Look once; `now_s` are monotonic seconds."""
        health = self._health()
        if health.is_alive:
            tell_systemd("READY=1\nWATCHDOG=1" if not self._is_ready_told else "WATCHDOG=1")
            self._is_ready_told = True
        if health.is_mute and not self._is_mute:
            log.critical("city.mute", problems=[en for _, en in health.problems])
        elif self._is_mute and not health.is_mute:
            log.info("city.speaks_again")
        self._is_mute = health.is_mute
        plan = self._config().watchdog
        is_due = self._pinged_s is None or now_s - self._pinged_s >= plan.every_s
        if (plan.url or plan.url_env) and is_due and health.is_alive and not health.is_mute:
            self._pinged_s = now_s
            self._ping(health)

    def stopping(self) -> None:
        """Tell systemd that the end is meant."""
        tell_systemd("STOPPING=1")

    def _ping(self, health: Health) -> None:
        plan = self._config().watchdog
        body = {"city": self._config().name.zh, "ready": health.is_ready, "problems": [en for _, en in health.problems]}
        try:
            url = plan.url or read_secret(plan.url_env, "")
            post(url, json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": "application/json"},
                 timeout_s=PING_TIMEOUT_S)  # fmt: skip
        except (DeliveryError, ValueError) as error:
            if not self._ping_failures:
                log.warning("watchdog.ping_failed", why=str(error)[:300])
            self._ping_failures += 1
            return
        if self._ping_failures:
            log.info("watchdog.ping_works", failures=self._ping_failures)
        self._ping_failures = 0
