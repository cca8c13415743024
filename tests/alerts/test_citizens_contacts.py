"""A citizen's contact: masked everywhere, shown to who needs it and asks, on record, erased in time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.desk import Desk
from citypulse.contacts import contacts_of, erasure, masked, scrubbed, without_contacts
from citypulse.ledger import Ledger, Tick
from citypulse.model import Actor, Command, OrderState, ReadingBatch
from citypulse.reading_room import ReadingRoom
from citypulse.views import order_view
from tests.alerts.cast import ADA, DUTY, LEAD, REPAIR, TABLE, World, city
from tests.ledger.ledger_cast import an_order, effects_of

PUBLIC = Actor(name="web", role="public")
VIEWER = Actor(name="vera", role="viewer")
CONTACT = "张三 138 1234 5678"
DAY_MS = 86_400_000


def reported(world: World) -> str:
    return world.does(PUBLIC, "order.new", "", site="mill", cause="smell", contact=CONTACT, note="call 13812345678",
                      level="blue").subject  # fmt: skip


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("张三 13812341234", "张* 138****1234"),
        ("+86 138-1234-1234", "138****1234"),
        ("0571-87654321 Ms Li", "057****4321 M* L*"),
        ("zhang.san@example.com", "z***@example.com"),
        ("110", "***"),
    ],
)
def test_a_masked_contact_can_be_recognised_but_not_called(contact, shown):
    assert masked(contact) == shown


@given(st.text(max_size=60), st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True))
def test_a_mobile_number_never_survives_masking(around, number):
    assert number not in masked(f"{around} {number} {around}") or number in around
    assert number not in scrubbed(f"电话{number}。")


def test_neither_the_record_nor_a_notice_nor_a_view_holds_the_contact():
    world = World()
    number = reported(world)
    order = world.ledger.orders[number]
    assert contacts_of(order.data) == [CONTACT]
    said = json.dumps([[e.because, e.data] for e in world.ledger.events], ensure_ascii=False)
    told = "".join(n.title + n.body for n in world.ledger.notices)
    view = json.dumps(order_view(order), ensure_ascii=False)
    for text in (said, told, view):
        assert "1234 5678" not in text
        assert "13812345678" not in text
    assert "138****5678" in view


@pytest.mark.parametrize("role", ["duty", "lead", "dispatcher", "checker", "supervisor"])
def test_who_calls_citizens_back_sees_the_contact_and_leaves_a_line(role):
    world = World()
    number = reported(world)
    who = Actor(name="who", role=role)
    answer = world.does(who, "order.contact", number, reason="call back")
    assert answer.ok
    last = world.ledger.events[-1]
    assert (last.kind, last.actor, last.actor_role) == ("contact_seen", "who", role)
    assert "call back" in last.because


@pytest.mark.parametrize("role", ["viewer", "public", "engineer", "admin", "boss"])
def test_who_need_not_know_is_refused_and_nothing_is_said(role):
    world = World()
    number = reported(world)
    answer = world.asks(Actor(name="x", role=role), "order.contact", number, reason="curious")
    assert (answer.ok, answer.code) == (False, "forbidden")
    assert "1234" not in answer.message


def test_a_look_without_a_reason_is_refused():
    world = World()
    number = reported(world)
    assert world.asks(DUTY, "order.contact", number).code == "bad_data"


def test_a_crew_sees_the_contact_of_its_own_order_while_it_works_on_it_only():
    world = World()
    number = reported(world)
    assert world.asks(ADA, "order.contact", number, reason="where?").code == "forbidden", "not dispatched yet"
    world.does(DUTY, "order.file", number)
    world.does(DUTY, "order.dispatch", number, team="pumps")
    assert world.does(ADA, "order.contact", number, reason="where?").ok
    stranger = replace(ADA, unit="elsewhere")
    assert world.asks(stranger, "order.contact", number, reason="where?").code == "forbidden"
    world.does(LEAD, "order.cancel", number, reason="a mistake")
    assert not world.asks(ADA, "order.contact", number, reason="where?").ok


def test_a_citizen_who_asks_is_forgotten_and_that_is_on_record():
    world = World()
    number = reported(world)
    assert world.asks(DUTY, "order.forget", number, reason="he asks").code == "forbidden"
    assert world.does(LEAD, "order.forget", number, reason="he asks").ok
    order = world.ledger.orders[number]
    assert contacts_of(order.data) == []
    assert order.data["intake"]["source"] == "citizen"
    assert world.ledger.events[-1].kind == "contact_erased"
    assert world.asks(DUTY, "order.contact", number, reason="again").code == "not_allowed"


def ended(number: str, ended_ms: int, state: OrderState = OrderState.CLOSED):
    data = {"intake": {"source": "citizen", "contact": CONTACT}, "further": [{"by": "b", "contact": "139 0000 0000"}]}
    return replace(an_order(1), id=number, state=state, state_ms=ended_ms, data=data)


class Past:
    """A desk over a real ledger in which orders ended long ago."""

    def __init__(self, folder, *orders, now_ms):
        self.ledger, self.now_ms, self.number = Ledger.open(folder), now_ms, 1
        self.ledger.commit(Tick(number=1, now_ms=now_ms, effects=effects_of(orders=list(orders))))
        self.desk = Desk(city(), TABLE, self.ledger.load_open())

    def asks(self, *commands):
        effects = self.desk.receive([], ReadingBatch.empty(), commands, self.now_ms)
        self.number += 1
        self.ledger.commit(Tick(number=self.number, now_ms=self.now_ms, effects=effects))
        return effects.answers

    def command(self, actor, verb, target, **data):
        return Command(id=f"c{self.number}-{verb}-{target}", verb=verb, target=target, actor=actor, at_ms=self.now_ms,
                       data=data)  # fmt: skip

    def left(self, number):
        return contacts_of(self.ledger.order(number).data)

    def told(self, number):
        return [(e.event.kind, e.event.rev) for e in self.ledger.events(subject=number, limit=100)]


def test_contacts_are_erased_when_their_time_is_over_once_on_record_and_those_of_open_orders_never(tmp_path):
    now = 400 * DAY_MS
    past = Past(
        tmp_path,
        ended("old", now - 181 * DAY_MS),
        ended("refused", now - 190 * DAY_MS, OrderState.REJECTED),
        ended("young", now - 179 * DAY_MS),
        ended("fresh", now - 3 * DAY_MS),
        ended("open", now - 300 * DAY_MS, OrderState.HANDLING),
        now_ms=now,
    )
    kept_s = 180 * 86_400
    assert past.ledger.contacts_due(now_ms=now, kept_s=kept_s) == ["refused", "old"]
    assert past.ledger.contacts_due(now_ms=now, kept_s=0) == ["refused", "old", "young"], "never while it may relapse"
    done = [past.asks(erasure(n, now_ms=now, kept_s=kept_s))[0] for n in ("refused", "old")]
    assert all(a.ok for a in done), done
    assert past.ledger.contacts_due(now_ms=now, kept_s=kept_s) == []
    assert (past.left("old"), past.left("refused")) == ([], [])
    assert len(past.left("young")) == len(past.left("open")) == 2
    assert [kind for kind, _ in past.told("old")] == ["contact_erased"]
    again = past.asks(replace(erasure("old", now_ms=now, kept_s=kept_s), id="once more"))[0]
    assert not again.ok
    assert [kind for kind, _ in past.told("old")] == ["contact_erased"], "one line, not one a day"
    past.ledger.close()


def test_the_contact_of_an_order_that_ended_long_ago_can_be_seen_and_erased_on_request(tmp_path):
    now = 400 * DAY_MS
    bad = ended("bad", now - 3_600_000, OrderState.REJECTED)
    past = Past(tmp_path, ended("old", now - 30 * DAY_MS), bad, now_ms=now)
    room = ReadingRoom(past.ledger)
    assert past.asks(past.command(ADA, "order.contact", "old", reason="?"))[0].code == "forbidden"
    assert past.asks(past.command(DUTY, "order.contact", "old"))[0].code == "bad_data"
    assert past.asks(past.command(LEAD, "order.comment", "old", note="?"))[0].code == "not_found"
    assert past.asks(past.command(LEAD, "order.contact", "none", reason="?"))[0].code == "not_found"
    two = past.asks(
        past.command(DUTY, "order.contact", "old", reason="he complains"),
        past.command(LEAD, "order.forget", "old", reason="he asks"),
    )
    assert [a.ok for a in two] == [True, True]
    first = past.ledger.order("old").rev - 2
    assert past.told("old") == [("contact_seen", first + 1), ("contact_erased", first + 2)]
    assert past.left("old") == []
    assert past.asks(past.command(LEAD, "order.forget", "bad", reason="he asks"))[0].ok
    assert past.left("bad") == []
    assert "old" not in past.desk.book.orders, "it stays a thing of the past"
    assert room.contacts("old", DUTY, now_ms=now) == []
    past.ledger.close()


def test_the_reading_room_shows_a_contact_only_after_the_look_was_recorded(tmp_path):
    world = World()
    number = reported(world)
    ledger = Ledger.open(tmp_path)
    room = ReadingRoom(ledger)
    ledger.commit(Tick(number=1, now_ms=world.now_ms, effects=effects_of(orders=[world.ledger.orders[number]])))
    assert room.contacts(number, DUTY, now_ms=world.now_ms) == []
    before = len(world.ledger.events)
    world.does(DUTY, "order.contact", number, reason="call back")
    effects = effects_of(orders=[world.ledger.orders[number]], events=world.ledger.events[before:])
    ledger.commit(Tick(number=2, now_ms=world.now_ms, effects=effects))
    assert room.contacts(number, DUTY, now_ms=world.now_ms) == [CONTACT]
    assert room.contacts(number, LEAD, now_ms=world.now_ms) == [], "somebody else's look"
    assert room.contacts(number, DUTY, now_ms=world.now_ms + 120_000) == [], "an old one"
    assert "138****5678" in json.dumps(room.order(number))
    ledger.close()


def test_erasing_changes_nothing_else():
    data = {"intake": {"contact": "x", "source": "citizen"}, "keys": ["k"], "further": [{"by": "b"}]}
    assert without_contacts(data)["keys"] == ["k"]
    assert without_contacts({"keys": []}) == {"keys": []}
    assert REPAIR
