"""Gateways' ways to the broker: one connection each, as in the field, or a few shared ones for a weak broker.

With a connection of its own a gateway has a will, and the broker publishes it when the link breaks. On a shared
trunk nobody can have a will, so the trunk publishes the same words itself when a gateway's line is cut.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.mqtt import MqttPublisher

from .gateways import Receipt
from .wire import ack_topic, pack_state, state_topic


class OwnLine:
    """A connection of its own, with a retained will."""

    def __init__(self, url: str, gateway: str) -> None:
        """Prepare, without connecting; CityError for a bad address."""
        self._gateway = gateway
        self._hear: Callable[[bytes], None] = lambda _payload: None
        self._boot, self._at_ms = "", 0
        self._publisher = MqttPublisher(
            url, client_id=f"gw-{gateway}", on_message=lambda _topic, payload: self._hear(payload)
        )

    @property
    def is_up(self) -> bool:
        """Whether the broker has accepted this gateway."""
        return self._publisher.is_connected

    @property
    def connects(self) -> int:
        """How often it has been accepted."""
        return self._publisher.connects

    @property
    def problem(self) -> str:
        """Why it is not, as far as the broker said."""
        return self._publisher.problem

    def introduce(self, boot: str, at_ms: int, hear: Callable[[bytes], None]) -> None:
        """Set will and topics; a change of boot id needs a new connection, as a real reboot has."""
        is_again = bool(self._boot) and boot != self._boot
        self._boot, self._at_ms, self._hear = boot, at_ms, hear
        self._publisher.introduce(
            will=(state_topic(self._gateway), pack_state("offline", boot, at_ms)), topics=(ack_topic(self._gateway),)
        )
        if is_again:
            self._publisher.sever()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Receipt | None:
        """Send at QoS 1."""
        return self._publisher.publish(topic, payload, retain=retain)

    def keep_up(self) -> None:
        """Connect, or connect again."""
        self._publisher.keep_up()

    def cut(self) -> None:
        """Break the connection; the broker publishes the will."""
        self._publisher.sever()

    def close(self) -> None:
        """Say that this gateway goes offline, and disconnect."""
        if self.is_up:
            self._publisher.publish(
                state_topic(self._gateway), pack_state("offline", self._boot, self._at_ms), retain=True
            )
        self._publisher.stop()


class Trunk:
    """One connection that several gateways share."""

    def __init__(self, url: str, number: int) -> None:
        """Prepare, without connecting; CityError for a bad address."""
        self._publisher = MqttPublisher(url, client_id=f"gw-trunk-{number}", on_message=self._bring)
        self._ears: dict[str, Callable[[bytes], None]] = {}

    @property
    def publisher(self) -> MqttPublisher:
        """The connection itself."""
        return self._publisher

    def join(self, gateway: str, hear: Callable[[bytes], None]) -> None:
        """Bring this gateway's answers to `hear`. All gateways join before the first connection."""
        self._ears = self._ears | {ack_topic(gateway): hear}
        self._publisher.introduce(will=None, topics=tuple(self._ears))

    def _bring(self, topic: str, payload: bytes) -> None:
        hear = self._ears.get(topic)
        if hear is not None:
            hear(payload)


class SharedLine:
    """A gateway's place on a trunk."""

    def __init__(self, trunk: Trunk, gateway: str) -> None:
        """Take a place; the trunk is connected by whichever gateway works first."""
        self._trunk = trunk
        self._gateway = gateway
        self._boot, self._at_ms = "", 0
        self._mended = 0  # how often this line came back on a trunk that stayed up
        self._is_cut = False

    @property
    def is_up(self) -> bool:
        """Whether the trunk stands and this line on it."""
        return self._trunk.publisher.is_connected and not self._is_cut

    @property
    def connects(self) -> int:
        """How often this line has come up."""
        return self._trunk.publisher.connects + self._mended

    @property
    def problem(self) -> str:
        """Why the trunk is down, as far as the broker said."""
        return self._trunk.publisher.problem

    def introduce(self, boot: str, at_ms: int, hear: Callable[[bytes], None]) -> None:
        """Join the trunk under a boot id."""
        self._boot, self._at_ms = boot, at_ms
        self._trunk.join(self._gateway, hear)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> Receipt | None:
        """Send at QoS 1."""
        return None if self._is_cut else self._trunk.publisher.publish(topic, payload, retain=retain)

    def keep_up(self) -> None:
        """Keep the trunk up; mend this line when it had been cut."""
        if self._is_cut:
            self._is_cut = False
            self._mended += 1
        self._trunk.publisher.keep_up()

    def cut(self) -> None:
        """Cut this line only, saying what its will would have said."""
        self._say_offline()
        self._is_cut = True

    def close(self) -> None:
        """Say that this gateway goes offline; whoever owns the trunk stops it."""
        if not self._is_cut:
            self._say_offline()

    def _say_offline(self) -> None:
        self._trunk.publisher.publish(
            state_topic(self._gateway), pack_state("offline", self._boot, self._at_ms), retain=True
        )
