"""What a configuration may name: the tables of detectors, codecs and channels, without the parts that run a city.

Verbs that only read a configuration, or judge recorded readings by it, need neither the ledger nor the broker: they
import this, not citypulse.app, and begin a second earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from alerts.channels import CHANNELS
from citypulse.config import Extensions, load_city
from ingest.codecs import CODECS
from ingest.qc.settings import QualitySettings
from rules.detectors import DETECTORS
from rules.sound import REFUSALS, unsound


def extensions() -> Extensions:
    """Return what a configuration may name: the tables of detectors, codecs and channels."""
    return Extensions(
        detectors={name: d.settings for name, d in DETECTORS.items()},
        codecs=frozenset(CODECS),
        channels={kind: c.settings for kind, c in CHANNELS.items()},
        quality=QualitySettings,
        trial=unsound,
    )


@contextmanager
def laid_out_once(*paths: Path) -> Iterator[Extensions]:
    """Give extensions that leave it to the block to find out whether the rules can be laid out, as it does so anyway.

    When they cannot, the files are read once more: ConfigError says which rule a detector refuses, at its line.
    """
    known = extensions()
    try:
        yield replace(known, trial=None)
    except REFUSALS:
        for path in paths:
            load_city(path, known)
        raise
