"""Stores of tests live in memory where the machine offers it: what they check does not depend on a disk's fsync."""

import shutil
import tempfile
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path_factory):
    """A folder of this test's own, gone afterwards."""
    if not MEMORY.is_dir():
        yield tmp_path_factory.mktemp("city")
        return
    folder = Path(tempfile.mkdtemp(prefix="citypulse-test-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
