"""Photographs as simulated crews take them: small PNGs of a place before and after, drawn from a key."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from .noise import key_of, uniform

WIDTH: Final = 160
HEIGHT: Final = 120
GROUND: Final = (122, 117, 108)
TROUBLE: Final = {"before": (58, 92, 128), "after": (150, 146, 138), "check": (164, 160, 150)}


def picture(name: str, moment: str) -> bytes:
    """Return a PNG of 160 × 120 pixels: sky, ground, and what the trouble looks like at this moment.

    `moment` is before, after or check. The same name and moment give the same bytes.
    """
    key = key_of("picture", name)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.empty((HEIGHT, WIDTH, 3), np.float64)
    image[:] = (178, 200, 214)
    horizon = 40 + 15 * float(uniform(key, 1))
    image[rows > horizon] = GROUND
    middle = WIDTH * (0.3 + 0.4 * float(uniform(key, 2)))
    share = 1.0 if moment == "before" else 0.35
    inside = ((columns - middle) / (55 * share)) ** 2 + ((rows - 85) / (22 * share)) ** 2 < 1
    image[inside] = TROUBLE[moment]
    grain = uniform(key_of(name, moment), np.arange(HEIGHT * WIDTH)).reshape(HEIGHT, WIDTH, 1)
    pixels = np.clip(image + 18 * (grain - 0.5), 0, 255).astype(np.uint8)
    lines = b"".join(b"\x00" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
