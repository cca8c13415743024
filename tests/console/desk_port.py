"""A console over a real desk and a real ledger, with the heart's tick done in place: what pages and phones talk to."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from alerts.channels.sms import SmsChannel
from alerts.delivery.links import Signer
from citypulse.console.server import ConsoleServer
from citypulse.delivery import channel_views, understood
from citypulse.health import Health
from citypulse.ledger import Ledger, Tick
from citypulse.mailbox import MailboxFullError
from citypulse.model import Actor, Answer, ChannelConfig, Command, Person, Text
from citypulse.reading_room import ReadingRoom
from tests.alerts.cast import HERE, World, city

LEAD = Actor(name="Lea", role="lead")
ADA = Person(
    id="ada", name=Text(zh="阿达", en="Ada"), role="duty", teams=("desk",), contacts=(("phone", "+86 138-0000-0001"),)
)


class Port:
    """The city as the console sees it. `port.world` makes things happen."""

    def __init__(self, folder: Path) -> None:
        sms = SmsChannel.settings.model_validate({"url": "http://127.0.0.1:9/", "inbound_secret_env": "SMS_IN"})
        channels = {
            "phone": ChannelConfig(id="phone", kind="sms", settings=sms, origin=HERE),
            "board": ChannelConfig(id="board", kind="log", settings=None, origin=HERE),
        }
        self.config = replace(
            city(), people={"ada": ADA}, channels=channels, public_url="https://city.example", areas={}
        )
        self.world = World(self.config)
        self.ledger = Ledger.open(folder)
        self.room = ReadingRoom(self.ledger)
        self.signer = Signer(b"s" * 40, self.config.public_url)
        self.number = 0
        self.commands: list[Command] = []
        self.is_full = False
        self._server: ConsoleServer | None = None

    def commit(self, effects: Any) -> None:
        self.number += 1
        self.ledger.commit(Tick(number=self.number, now_ms=self.world.now_ms, effects=effects))

    def submit(self, command: Command) -> Future[Answer]:
        if self.is_full:
            raise MailboxFullError("full")
        self.commands.append(command)
        future: Future[Answer] = Future()
        known = self.ledger.answer_of(command.id)
        if known is None:
            effects = self.world.tick(commands=[command])
            self.commit(effects)
            known = effects.answers[0]
        future.set_result(known)
        return future

    def now_ms(self) -> int:
        return self.world.now_ms

    def health(self) -> Health:
        return Health(is_ready=True, problems=(), facts={})

    def actor_of(self, token: str) -> Actor | None:
        return {"lead": LEAD, "crew": Actor(name="Bo", role="crew")}.get(token)

    def alarm(self, alarm_id: str) -> dict[str, Any] | None:
        return self.room.alarm(alarm_id)

    def notices(self, **query: Any) -> list[dict[str, Any]]:
        return self.room.notices(**query)

    def notice(self, number: int) -> dict[str, Any] | None:
        return self.room.notice(number)

    def retry_notice(self, number: int) -> bool:
        return self.ledger.outbox.revive(number, now_ms=self.now_ms())

    def reply(self, channel: str, phone: str, text: str) -> tuple[Command | None, str]:
        return understood(self.config, self.ledger.reply_codes, channel, phone, text, self.now_ms())

    def channels(self) -> list[dict[str, Any]]:
        from alerts.delivery.outbox import Deliverer
        from citypulse.clock import VirtualClock

        deliverer = Deliverer(self.ledger.outbox, {}, {}, VirtualClock(self.now_ms()))
        return channel_views(self.config, deliverer, self.ledger.waiting_by_channel(), self.now_ms())

    def client(self) -> httpx.Client:
        """Return a client of the real server, started when first asked for."""
        if self._server is None:
            self._server = ConsoleServer(self, host="127.0.0.1", tcp_port=0)
            self._server.start()
            self._client = httpx.Client(base_url=self._server.address, timeout=20)
        return self._client

    def close(self) -> None:
        if self._server is not None:
            self._client.close()
            self._server.stop()
        self.ledger.close()
