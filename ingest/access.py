"""Where the broker is and how we prove who we are: the address from the configuration, secrets never from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from citypulse.errors import CityError

USERNAME_VARIABLE = "CITYPULSE_MQTT_USERNAME"
PASSWORD_VARIABLE = "CITYPULSE_MQTT_PASSWORD"  # noqa: S105 - the name of a variable, not a secret
CA_VARIABLE = "CITYPULSE_MQTT_CA_FILE"
PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A broker's place in the network."""

    host: str
    port: int
    is_encrypted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What the broker wants to see before it lets us in. `ca_file` "" means the machine's own authorities."""

    username: str | None = None
    password: str | None = None
    ca_file: str = ""

    def __repr__(self) -> str:
        return (
            f"Access(username={self.username!r}, password={'set' if self.password else None}, ca_file={self.ca_file!r})"
        )


def parse_url(url: str) -> Address:
    """Read `mqtt://host[:port]` or `mqtts://host[:port]`.

    Raises CityError when the scheme is another, the host is missing, or a name or password stands in the
    address: configuration files are copied and mailed, secrets must not be in them.
    """
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise CityError(
            f'broker address "{parts.scheme}://…" is not understood; write mqtt://host:1883 or mqtts://host:8883'
        )
    if "@" in parts.netloc:
        raise CityError(
            f"the broker address carries a user name or password; put them into {USERNAME_VARIABLE} and "
            f"{PASSWORD_VARIABLE} (or {PASSWORD_VARIABLE}_FILE) instead"
        )
    try:
        port = parts.port or PORTS[parts.scheme]
    except ValueError as error:
        raise CityError(f"the broker's port is not a number from 1 to 65535: {error}") from error
    return Address(host=parts.hostname, port=port, is_encrypted=parts.scheme == "mqtts")


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    direct, file = environ.get(name), environ.get(f"{name}_FILE")
    if direct is not None and file is not None:
        raise CityError(f"both {name} and {name}_FILE are set; keep one, so that nobody wonders which counts")
    if file is None:
        return direct
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CityError(f"{name}_FILE names {file}, which cannot be read: {error}") from error


def access_from(environ: Mapping[str, str]) -> Access:
    """Read user name, password and authority from the environment, or from the files it names with `_FILE`.

    Raises CityError when a secret is given both ways or its file cannot be read.
    """
    return Access(
        username=_secret(environ, USERNAME_VARIABLE),
        password=_secret(environ, PASSWORD_VARIABLE),
        ca_file=environ.get(CA_VARIABLE, ""),
    )
