"""What the real ledger hands back after a restart is what the desk had: alarms, orders, numbers."""

from __future__ import annotations

import math
from dataclasses import replace

from alerts.desk import Desk
from alerts.orders.caseload import Caseload
from citypulse.ledger import Ledger, Tick
from citypulse.model import Alarm, ReadingBatch, TransitionKind
from tests.alerts.cast import CHEN, DUTY, ORANGE, RED, T0, TABLE, YELLOW, World
from tests.alerts.test_workdays import HANGZHOU

NAN = float("nan")


class Committed(World):
    """A world whose effects also go to a real ledger."""

    def __init__(self, real: Ledger) -> None:
        super().__init__()
        self.real, self.ticks = real, 0

    def tick(self, *transitions, batch=None, commands=()):
        effects = super().tick(*transitions, batch=batch, commands=commands)
        self.ticks += 1
        self.real.commit(Tick(number=self.ticks, now_ms=self.now_ms, effects=effects))
        return effects


def comparable(alarm: Alarm) -> Alarm:
    return replace(alarm, peak_value=0.0) if math.isnan(alarm.peak_value) else alarm


def test_the_ledger_gives_back_exactly_what_the_desk_holds(tmp_path):
    real = Ledger.open(tmp_path)
    world = Committed(real)
    world.raises("mill.depth", YELLOW)
    order = world.order().id
    world.does(DUTY, "alarm.acknowledge", world.alarm().id)
    world.repaired(order)
    world.clears("mill.depth")
    world.does(CHEN, "order.check", order)
    world.readings("mill.depth", 36)
    world.does(CHEN, "order.close", order)
    world.raises("gw-1", YELLOW, "gateway-silent", value=NAN)
    world.raises("mill.depth2", RED)
    world.raises("well.ch4", RED, "gas")
    world.clears("well.ch4", "gas")
    world.raises("weir.do", YELLOW, "low-oxygen")
    shelved = world.alarm("low-oxygen|weir.do").id
    world.does(DUTY, "alarm.shelve", shelved, reason="r", until_ms=world.now_ms + 9_000_000)
    world.late("mill.depth2")
    world.wait(400)

    found, expected = real.load_open(), world.ledger.open_state(world.now_ms)
    assert {comparable(a) for a in found.alarms} == {comparable(a) for a in expected.alarms}
    assert {o.id: o for o in found.orders} == {o.id: o for o in expected.orders}
    assert dict(found.occurrences) == dict(expected.occurrences)
    assert dict(found.order_serials) == dict(expected.order_serials)

    again = Desk(world.config, TABLE, found)
    assert {comparable(a) for a in again.alarms.values()} == {comparable(a) for a in world.desk.alarms.values()}
    clear = world.change(TransitionKind.CLEAR, "gateway-silent", "gw-1", value=NAN)
    one = world.desk.receive([clear], ReadingBatch.empty(), [], world.now_ms + 1000)
    two = again.receive([clear], ReadingBatch.empty(), [], world.now_ms + 1000)
    assert one.events == two.events
    assert one.notices == two.notices
    assert one.orders == two.orders
    real.close()


def test_what_rings_in_one_tick_rings_in_an_order_that_a_restart_knows_too():
    """A long life has clocks that were overtaken: they must not decide who is looked at first."""
    world = World()
    world.raises(level=ORANGE)
    world.raises("weir.do", ORANGE, "low-oxygen")
    first, second = sorted(world.ledger.orders)
    cases = Caseload(HANGZHOU)
    cases.orders = dict(world.ledger.orders)
    cases.wake(second, T0 + 1)  # an earlier deadline that no longer stands
    cases.wake(second, T0 + 9)
    cases.wake(first, T0 + 5)
    assert [order.id for order in cases.due(T0 + 10)] == [first, second]
