"""The watchdogs: who has not been heard for too long, by receive time, and what that silence explains.

A guard watches one sensor or one gateway for one rule. Its deadline is the last time the subject was heard, or
the start of its grace if that is later, plus `after`. Deadlines at or before a stamp pass before anything
received at that stamp counts, so every split of the same stream finds the same.

While a gateway is silent, or has itself been quiet for more than half of a sensor's `after`, the sensor's guard
waits: nobody can know which of the two failed. When the gateway is heard again the waiting sensors get a fresh
grace period. In any case the sensor's lanes lose sight: active alarms are marked stale.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .detector import HEARD, LOSS, OVERDUE, TOUCH_AHEAD
from .fanout import EVENT, LIVE_LANE, QUALITY_SUSPECT
from .kernels import NEVER, grown

Array = NDArray[Any]

FOREVER = 2**62  # a deadline that never comes

ARMED, RAISED, WAITING = 0, 1, 2

# What a gateway's news says
NEWS_OFFLINE, NEWS_HEARD = 0, 1

GUARD = np.dtype(
    [
        ("after_ms", np.int64),
        ("hold_ms", np.int64),  # gateways: replaces after_ms once it said goodbye
        ("base_ms", np.int64),  # start of the grace period; NEVER until the engine has seen its first stamp
        ("subject", np.int32),  # gateway number or sensor index
        ("lane", np.int32),
        ("is_gateway", np.uint8),
        ("state", np.uint8),
    ],
    align=True,
)
"""One watchdog lane. Guards of gateways come first, then those of sensors, each sorted by subject."""

WATCHED = np.dtype(
    [
        ("heard_ms", np.int64),
        ("gateway", np.int32),  # its gateway's number, or -1
        ("first_guard", np.int32),
        ("guards", np.int16),
        ("is_troubled", np.uint8),  # one of its guards is RAISED or WAITING
    ],
    align=True,
)
"""One row per sensor."""

GATE = np.dtype(
    [
        ("heard_ms", np.int64),
        ("offline_ms", np.int64),  # when it said goodbye, or NEVER
        ("first_guard", np.int32),
        ("guards", np.int32),
        ("first_sensor", np.int32),
        ("sensors", np.int32),
        ("raised", np.int32),  # how many of its guards are RAISED
        ("is_troubled", np.uint8),  # RAISED itself, or a sensor of it is WAITING
    ],
    align=True,
)
"""One row per gateway."""


@njit(cache=True, nogil=True)
def note(out: Array, n: int, kind: int, stamp_ms: int, silence_ms: int, before: int, subject: int, cause: int) -> Any:
    """Write one event, growing the array when it is full; return (events, how many)."""
    if n == len(out):
        out = grown(out)
    row = out[n]
    row["kind"] = kind
    row["stamp_ms"] = stamp_ms
    row["silence_ms"] = silence_ms
    row["before"] = before
    row["subject"] = subject
    row["cause"] = cause
    return out, n + 1


@njit(cache=True, nogil=True)
def deadline(guard: Any, gates: Array, watched: Array) -> Any:
    """Return the stamp by which the guard's subject must be heard."""
    if guard["base_ms"] == NEVER:
        return FOREVER
    if guard["is_gateway"]:
        gate = gates[guard["subject"]]
        due = max(gate["heard_ms"], guard["base_ms"]) + guard["after_ms"]
        if gate["offline_ms"] != NEVER:
            due = min(due, max(gate["offline_ms"], guard["base_ms"]) + guard["hold_ms"])
        return due
    return max(watched[guard["subject"]]["heard_ms"], guard["base_ms"]) + guard["after_ms"]


@njit(cache=True, nogil=True)
def raise_gateway(
    g: int, due_ms: int, i: int, guards: Array, gates: Array, members: Array, watched: Array, out: Array, n: int
) -> Any:
    """Raise a gateway's guard; its sensors lose sight, and their own guards wait."""
    guard = guards[g]
    gate = gates[guard["subject"]]
    guard["state"] = RAISED
    gate["raised"] += 1
    gate["is_troubled"] = 1
    since = max(gate["heard_ms"], guard["base_ms"])
    out, n = note(out, n, OVERDUE, due_ms, due_ms - since, i, guard["lane"], -1)
    if gate["raised"] == 1:
        for m in range(gate["first_sensor"], gate["first_sensor"] + gate["sensors"]):
            s = members[m]
            sensor = watched[s]
            for k in range(sensor["first_guard"], sensor["first_guard"] + sensor["guards"]):
                if guards[k]["state"] == ARMED:
                    guards[k]["state"] = WAITING
                    sensor["is_troubled"] = 1
            out, n = note(out, n, LOSS, due_ms, 0, i, s, guard["lane"])
    return out, n


@njit(cache=True, nogil=True)
def raise_due(
    stamp_ms: int, i: int, guards: Array, gates: Array, members: Array, watched: Array, out: Array, n: int
) -> Any:
    """Let every deadline up to `stamp_ms` pass, earliest first; return (next deadline at the earliest, events, n).

    Looks at every guard, which costs about 1 ns each; called only when the earliest known deadline has come.
    """
    soonest = FOREVER
    expired = 0
    for g in range(len(guards)):
        if guards[g]["state"] == ARMED:
            due_ms = deadline(guards[g], gates, watched)
            if due_ms <= stamp_ms:
                expired += 1
            else:
                soonest = min(soonest, due_ms)
    if expired == 0:
        return soonest, out, n
    which = np.empty(expired, np.int64)
    when = np.empty(expired, np.int64)
    k = 0
    for g in range(len(guards)):
        if guards[g]["state"] == ARMED:
            due_ms = deadline(guards[g], gates, watched)
            if due_ms <= stamp_ms:
                which[k] = g
                when[k] = due_ms
                k += 1
    for k in np.argsort(when, kind="mergesort"):
        guard = guards[which[k]]
        if guard["state"] != ARMED:
            continue  # its gateway was raised just now
        if guard["is_gateway"]:
            out, n = raise_gateway(which[k], when[k], i, guards, gates, members, watched, out, n)
            continue
        sensor = watched[guard["subject"]]
        sensor["is_troubled"] = 1
        since = max(sensor["heard_ms"], guard["base_ms"])
        guard["state"] = RAISED
        if sensor["gateway"] >= 0:
            gate = gates[sensor["gateway"]]
            # Half: of three cadences, a dead sensor's gateway has spoken in the last one, a dead gateway has not.
            quiet_ms = when[k] - max(gate["heard_ms"], guard["base_ms"])
            if gate["guards"] > 0 and (gate["raised"] > 0 or 2 * quiet_ms > guard["after_ms"]):
                guard["state"] = WAITING
                gate["is_troubled"] = 1
        if guard["state"] == RAISED:
            out, n = note(out, n, OVERDUE, when[k], when[k] - since, i, guard["lane"], -1)
        out, n = note(out, n, LOSS, when[k], 0, i, guard["subject"], -1)
    return soonest, out, n


@njit(cache=True, nogil=True)
def hear_gateway(
    number: int,
    stamp_ms: int,
    is_explicit: int,
    i: int,
    guards: Array,
    gates: Array,
    members: Array,
    watched: Array,
    soonest: int,
    out: Array,
    n: int,
) -> Any:
    """A gateway was heard: its alarm ends, and its waiting sensors get a fresh grace period."""
    gate = gates[number]
    before_ms = gate["heard_ms"]
    gate["heard_ms"] = stamp_ms
    if gate["offline_ms"] != NEVER and (is_explicit or stamp_ms > gate["offline_ms"]):
        gate["offline_ms"] = NEVER
    if gate["is_troubled"]:
        gate["is_troubled"] = 0
        gate["raised"] = 0
        for g in range(gate["first_guard"], gate["first_guard"] + gate["guards"]):
            guard = guards[g]
            if guard["state"] == RAISED:
                guard["state"] = ARMED
                silence_ms = stamp_ms - max(before_ms, guard["base_ms"])
                out, n = note(out, n, HEARD, stamp_ms, silence_ms, i, guard["lane"], -1)
                soonest = min(soonest, deadline(guard, gates, watched))
        for m in range(gate["first_sensor"], gate["first_sensor"] + gate["sensors"]):
            sensor = watched[members[m]]
            sensor["is_troubled"] = 0
            for k in range(sensor["first_guard"], sensor["first_guard"] + sensor["guards"]):
                if guards[k]["state"] == WAITING:
                    guards[k]["state"] = ARMED
                    guards[k]["base_ms"] = stamp_ms
                    soonest = min(soonest, deadline(guards[k], gates, watched))
                elif guards[k]["state"] == RAISED:
                    sensor["is_troubled"] = 1
    return soonest, out, n


@njit(cache=True, nogil=True)
def hear_sensor(
    s: int, stamp_ms: int, i: int, guards: Array, gates: Array, watched: Array, soonest: int, out: Array, n: int
) -> Any:
    """End the trouble of a sensor that was heard again."""
    sensor = watched[s]
    before_ms = sensor["heard_ms"]
    sensor["heard_ms"] = stamp_ms
    sensor["is_troubled"] = 0
    for k in range(sensor["first_guard"], sensor["first_guard"] + sensor["guards"]):
        guard = guards[k]
        if guard["state"] == RAISED:
            silence_ms = stamp_ms - max(before_ms, guard["base_ms"])
            out, n = note(out, n, HEARD, stamp_ms, silence_ms, i, guard["lane"], -1)
        guard["state"] = ARMED
        soonest = min(soonest, deadline(guard, gates, watched))
    return soonest, out, n


@njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
def listen(
    sensor: Array,
    quality: Array,
    reading_lane: Array,
    value: Array,
    received_ms: Array,
    gates: Array,
    watched: Array,
    i: int,
    next_ms: int,
) -> tuple[int, int]:
    """Hear readings from i on as long as they are received before `next_ms` and end nobody's trouble; return (next, _).

    Nearly all readings of a healthy city are taken here.
    """
    total = 0
    touched = i
    while i < len(sensor) and received_ms[i] < next_ms:
        if i == touched:  # fetch the coming sensors' rows all at once (rules.fanout.touch)
            touched = min(i + TOUCH_AHEAD, len(sensor))
            for ahead in range(i, touched):
                total += int(watched[sensor[ahead]]["heard_ms"] & 1)
        heard = watched[sensor[i]]
        number = heard["gateway"]
        if heard["is_troubled"] or (
            number >= 0 and (gates[number]["is_troubled"] or gates[number]["offline_ms"] != NEVER)
        ):
            break
        if number >= 0:
            gates[number]["heard_ms"] = received_ms[i]
        if reading_lane[i] == LIVE_LANE and quality[i] <= QUALITY_SUSPECT and not np.isnan(value[i]):
            heard["heard_ms"] = received_ms[i]
        i += 1
    return i, total


@njit(cache=True, nogil=True)
def watch(
    sensor: Array,
    quality: Array,
    reading_lane: Array,
    value: Array,
    received_ms: Array,
    news_gateway: Array,
    news_kind: Array,
    news_ms: Array,
    now_ms: int,
    guards: Array,
    gates: Array,
    members: Array,
    watched: Array,
    soonest: int,
    out: Array,
) -> tuple[int, Array, int, int]:
    """Listen to the batch and the gateways' news in the order of receive time, up to `now_ms`.

    Returns (earliest deadline that can come next, events, how many, _). `soonest` is that of the last call; `out`
    is scratch.
    """
    n = 0
    w = 0
    total = 0
    i = -1
    while i < len(sensor):
        next_ms = min(soonest, news_ms[w]) if w < len(news_ms) else soonest
        i, touched = listen(sensor, quality, reading_lane, value, received_ms, gates, watched, i + 1, next_ms)
        total += touched
        stamp_ms = received_ms[i] if i < len(sensor) else now_ms
        while w < len(news_ms) and news_ms[w] <= stamp_ms:
            if soonest <= news_ms[w]:
                soonest, out, n = raise_due(news_ms[w], i, guards, gates, members, watched, out, n)
            gate = gates[news_gateway[w]]
            if news_kind[w] == NEWS_HEARD:
                soonest, out, n = hear_gateway(
                    news_gateway[w], news_ms[w], 1, i, guards, gates, members, watched, soonest, out, n
                )
            elif news_ms[w] >= gate["heard_ms"]:
                gate["offline_ms"] = news_ms[w]
                for g in range(gate["first_guard"], gate["first_guard"] + gate["guards"]):
                    soonest = min(soonest, deadline(guards[g], gates, watched))
            w += 1
        if soonest <= stamp_ms:
            soonest, out, n = raise_due(stamp_ms, i, guards, gates, members, watched, out, n)
        if i == len(sensor):
            break
        heard = watched[sensor[i]]
        number = heard["gateway"]
        if number >= 0:
            gate = gates[number]
            if gate["is_troubled"] or gate["offline_ms"] != NEVER:
                soonest, out, n = hear_gateway(number, stamp_ms, 0, i, guards, gates, members, watched, soonest, out, n)
            else:
                gate["heard_ms"] = stamp_ms
        if reading_lane[i] == LIVE_LANE and quality[i] <= QUALITY_SUSPECT and not np.isnan(value[i]):
            if heard["is_troubled"]:
                soonest, out, n = hear_sensor(sensor[i], stamp_ms, i, guards, gates, watched, soonest, out, n)
            else:
                heard["heard_ms"] = stamp_ms
    return soonest, out, n, total


def no_events() -> Array:
    """Return scratch for `watch` to write its events into."""
    return np.empty(256, EVENT)
