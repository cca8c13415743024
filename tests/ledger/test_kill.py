"""A process that is killed outright loses nothing it had said was durable, and what it leaves is whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from citypulse.clock import VirtualClock
from citypulse.journal import Journal
from citypulse.ledger import Ledger
from citypulse.store import open_store
from citypulse.store.sink import Sink

ROOT = Path(__file__).parents[2]
T0 = 1_763_777_467_000
# Commits ticks as fast as it can, carries them into the store, saves snapshots and prunes, and says what is durable.
VICTIM = """
import sys, threading
from pathlib import Path
from citypulse.clock import SystemClock
from citypulse.journal import Journal
from citypulse.ledger import Ledger, Tick
from citypulse.model import ReadingBatch
from citypulse.store import open_store
from citypulse.store.sink import Sink
from tests.ledger.ledger_cast import T0, a_notice, an_alarm, an_event, effects_of

folder = Path(sys.argv[1])
ledger = Ledger.open(folder)
journal = Journal(ledger)
ids = ledger.sensor_ids(["mill-bridge.depth"])
sink = Sink(open_store("duckdb", folder), journal, name="duckdb", sensor_ids=lambda: ids, clock=SystemClock())
stop = threading.Event()
threading.Thread(target=sink.run, args=(stop,), daemon=True).start()

def keep_house():
    while True:
        if ledger.last_tick:
            journal.save_snapshot(ledger.last_tick, T0, {"heart": {"tick": ledger.last_tick}})
            while journal.prune().is_more:
                pass
            ledger.checkpoint()

threading.Thread(target=keep_house, daemon=True).start()
while True:
    number = ledger.last_tick + 1
    batch = ReadingBatch.of([0] * 20, [T0 + 20_000 * number + 1000 * i for i in range(20)], [float(number)] * 20)
    effects = effects_of(alarms=[an_alarm(number)], events=[an_event(f"alarm-{number}")],
                         notices=[a_notice(f"k{number}", f"alarm-{number}")])
    ledger.commit(Tick(number=number, now_ms=T0 + number, batch=batch, effects=effects))
    print(number, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [1, 100])
def test_a_killed_process_leaves_all_it_acknowledged_and_nothing_half(tmp_path, acknowledged):
    """Killed twice over, at a moment nobody chose: alarms, record, notices, journal and store agree each time."""
    said = 0
    for _ in range(2):
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for line in victim.stdout:
            said = int(line)
            if said % acknowledged == 0:
                break
        victim.kill()
        said = max([said, *(int(line) for line in victim.stdout if line.endswith("\n"))])
        victim.wait()
        victim.stdout.close()

        ledger = Ledger.open(tmp_path)
        last = ledger.last_tick
        assert last in (said, said + 1)  # the last word may have died in the pipe
        assert ledger.verify().first_broken is None
        expected = [f"alarm-{n}" for n in range(1, last + 1)]
        assert sorted((a.id for a in ledger.alarms(state="all", limit=10**6)), key=lambda i: int(i[6:])) == expected
        assert [row.event.subject for row in ledger.events(limit=10**6)] == expected
        assert [row.notice.subject for row in reversed(ledger.outbox_rows(limit=10**6))] == expected
        journal = Journal(ledger)
        snapshot = journal.load_snapshot()
        if snapshot is not None:
            assert snapshot.parts == {"heart": {"tick": snapshot.tick}}
            following = [e.tick for e in journal.entries(snapshot.tick, ticks_max=10**6)]
            assert following == list(range(snapshot.tick + 1, last + 1))

        store = open_store("duckdb", tmp_path)
        ids = ledger.sensor_ids([])
        sink = Sink(store, journal, name="duckdb", sensor_ids=lambda ids=ids: ids, clock=VirtualClock(T0))
        while sink.step():
            pass
        found = store.query(0, 0, 2 * T0)
        assert found.time_ms.tolist() == [T0 + 20_000 + 1000 * i for i in range(20 * last)]
        assert found.value.tolist() == [float(1 + i // 20) for i in range(20 * last)]
        store.close()
        ledger.close()
