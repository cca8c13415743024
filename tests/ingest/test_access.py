"""Where the broker is, and secrets that never stand in a configuration file."""

from __future__ import annotations

import pytest

from citypulse.errors import CityError
from ingest.access import Access, access_from, parse_url


@pytest.mark.parametrize(
    ("url", "host", "port", "is_encrypted"),
    [
        ("mqtt://broker.local", "broker.local", 1883, False),
        ("mqtt://10.0.0.7:1884", "10.0.0.7", 1884, False),
        ("mqtts://broker.local", "broker.local", 8883, True),
        ("mqtt://[::1]:1999", "::1", 1999, False),
    ],
)
def test_an_address_is_read(url, host, port, is_encrypted) -> None:
    address = parse_url(url)
    assert (address.host, address.port, address.is_encrypted) == (host, port, is_encrypted)


@pytest.mark.parametrize("url", ["", "broker", "http://broker", "mqtt://", "mqtt://broker:99999", "mqtt://broker:x"])
def test_what_is_no_address_is_refused(url) -> None:
    with pytest.raises(CityError):
        parse_url(url)


def test_a_secret_in_the_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(CityError) as caught:
        parse_url("mqtt://ada:sesame@broker")
    assert "sesame" not in str(caught.value)
    assert "CITYPULSE_MQTT_PASSWORD" in str(caught.value)


def test_secrets_come_from_the_environment_or_a_file(tmp_path) -> None:
    (tmp_path / "secret").write_text("sesame\n")
    direct = access_from({"CITYPULSE_MQTT_USERNAME": "ada", "CITYPULSE_MQTT_PASSWORD": "sesame"})
    by_file = access_from({"CITYPULSE_MQTT_USERNAME": "ada", "CITYPULSE_MQTT_PASSWORD_FILE": str(tmp_path / "secret")})
    assert direct == by_file == Access(username="ada", password="sesame")
    assert access_from({}) == Access()


def test_a_secret_given_both_ways_is_refused(tmp_path) -> None:
    with pytest.raises(CityError, match="both"):
        access_from({"CITYPULSE_MQTT_PASSWORD": "a", "CITYPULSE_MQTT_PASSWORD_FILE": "b"})


def test_a_secret_file_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(CityError, match="nowhere"):
        access_from({"CITYPULSE_MQTT_PASSWORD_FILE": str(tmp_path / "nowhere")})


def test_a_password_is_not_printed() -> None:
    assert "sesame" not in repr(Access(username="ada", password="sesame"))
