"""`citypulse alarms --grouped`: what is going on, as few situations instead of many alarms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from citypulse.reading_room import ReadingRoom

from .show import level_text, local, print_json, print_table


def show(data_dir: Path, *, as_json: bool, limit: int) -> None:
    """Print situations, worst first; as JSON whole, with every alarm and what is hidden."""
    with ReadingRoom.beside(data_dir) as room:
        view = room.situations()
        zone = room.timezone()
    view["situations"] = view["situations"][:limit]
    if as_json:
        print_json(view)
        return
    for storm in view["storms"]:
        if storm["is_on"]:
            since = local(storm["since_ms"], zone)
            click.echo(f"告警风暴 storm mode: {storm['desk']} 自 since {since}, {storm['alarms']} 条 alarms")
    print_table(
        ("级别 level", "类别 kind", "态势 situation", "可见 seen", "隐藏 hidden", "未确认 unacked", "首出 first out"),
        (
            (
                level_text(s["level"]),
                f"{s['kind_name']['zh']} {s['kind_name']['en']}",
                s["title"]["zh"] if s["title"]["zh"] == s["title"]["en"] else f"{s['title']['zh']} {s['title']['en']}",
                str(len(s["alarms"])),
                str(len(s["hidden"])),
                str(s["unacknowledged"]),
                _first(s, zone),
            )
            for s in view["situations"]
        ),
        empty="没有需要处理的告警 no alarm needs you",
    )


def _first(situation: dict[str, Any], zone: str) -> str:
    for alarm in (*situation["alarms"], *situation["hidden"]):
        if alarm["is_first_out"]:
            return f"{alarm['scope']} {local(alarm['raised_ms'], zone)}"
    return ""
