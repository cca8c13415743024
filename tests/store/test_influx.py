"""The influx store: its line protocol on a real server, and what it makes of a server's refusals."""

import gzip
import http.server
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from citypulse.clock import VirtualClock
from citypulse.errors import StoreError
from citypulse.journal import Journal
from citypulse.ledger import Ledger, Tick
from citypulse.model import Lane, Quality, ReadingBatch
from citypulse.store import open_store
from citypulse.store.sink import Sink
from tests.store.victoria import BINARY, victoria_in

T0 = 1_763_777_467_000
IDS = ["mill-bridge.depth", "城脉-07.甲烷", "odd id,with=signs.ch4"]


def influx_at(url, tmp_path, **options):
    more = "".join(f"&{k}={v}" for k, v in options.items())
    store = open_store(f"influx+{url}?org=city&bucket=readings{more}", tmp_path)
    store.learn(IDS)
    return store


@contextmanager
def server_that_answers(*answers):
    """A server on a loopback port that gives each request the next (status, body), the last one for ever."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, dict(self.headers), gzip.decompress(body).decode()))
            status, text = answers[min(len(taken), len(answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OK = (204, b"")


def test_readings_become_lines_with_escaped_names_and_whole_number_qualities(tmp_path, monkeypatch):
    monkeypatch.setenv("INFLUXDB_TOKEN", "secret")
    batch = ReadingBatch.of(
        [0, 2, 1, 1],
        [T0, T0 + 1, T0 + 2, T0 + 3],
        [0.1 + 0.2, -3.0, np.nan, 1e300],
        [T0 + 9] * 4,
        [1, 3, 9, 1],
    )
    batch = replace(batch, lane=np.array([0, 0, 0, Lane.QUARANTINED], np.uint8))
    with server_that_answers(OK) as (url, taken):
        store = influx_at(url, tmp_path)
        store.write(batch)
        store.close()
    assert taken[0][2].split("\n") == [
        f"reading,sensor=mill-bridge.depth value=0.30000000000000004,quality=1i,received_ms={T0 + 9}i {T0}",
        f"reading,sensor=城脉-07.甲烷 quality=9i,received_ms={T0 + 9}i {T0 + 2}",
        rf"reading,sensor=odd\ id\,with\=signs.ch4 value=-3,quality=3i,received_ms={T0 + 9}i {T0 + 1}",
    ]
    assert taken[1][2] == f"quarantined,sensor=城脉-07.甲烷 value=1e+300,quality=1i,received_ms={T0 + 9}i {T0 + 3}"
    path, headers, _ = taken[0]
    assert path == "/api/v2/write?org=city&bucket=readings&precision=ms"
    assert headers["Authorization"] == "Token secret"
    assert headers["Content-Encoding"] == "gzip"


def test_a_big_batch_goes_in_several_requests(tmp_path):
    n = 50_000
    with server_that_answers(OK) as (url, taken):
        store = influx_at(url, tmp_path)
        store.write(ReadingBatch.of(np.zeros(n), T0 + np.arange(n), np.arange(n)))
        store.close()
    assert [body.count("\n") + 1 for _, _, body in taken] == [20_000, 20_000, 10_000]
    assert len({line for _, _, body in taken for line in body.split("\n")}) == n


@pytest.mark.parametrize(
    ("status", "is_permanent"),
    [
        (400, True),
        (401, True),
        (404, True),
        (422, True),
        (413, True),
        (408, False),
        (429, False),
        (500, False),
        (503, False),
    ],
)
def test_a_servers_refusal_says_whether_waiting_can_help(tmp_path, status, is_permanent):
    with server_that_answers((status, b'{"message":"no such bucket"}')) as (url, _):
        store = influx_at(url, tmp_path)
        with pytest.raises(StoreError, match=f"HTTP {status}: .*no such bucket") as refusal:
            store.write(ReadingBatch.of([0], [T0], [1.0]))
        store.close()
    assert refusal.value.permanent is is_permanent


def test_a_server_that_is_not_there_may_come_back(tmp_path):
    with server_that_answers(OK) as (url, _):
        pass
    store = influx_at(url, tmp_path)
    with pytest.raises(StoreError, match="cannot be reached") as refusal:
        store.write(ReadingBatch.of([0], [T0], [1.0]))
    assert not refusal.value.permanent
    store.close()


def test_a_sensor_without_a_name_is_our_mistake_and_nothing_is_sent(tmp_path):
    with server_that_answers(OK) as (url, taken):
        store = influx_at(url, tmp_path)
        with pytest.raises(StoreError, match="index 7 has no name") as refusal:
            store.write(ReadingBatch.of([7], [T0], [1.0]))
        assert refusal.value.permanent
        assert taken == []
        store.close()


def test_an_address_without_a_bucket_is_refused_with_an_example(tmp_path):
    with pytest.raises(StoreError, match=r"influx\+http://host:8086\?org=city&bucket=readings"):
        open_store("influx+http://127.0.0.1:1", tmp_path)


def test_the_token_comes_from_one_place(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("INFLUXDB_TOKEN_FILE", str(tmp_path / "token"))
    with server_that_answers(OK) as (url, taken):
        store = influx_at(url, tmp_path)
        store.write(ReadingBatch.of([0], [T0], [1.0]))
        store.close()
    assert taken[0][1]["Authorization"] == "Token from-file"
    monkeypatch.setenv("INFLUXDB_TOKEN", "too")
    with pytest.raises(StoreError, match="keep one of the two"):
        influx_at("http://127.0.0.1:1", tmp_path)


def test_a_server_that_only_takes_writes_says_so_when_asked(tmp_path):
    store = influx_at("http://127.0.0.1:1", tmp_path, can_read="no")
    with pytest.raises(StoreError, match="takes writes only"):
        store.count()
    store.close()


if BINARY:  # Debian's victoria-metrics; where it is not installed these are not collected

    @pytest.fixture(scope="module")
    def victoria(tmp_path_factory):
        with victoria_in(tmp_path_factory.mktemp("victoria")) as server:
            yield server

    def test_every_reading_written_to_a_real_server_is_there(victoria, tmp_path):
        n = 45_000
        values = np.random.default_rng(3).normal(size=n).round(6)  # the server keeps 12 significant digits
        store = influx_at(victoria.url, tmp_path, can_read="no")
        assert store.write(ReadingBatch.of(np.arange(n) % 3, T0 + 1000 * np.arange(n), values, quality=[3] * n)) == n
        store.write(ReadingBatch.of([0], [T0 - 1000], [np.nan], quality=[9]))
        store.amend(0, T0, Quality.FAIL)
        store.close()
        found = victoria.export("reading_value")
        assert set(found) == set(IDS)
        for sensor, name in enumerate(IDS):
            assert found[name] == dict(
                zip((T0 + 1000 * np.arange(n))[sensor::3].tolist(), values[sensor::3].tolist(), strict=True)
            )
        quality = victoria.export("reading_quality")
        assert quality[IDS[0]][T0 - 1000] == 9
        assert quality[IDS[0]][T0 + 3000] == 3

    def settle(sink):
        """Step until all is carried over and nothing is wrong. A connection that died may cost a step or two."""
        for _ in range(20):
            if not sink.step() and not sink.stats().problem and not sink.stats().lag_readings:
                return
        raise AssertionError(sink.stats())

    def test_after_a_crash_of_the_server_a_sink_writes_again_what_may_be_lost(tmp_path):
        """VictoriaMetrics loses the last seconds it acknowledged; the journal has them still."""
        clock = VirtualClock(T0)
        ledger = Ledger.open(tmp_path / "data")
        journal = Journal(ledger)
        ids = ledger.sensor_ids(IDS)

        def commit(number):
            batch = ReadingBatch.of([0, 1], [T0 + 1000 * number] * 2, [float(number), -float(number)])
            ledger.commit(Tick(number=number, now_ms=T0 + 1000 * number, batch=batch))

        with victoria_in(tmp_path / "victoria") as server:
            store = influx_at(server.url, tmp_path, can_read="no")
            sink = Sink(store, journal, name="mirror", sensor_ids=lambda: ids, clock=clock, ticks_max=10)
            for number in range(1, 31):
                commit(number)
            while sink.step():
                clock.advance(5)
            server.kill()
            for number in range(31, 35):
                commit(number)
            assert sink.step() == 0
            assert "cannot be reached" in sink.stats().problem
            server.start()
            settle(sink)
            before = store.incarnation()
            while store.incarnation() == before:  # it tells its start to the second
                server.kill()  # and once more, unnoticed by any write
                server.start()
            clock.advance(6)
            settle(sink)
            assert sink.stats().problem == ""
            expected = {T0 + 1000 * n: float(n) for n in range(1, 35)}
            assert server.export("reading_value")[IDS[0]] == expected
            store.close()
        ledger.close()
