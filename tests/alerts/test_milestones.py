"""Milestones: named times that an order has to keep, and who is told when it does not."""

from __future__ import annotations

from citypulse.model import Milestone, NoticeKind, OrderTemplate, Profile
from tests.alerts.cast import ADA, HERE, World, text
from tests.alerts.people_cast import peopled

REACHES = ("dispatched", "accepted", "arrived", "fed_back", "checking", "check_passed", "closed")


def milestone(name: str, within_s: float, reached: str, *to: str, **more) -> Milestone:
    return Milestone(id=name, name=text(name), within_s=within_s, reached=REACHES[REACHES.index(reached) :], to=to,
                     origin=HERE, **more)  # fmt: skip


RAPID = Profile(
    id="rapid", name=text("rapid"),
    milestones=(milestone("sent", 60, "dispatched", "desk"), milestone("taken", 200, "accepted", "crew", "on-duty"),
                milestone("there", 1000, "arrived", "level:street")),
)  # fmt: skip


def world() -> World:
    pump = OrderTemplate(id="pump", name=text("pump"), profile="rapid")
    return World(peopled(profiles={"rapid": RAPID}, templates={"pump": pump}))


def missed(effects) -> set[str]:
    return {
        n.target
        for n in effects.notices
        if n.kind is NoticeKind.REMINDER and n.subject_kind == "order" and "in time" in n.title
    }


def test_a_milestone_that_is_not_reached_is_told_to_those_it_names():
    city = world()
    city.raises()
    number = city.order().id
    assert city.order().data["milestones"] == {"sent": "met"}
    assert missed(city.wait(199)) == set()
    assert missed(city.wait(1)) == {"pumps", "dan", "lea"}
    assert city.order().data["milestones"] == {"sent": "met", "taken": "missed"}
    assert missed(city.wait(800)) == {"sun"}
    assert city.kinds(number).count("milestone_missed") == 2


def test_a_milestone_that_was_reached_is_not_told_of():
    city = world()
    city.raises()
    city.does(ADA, "order.accept", city.order().id)
    assert missed(city.wait(300)) == set()
    assert city.order().data["milestones"] == {"sent": "met", "taken": "met"}


def test_a_milestone_reached_late_stays_missed():
    city = world()
    city.raises()
    city.wait(250)
    city.does(ADA, "order.accept", city.order().id)
    assert city.order().data["milestones"]["taken"] == "missed"


def test_a_restart_neither_forgets_a_milestone_nor_tells_of_it_twice():
    city = world()
    city.raises()
    city.restart()
    assert missed(city.wait(200)) == {"pumps", "dan", "lea"}
    city.restart()
    assert missed(city.wait(799)) == set()
    assert missed(city.wait(1)) == {"sun"}


def test_an_order_without_a_profile_has_no_milestones():
    city = World(peopled())
    city.raises()
    assert "milestones" not in city.order().data
    assert missed(city.wait(3000)) == set()
