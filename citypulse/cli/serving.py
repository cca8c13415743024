"""Puts the console in front of a service and leaves its address and token where commands beside it look."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from citypulse.app import Service
from citypulse.console.server import ConsoleServer

from .client import SERVICE_FILE, TOKEN_FILE


def address_of(text: str) -> tuple[str, int]:
    """Split HOST:PORT; raises UsageError with the cure."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535 or not host:
        raise click.UsageError(f"--http takes HOST:PORT, for example 127.0.0.1:8080, not {text!r}")
    return host.strip("[]"), int(port)


def _write_private(path: Path, text: str) -> None:
    """Write whole or not at all, for its owner only: half a key would lock the commands beside it out for good."""
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def serve_console(service: Service, http: str, data_dir: Path) -> Iterator[ConsoleServer]:
    """Serve the console while the block runs."""
    host, port = address_of(http)
    server = ConsoleServer(service.window, host=host, tcp_port=port)
    # The key of commands on this machine: made at first start, readable by the service's owner only, never printed.
    token_path = data_dir / TOKEN_FILE
    if not token_path.exists():
        _write_private(token_path, service.users.add("local-desk", role="lead") + "\n")
    server.start()
    _write_private(data_dir / SERVICE_FILE, json.dumps({"address": server.address, "pid": os.getpid()}))
    try:
        yield server
    finally:
        (data_dir / SERVICE_FILE).unlink(missing_ok=True)
        server.stop()
