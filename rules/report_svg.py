"""Small pictures for the backtest report as inline SVG: readings with limit lines and alarms, and bars per day.

Texts are escaped here; colours are repeated as words or dashes, so that a black-and-white print says the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

from citypulse.model import Priority

from .because import number

WIDTH, HEIGHT = 620, 170
LEFT, RIGHT, TOP, BOTTOM = 52, 96, 8, 20
COLOURS = {Priority.P1: "#c1121f", Priority.P2: "#d96c06", Priority.P3: "#a07c00", Priority.P4: "#1d5fbf"}
GAP_FACTOR = 5  # a pause this many times the usual one between readings breaks the line


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A limit drawn across the picture; `is_old` ones belong to the configuration that is being replaced."""

    value: float
    level: Priority
    sign: str
    is_old: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """An alarm's time, shaded; the old configuration's lies in the lower half."""

    start_ms: int
    end_ms: int
    level: Priority
    is_old: bool = False
    label: str = ""  # where there is nothing to compare: written instead, and the band takes the whole height


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Readings of one sensor between two instants (epoch ms), in `unit`."""

    title: str
    unit: str
    since_ms: int
    until_ms: int
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]
    lines: Sequence[Line] = field(default=())
    bands: Sequence[Band] = field(default=())


def draw(plot: Plot, clock: Callable[[int], str]) -> str:
    """Return the picture; `clock` writes an instant for people."""
    low, high = _range(plot)
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    span_ms = max(1, plot.until_ms - plot.since_ms)

    def x(ms: float) -> float:
        return LEFT + wide * min(1.0, max(0.0, (ms - plot.since_ms) / span_ms))

    def y(value: float) -> float:
        return TOP + tall * (1 - (value - low) / (high - low))

    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(plot.title)}">',
        f"<title>{escape(plot.title)}</title>",
    ]
    names = []  # of the bands; drawn last, so that no line of a limit runs through them
    for band in plot.bands:
        begin, end = x(band.start_ms), x(band.end_ms)
        top, height = (TOP + tall / 2, tall / 2) if band.is_old else (TOP, tall if band.label else tall / 2)
        said = band.label or ("旧 old" if band.is_old else "新 new")
        style = 'fill-opacity="0.10" stroke-dasharray="3 2"' if band.is_old else 'fill-opacity="0.22"'
        colour = COLOURS[band.level]
        parts.append(
            f'<rect x="{begin:.1f}" y="{top:.1f}" width="{max(1.5, end - begin):.1f}" height="{height:.1f}" '
            f'fill="{colour}" stroke="{colour}" stroke-width="0.6" {style}/>'
        )
        names.append(f'<text x="{begin + 3:.1f}" y="{top + 10:.1f}" class="tick name">{escape(said)}</text>')
    parts.append(f'<path class="frame" d="M{LEFT} {TOP}V{TOP + tall}H{LEFT + wide}"/>')
    taken: list[float] = []
    for line in sorted(plot.lines, key=lambda ln: (ln.is_old, ln.value)):
        if not low <= line.value <= high:
            continue
        at = y(line.value)
        dash = "2 4" if line.is_old else "6 3"
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + wide}" y1="{at:.1f}" y2="{at:.1f}" stroke="{COLOURS[line.level]}" '
            f'stroke-width="1" stroke-dasharray="{dash}"/>'
        )
        if all(abs(at - other) > 9 for other in taken):
            taken.append(at)
            said = f"{line.sign} {number(line.value)} {line.level.colour_zh}{' 旧' if line.is_old else ''}"
            parts.append(
                f'<text x="{LEFT + wide + 4}" y="{at + 3:.1f}" class="tick" fill="{COLOURS[line.level]}">'
                f"{escape(said)}</text>"
            )
    parts += _trace(plot, x, y) + names
    for value in (low, high):
        parts.append(f'<text x="{LEFT - 4}" y="{y(value) + 4:.1f}" class="tick end">{number(_round(value))}</text>')
    parts.append(f'<text x="{LEFT - 4}" y="{TOP + tall / 2 + 4:.1f}" class="tick end">{escape(plot.unit)}</text>')
    foot = HEIGHT - 6
    parts.append(f'<text x="{LEFT}" y="{foot}" class="tick">{escape(clock(plot.since_ms))}</text>')
    parts.append(f'<text x="{LEFT + wide}" y="{foot}" class="tick end">{escape(clock(plot.until_ms))}</text></svg>')
    return "".join(parts)


def _range(plot: Plot) -> tuple[float, float]:
    """Return what the vertical axis must hold: the readings, and limits that are near them."""
    there = plot.value[np.isfinite(plot.value)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)
    reach = max(high - low, abs(high) * 0.1, 1e-9)
    raised = {band.level for band in plot.bands}  # the limit that was crossed is always seen
    near = [ln.value for ln in plot.lines if ln.level in raised or low - reach <= ln.value <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.06 * max(high - low, abs(high) * 0.01, 1e-9)
    return low - pad, high + pad


def _round(value: float) -> float:
    return float(f"{value:.3g}") if math.isfinite(value) else 0.0


def _trace(plot: Plot, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    """Return the readings as lines, broken where there are none for long, and as a dot where one stands alone."""
    times, values = plot.time_ms, plot.value
    if not len(times):
        return [f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT / 2:.0f}" class="tick">没有读数 no readings</text>']
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    breaks = np.flatnonzero((np.diff(times) > GAP_FACTOR * usual) | ~np.isfinite(values[:-1])) + 1
    parts = []
    for group in np.split(np.arange(len(times)), breaks):
        points = [(x(float(times[i])), y(float(values[i]))) for i in group if math.isfinite(values[i])]
        if len(points) == 1:
            parts.append(f'<circle cx="{points[0][0]:.1f}" cy="{points[0][1]:.1f}" r="1.5"/>')
        elif points:
            listed = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            parts.append(f'<polyline class="trace" points="{listed}"/>')
    return parts


def bars(counts: Sequence[int], *, label: str, most: int = 400, beside: Sequence[int] = ()) -> str:
    """Return bars of alarms per day; more than `most` days are summed in groups.

    beside: the counts these are compared with, drawn to the same scale.
    """
    step = -(-len(counts) // most) if counts else 1
    grouped = [sum(counts[k : k + step]) for k in range(0, len(counts), step)]
    others = [sum(beside[k : k + step]) for k in range(0, len(beside), step)]
    top = max((*grouped, *others), default=0) or 1
    wide = max(2.0, min(14.0, 600 / max(1, len(grouped))))
    head = f'<svg class="bars" viewBox="0 0 {wide * len(grouped):.0f} 44" preserveAspectRatio="none" role="img" '
    parts = [head + f'aria-label="{escape(label)}"><title>{escape(label)}</title>']
    for k, n in enumerate(grouped):
        tall = 40 * n / top
        parts.append(f'<rect x="{k * wide:.1f}" y="{42 - tall:.1f}" width="{wide - 0.8:.1f}" height="{tall:.1f}"/>')
    return "".join(parts) + "</svg>"
