"""Whether the city can be relied on now, in sentences: what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from citypulse.clock import monotonic_s
from citypulse.journal import Journal, UsageState
from citypulse.store.sink import Sink
from ingest.inbox import Inbox
from ingest.mqtt import MqttSource

BEAT_LATE_S = 10.0  # a heart that has not ticked for this long is stuck or starved
CLOCK_BACK_S = 30.0  # a step of the machine's clock; what NTP slews is far less
SINK_LAG_READINGS = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """Whether the city can be relied on now; `problems` are (zh, en) sentences with what to do."""

    is_ready: bool
    problems: tuple[tuple[str, str], ...]
    facts: dict[str, Any]
    is_alive: bool = True  # its heart beats and no thread has died: a restart would mend nothing
    is_mute: bool = False  # no channel that calls people works: it can tell nobody


class Heart(Protocol):
    """What the heart says of itself."""

    commit_problem: str


class Patient(Protocol):
    """The parts of a service that are looked at."""

    @property
    def city(self) -> Heart:
        """The heart."""
        ...

    source: MqttSource
    inbox: Inbox
    journal: Journal
    sink: Sink
    trouble: str
    beat_at_s: float


def behind(clock_ms: int, city_ms: int) -> tuple[str, str] | None:
    """Return what is wrong when the machine's clock stands far behind the city's own time, which never goes back."""
    late_s = (city_ms - clock_ms) / 1000
    if late_s < CLOCK_BACK_S:
        return None
    zh = f"时钟比已记录的时间落后 {late_s:.0f} 秒：失联、恢复、升级与时限判断停到追上为止，请校准时钟"
    still = "silence, recovery, escalation and due times stand still until it has caught up; set the clock right"
    return zh, f"the clock stands {late_s:.0f} s behind what is on record: {still}"


def examine(city: Patient) -> Health:
    """Look at every part once."""
    problems: list[tuple[str, str]] = []
    source, sink, usage = city.source.stats(), city.sink.stats(), city.journal.usage()
    beat_age_s = monotonic_s() - city.beat_at_s
    if city.trouble:
        problems.append((f"服务线程故障,需重启:{city.trouble}", f"restart the service: {city.trouble}"))
    if not source.is_connected:
        problems.append(
            (
                f"未连接消息代理({source.problem or '正在连接'}):检查地址、账号与网络",
                f"the broker is not connected ({source.problem or 'connecting'}): check address, account and network",
            )
        )
    problems.extend(
        (f"代理拒绝订阅 {topic}:检查访问控制", f"the broker refused {topic}: check its access rules")
        for topic in source.refused_topics
    )
    unwritten = city.city.commit_problem
    if unwritten:
        problems.append(
            (
                f"无法写入账本，未确认任何消息，数据不丢：{unwritten}",
                f"the ledger cannot be written; nothing is acknowledged meanwhile, so nothing is lost: {unwritten}",
            )
        )
    elif beat_age_s > BEAT_LATE_S:
        problems.append((f"心跳停了 {beat_age_s:.0f} 秒", f"the heart has not ticked for {beat_age_s:.0f} s"))
    if sink.problem:
        problems.append((f"读数库写入失败:{sink.problem}", f"the reading store does not take readings: {sink.problem}"))
    if usage.state is not UsageState.OK:
        problems.append(
            (
                f"日志占用 {usage.bytes >> 20} MiB,接近上限:修复 {usage.slowest_sink or '磁盘'}",
                f"the journal holds {usage.bytes >> 20} MiB, near its budget: mend {usage.slowest_sink or 'the disk'}",
            )
        )
    return Health(
        is_ready=not problems,
        is_alive=not city.trouble and (beat_age_s <= BEAT_LATE_S or bool(unwritten)),
        problems=tuple(problems),
        facts={
            "broker": source.protocol if source.is_connected else "",
            "inbox_depth": city.inbox.depth,
            "beat_age_s": round(beat_age_s, 2),
            "store_lag_readings": sink.lag_readings,
            "journal_bytes": usage.bytes,
            "last_tick": usage.last_tick,
        },
    )
