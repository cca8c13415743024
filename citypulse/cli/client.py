"""How a command beside the service reaches it: the address and token it left in its data folder, over HTTP."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from citypulse.errors import CityError

SERVICE_FILE = "service.json"  # {"address": "http://127.0.0.1:8080", "pid": 4711}, written by `run`, removed at stop
TOKEN_FILE = "desk.token"  # noqa: S105 - a file name; the file is readable by its owner only
TIMEOUT_S = 20.0
LOCKS = Path("/proc/locks")


class NotRunningError(CityError):
    """No service runs on this data folder."""


def default_data_dir() -> Path:
    """Return $CITYPULSE_DATA, or citypulse/ under the XDG state folder."""
    named = os.environ.get("CITYPULSE_DATA")
    if named:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "citypulse"


def is_held(data_dir: Path) -> bool:
    """True while a process has this data folder: a service, also one that is only starting, or an import.

    It is read off the kernel's list of locks, where there is one: trying the lock could keep a service from starting.
    """
    from citypulse.ledger.ledger import LOCK_FILE

    try:
        inode = (data_dir / LOCK_FILE).stat().st_ino
        lines = LOCKS.read_text().splitlines()
    except OSError:
        return False
    return any(" FLOCK " in line and f":{inode} " in line and " WRITE " in line for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A running service, addressed by its data folder."""

    address: str
    token: str

    @classmethod
    def of(cls, data_dir: Path) -> Client:
        """Find the service of a data folder; raises NotRunningError with the cure."""
        try:
            service = json.loads((data_dir / SERVICE_FILE).read_text())
            token = (data_dir / TOKEN_FILE).read_text().strip()
        except FileNotFoundError:
            if is_held(data_dir):  # somebody has the folder, and has not said yet where it listens
                said = f"{data_dir} 的服务正在启动或收尾 the service is starting or stopping; ask again in a moment"
                raise NotRunningError(said) from None
            raise NotRunningError(
                f"{data_dir} 没有运行中的服务 no service runs on {data_dir}; "
                f"start it with `citypulse run --data {data_dir} --config sensors.yaml`"
            ) from None
        except (PermissionError, ValueError) as error:
            raise CityError(f"cannot read the service's address or token in {data_dir}: {error}") from error
        return cls(address=service["address"], token=token)

    def now_ms(self) -> int:
        """Return the city's own time, epoch ms: a sped-up city's differs from the wall's."""
        return int(self.get("/api/v1/time")["now_ms"])

    def _open(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the address is the service's own, http on this host
            self.address + path,
            data=data,
            method=method,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310

    def get(self, path: str, **query: str | int) -> Any:
        """GET JSON."""
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        return self._call("GET", path + tail, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST a command; a refusal comes back as its JSON answer, not as an exception."""
        return self._call("POST", path, body)

    def lines(self, path: str) -> Iterator[bytes]:
        """Stream the lines of an answer."""
        try:
            with self._open("GET", path, None) as answer:
                yield from answer
        except (urllib.error.URLError, OSError) as error:
            raise self._gone(error) from error

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        try:
            with self._open(method, path, body) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                return json.load(error)
            except ValueError:
                raise CityError(f"{method} {path}: the service answered {error.code}") from error
        except (urllib.error.URLError, OSError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> NotRunningError:
        return NotRunningError(
            f"服务没有回应 the service at {self.address} does not answer ({error}); is it still running? "
            "see `citypulse doctor`"
        )
