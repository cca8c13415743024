"""The demo's broker outlives the Ctrl-C that ends the demo, so that the last messages still become durable."""

from __future__ import annotations

import os

import pytest

from simulators.broker import DemoBroker, find_mosquitto


@pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto; .ci/run installs it")
def test_ctrl_c_in_a_terminal_does_not_reach_the_broker() -> None:
    with DemoBroker() as broker:
        assert broker._process is not None
        assert os.getpgid(broker._process.pid) != os.getpgrp()
