"""A real VictoriaMetrics on a loopback port, for tests that write through influxdb-client and read back over HTTP."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from contextlib import contextmanager

BINARY = shutil.which("victoria-metrics")
STARTS_WITHIN_S = 20


class Victoria:
    """One running server. `kill` ends it as a power cut would; `start` brings it back on the same port and data."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [
                BINARY,
                f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-storageDataPath={self.folder}",
                "-retentionPeriod=100y",
                "-dedup.minScrapeInterval=1ms",
                "-memory.allowedBytes=256MB",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        pause = threading.Event()
        for _ in range(STARTS_WITHIN_S * 20):
            try:
                self.get("/health")
            except OSError:
                assert self.process.poll() is None, "victoria-metrics has ended"
                pause.wait(0.05)
            else:
                return self
        raise AssertionError(f"victoria-metrics did not answer within {STARTS_WITHIN_S} s")

    def get(self, path, **query):
        tail = "?" + urllib.parse.urlencode(query) if query else ""
        with urllib.request.urlopen(self.url + path + tail, timeout=10) as answer:
            return answer.read()

    def export(self, metric):
        """Everything stored under a metric: {sensor: {time_ms: value}}."""
        self.get("/internal/force_flush")
        found = {}
        for line in self.get("/api/v1/export", **{"match[]": metric}).splitlines():
            series = json.loads(line)
            found.setdefault(series["metric"]["sensor"], {}).update(
                zip(series["timestamps"], series["values"], strict=True)
            )
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def victoria_in(folder):
    server = Victoria(folder)
    try:
        yield server.start()
    finally:
        server.kill()
