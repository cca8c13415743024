"""The demo's broker outlives the Ctrl-C that ends the demo, so that the last messages still become durable."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest

from simulators.broker import DemoBroker
from tests.support.mosquitto import is_installed


@pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")
def test_ctrl_c_in_a_terminal_does_not_reach_the_broker() -> None:
    with DemoBroker() as broker:
        assert broker._process is not None
        assert os.getpgid(broker._process.pid) != os.getpgrp()


HOLDER = """
import sys
from simulators.broker import DemoBroker
with DemoBroker() as broker:
    print(broker.port, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not is_installed(), reason="needs mosquitto; .ci/run installs it")
def test_the_broker_does_not_outlive_a_demo_that_is_killed() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    port = int(holder.stdout.readline())
    assert _listens(port)
    holder.kill()
    holder.communicate()
    until_s = time.monotonic() + 20
    while _listens(port):
        assert time.monotonic() < until_s, "the broker still listens"
        time.sleep(0.02)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
