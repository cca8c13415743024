"""Everything about one incident in one piece: readings, rules, record, notices, orders, photos, hashes.

Gathered from what was committed; nothing is computed that could not be computed again. `check` needs nothing but the
piece itself, so that an auditor can verify it without this house.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePath
from typing import Any, Final, Protocol

import numpy as np

from alerts.lifecycle import letter
from citypulse.clock import iso
from citypulse.ledger import Ledger
from citypulse.ledger.chain import link
from citypulse.model import Alarm, CityConfig, Rule, WorkOrder
from citypulse.store import Readings, ReadingStore
from citypulse.views import alarm_view, event_view, order_view, plain

FORM: Final = "citypulse-incident/1"
BEFORE_MS: Final = 3_600_000  # readings shown before the first breach
AFTER_MS: Final = 1_800_000  # and after the last line of the record
POINTS_MAX: Final = 20_000  # readings of one sensor; of more, the extremes of equal stretches are kept
LINES_MAX: Final = 20_000  # lines of the record
PHOTO_BYTES_MAX: Final = 20 << 20  # of all photos that are embedded; the rest is named by hash
RULE_LINES: Final = 40  # of the configuration file that are quoted from a rule's first line on


class ConfigText(Protocol):
    """Where configurations that were in force are kept."""

    def __call__(self, at_ms: int) -> tuple[CityConfig | None, dict[str, str]]:
        """Return the configuration in force at an instant and the texts of its files by name."""
        ...


def gather(
    ledger: Ledger,
    store: ReadingStore,
    config_at: ConfigText,
    number: str,
    *,
    now_ms: int,
    photo: Callable[[str], bytes | None] = lambda _sha256: None,
) -> dict[str, Any] | None:
    """Return the piece for an alarm's or an order's id, JSON-ready; None when there is neither.

    `photo` returns the bytes that have a sha256, or None. The piece holds the alarm, the orders it opened or joined,
    and every alarm of those orders.
    """
    alarms, orders = _involved(ledger, number)
    if not alarms and not orders:
        return None
    subjects = [a.id for a in alarms] + [o.id for o in orders]
    lines = [row for s in subjects for row in ledger.events(subject=s, limit=LINES_MAX)]
    lines.sort(key=lambda row: row.seq)
    kept = ledger.kept_lines(subjects, limit=LINES_MAX)
    began_ms = min([a.breach_ms or a.raised_ms for a in alarms] + [o.opened_ms for o in orders])
    ended_ms = max([row.event.wall_ms for row in lines] + [began_ms])
    config, texts = config_at(alarms[0].raised_wall_ms if alarms else began_ms)
    verdict = ledger.verify()
    return {
        "form": FORM,
        "id": number,
        "gathered_at": iso(now_ms),
        "city": plain(config.name) if config is not None else None,
        "places": {
            s: plain(config.sites[s].name)
            for s in dict.fromkeys([*(a.site for a in alarms), *(o.asset for o in orders)])
            if s in config.sites
        }
        if config is not None
        else {},
        "timezone": config.timezone if config is not None else "UTC",
        "configuration": config.fingerprint if config is not None else "",
        "began_at": iso(began_ms),
        "ended_at": iso(ended_ms),
        "alarms": [alarm_view(a, isa=letter(a)) for a in alarms],
        "orders": [order_view(o) for o in orders],
        "rules": [_rule_view(r, origin, config, texts) for r, origin in _rules_of(config, alarms)]
        if config is not None
        else [],
        "readings": _readings(ledger, store, config, alarms, orders, began_ms - BEFORE_MS, ended_ms + AFTER_MS),
        "record": [
            event_view(row.event, seq=row.seq) | {"prev_hash": row.prev_hash, "hash": row.hash, "kept": kept[row.seq]}
            for row in lines
        ],
        "notices": sorted(
            (_notice_view(row) for s in subjects for row in ledger.outbox_rows(subject=s, limit=LINES_MAX)),
            key=lambda view: view["id"],
        ),
        "photos": _photos(orders, [row.event.data for row in lines], photo),
        "chain": {
            "is_whole": verdict.first_broken is None,
            "checked": verdict.checked,
            "why": verdict.why,
            "head_seq": verdict.head_seq,
            "head_hash": verdict.head_hash,
        },
    }


def check(piece: dict[str, Any]) -> list[str]:
    """Return what is wrong with a piece, judged by itself: lines that do not match their hash, photos neither."""
    wrong = []
    if piece.get("form") != FORM:
        return [f"this is no incident of form {FORM}: {piece.get('form')!r}"]
    for line in piece["record"]:
        if link(line["seq"], line["prev_hash"], line["kept"]) != line["hash"]:
            wrong.append(f"line {line['seq']} ({line['kind']}) does not match its hash")
        elif (shown := _shown(line)) != (held := _held(line["kept"])):
            wrong.append(f"line {line['seq']} is shown as {shown} but its hashed columns say {held}")
    wrong += [
        f"photo {photo['sha256'][:12]} does not match its hash"
        for photo in piece["photos"]
        if photo["data"] and hashlib.sha256(base64.b64decode(photo["data"])).hexdigest() != photo["sha256"]
    ]
    before = None
    for line in piece["record"]:
        if before is not None and line["seq"] == before["seq"] + 1 and line["prev_hash"] != before["hash"]:
            wrong.append(f"line {line['seq']} does not follow line {before['seq']}")
        before = line
    return wrong


_SHOWN: Final = ("subject", "kind", "wall_ms", "actor", "because", "to_state")
_COLUMN: Final = {"subject": 0, "kind": 3, "wall_ms": 5, "actor": 6, "because": 10, "to_state": 9}


def _shown(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line[name] for name in _SHOWN)


def _held(kept: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(kept[_COLUMN[name]] for name in _SHOWN)


def _involved(ledger: Ledger, number: str) -> tuple[list[Alarm], list[WorkOrder]]:
    """Return the alarms and orders that belong together, in order of time."""
    alarms: dict[str, Alarm] = {}
    orders: dict[str, WorkOrder] = {}
    todo = [number]
    while todo:
        wanted = todo.pop()
        if wanted in alarms or wanted in orders:
            continue
        if (alarm := ledger.alarm(wanted)) is not None:
            alarms[alarm.id] = alarm
            todo += [alarm.order_id] if alarm.order_id else []
        elif (order := ledger.order(wanted)) is not None:
            orders[order.id] = order
            todo += [*order.alarm_ids, *([order.recurrence_of] if order.recurrence_of else [])]
    by_time = sorted(alarms.values(), key=lambda a: (a.raised_wall_ms, a.id))
    return by_time, sorted(orders.values(), key=lambda o: (o.opened_ms, o.id))


def _rules_of(config: CityConfig, alarms: Iterable[Alarm]) -> list[tuple[Rule, str]]:
    """Return the rules of these alarms, each once, with the place that the alarm names."""
    found: dict[int, tuple[Rule, str]] = {}
    for alarm in alarms:
        rule = next((r for r in config.rules if r.id == alarm.rule and alarm.scope in r.scopes), None)
        if rule is not None:
            found.setdefault(id(rule), (rule, alarm.rule_origin))
    return list(found.values())


def _rule_view(rule: Rule, origin: str, config: CityConfig, texts: dict[str, str]) -> dict[str, Any]:
    name = PurePath(rule.origin.file).name
    body = next((text for file, text in texts.items() if PurePath(file).name == name), "")
    first = max(1, rule.origin.line)
    quoted = _one_item(body.splitlines()[first - 1 : first - 1 + RULE_LINES])
    return {
        "id": rule.id,
        "name": plain(rule.name),
        "version": rule.version,
        "origin": origin,
        "detector": rule.detector,
        "unit": rule.unit,
        "source": rule.source,
        "limits": [plain(limit) | {"sign": limit.side.sign, "colour": limit.level.colour} for limit in rule.limits],
        "text": "\n".join(quoted),
        "fingerprint": config.fingerprint,
    }


def _one_item(lines: Sequence[str]) -> list[str]:
    """Return the first item of a YAML list, without the one after it."""
    if not lines:
        return []
    depth = len(lines[0]) - len(lines[0].lstrip())
    item = [lines[0]]
    for line in lines[1:]:
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        item.append(line)
    while item and not item[-1].strip():
        item.pop()
    return item


def _readings(
    ledger: Ledger,
    store: ReadingStore,
    config: CityConfig | None,
    alarms: Sequence[Alarm],
    orders: Sequence[WorkOrder],
    since_ms: int,
    until_ms: int,
) -> list[dict[str, Any]]:
    watched = {name: None for o in orders for name in o.watched}
    if config is not None:
        for alarm in alarms:
            rule = next((r for r in config.rules if r.id == alarm.rule and alarm.scope in r.scopes), None)
            names = rule.sensors[rule.scopes.index(alarm.scope)] if rule is not None else ()
            watched |= dict.fromkeys(names[:8])
    index = {name: k for k, name in enumerate(ledger.known_sensor_ids())}
    units = {s.id: s.unit for s in config.sensors} if config is not None else {}
    found = []
    for name in watched:
        if name in index:
            rows = store.query(index[name], since_ms, until_ms)
            total, rows = len(rows), thinned(rows, POINTS_MAX)
            found.append(
                {
                    "sensor": name,
                    "unit": units.get(name, ""),
                    "readings": total,
                    "time_ms": rows.time_ms.tolist(),
                    "value": rows.value.tolist(),
                    "quality": rows.quality.tolist(),
                    "received_ms": rows.received_ms.tolist(),
                }
            )
    return found


def thinned(rows: Readings, most: int) -> Readings:
    """Return at most `most` readings: the lowest and the highest of each of equal stretches, in order of time."""
    if len(rows) <= most:
        return rows
    keep = set()
    for part in np.array_split(np.arange(len(rows)), most // 2):
        values = rows.value[part]
        keep |= {int(part[int(np.argmin(values))]), int(part[int(np.argmax(values))])}
    chosen = np.array(sorted(keep))
    return Readings(
        sensor=rows.sensor[chosen],
        time_ms=rows.time_ms[chosen],
        value=rows.value[chosen],
        quality=rows.quality[chosen],
        received_ms=rows.received_ms[chosen],
    )


def _notice_view(row: Any) -> dict[str, Any]:
    view: dict[str, Any] = plain(row)
    notice = view.pop("notice")
    return {**notice, **view}


def _photos(
    orders: Sequence[WorkOrder], data: Sequence[dict[str, Any]], photo: Callable[[str], bytes | None]
) -> list[dict[str, Any]]:
    """Return every photo named in the orders or their lines, once, embedded as long as there is room."""
    found: dict[str, dict[str, Any]] = {}
    for source in [*(o.data for o in orders), *data]:
        for path, digest in _digests(source):
            found.setdefault(digest, {"sha256": digest, "what": path, "data": ""})
    room = PHOTO_BYTES_MAX
    for digest, view in found.items():
        content = photo(digest)
        if content is not None and len(content) <= room:
            view["data"] = base64.b64encode(content).decode()
            room -= len(content)
    return list(found.values())


def _digests(value: Any, path: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _digests(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _digests(item, path)
    elif isinstance(value, str) and value.startswith("sha256:") and len(value) == 71:
        yield path, value.removeprefix("sha256:")
