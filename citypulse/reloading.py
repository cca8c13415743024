"""Reads the configuration again while the city runs: whole or not at all, and says what came of it.

Also gives back configurations that were in force before, from the texts the ledger keeps.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import structlog

from citypulse.config import Diagnostic, Extensions, Severity, inspect_city, load_city
from citypulse.errors import CityError, ConfigError
from citypulse.ledger import Ledger
from citypulse.model import CityConfig, Text
from citypulse.turn import Turn

APPLY_WAIT_S = 60.0  # the heart takes a new configuration within a second; longer means that it cannot commit
DEEP = "x/x/x/x/x/x/x/x"  # room for relative names that begin with ../

Stamps = tuple[tuple[str, int, int], ...]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of reading the configuration again."""

    kind: str  # applied | unchanged | refused
    problem: tuple[str, str] | None = None  # why it was refused, (zh, en) with what to do
    diagnostics: tuple[Diagnostic, ...] = ()
    alarms_changed: int = 0
    alarms_withdrawn: int = 0
    terms: tuple[Text, ...] = ()  # what the `alarms:` section says otherwise than before


class Reloader:
    """One configuration file and what it includes. Any thread may ask; one reads at a time."""

    def __init__(
        self,
        path: Path,
        extensions: Extensions,
        *,
        in_force: Callable[[], CityConfig],
        adopt: Callable[[CityConfig], Future[Turn]],
    ) -> None:
        """Read `path`. `in_force` says what the heart runs under, `adopt` hands it a sound configuration."""
        self._path, self._extensions, self._adopt = path, extensions, adopt
        self._lock = threading.Lock()
        self._in_force = in_force
        self._files = in_force().files
        self._read = self._seen = stamps_of(self._files)
        self.problem: tuple[str, str] | None = None
        self.terms: tuple[Text, ...] = ()  # what the last change said otherwise of the alarms
        self.counts = {"applied": 0, "unchanged": 0, "refused": 0}

    def look(self) -> Outcome | None:
        """Read again when a file has changed and has then stood still for one look: nobody is writing it now."""
        with self._lock:
            before, self._seen = self._seen, stamps_of(self._files)
            if self._seen in (self._read, ()) or self._seen != before:
                return None
            return self._reload("a file changed")

    def reload(self, asked_by: str) -> Outcome:
        """Read again now."""
        with self._lock:
            return self._reload(asked_by)

    def _reload(self, asked_by: str) -> Outcome:
        self._read = stamps_of(self._files)  # before reading: what is written meanwhile is found by the next look
        outcome = self._outcome()
        self.problem = outcome.problem
        self.terms = outcome.terms if outcome.kind == "applied" else self.terms
        self.counts[outcome.kind] += 1
        if outcome.problem is None:
            log.info("config.reload", outcome=outcome.kind, asked_by=asked_by, alarms_changed=outcome.alarms_changed,
                     alarms_withdrawn=outcome.alarms_withdrawn, terms=[line.en for line in outcome.terms])  # fmt: skip
        else:
            for found in outcome.diagnostics:
                log.error("config.problem", where=f"{found.file}:{found.line}:{found.col}", code=found.code,
                          what=found.message, cure=found.hint)  # fmt: skip
            log.error("config.reload_refused", asked_by=asked_by, why=outcome.problem[1])
        return outcome

    def _outcome(self) -> Outcome:
        try:
            loaded = inspect_city(self._path, self._extensions)
            names = tuple(source.name for source in loaded.reading.sources)
            self._watch(tuple(dict.fromkeys((*self._files, *names))) if loaded.city is None else names)
            if loaded.city is None:
                return _refused(loaded.diagnostics)
            if loaded.city.fingerprint == self._in_force().fingerprint:
                return Outcome(kind="unchanged")
            done = _committed(self._adopt(loaded.city))
        except Exception as error:  # noqa: BLE001 - whatever it is, the city runs on as it did
            why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            zh = f"新配置未能生效, 仍按旧配置运行: {why}"
            en = f"the new configuration could not take over: {why}; the old one stays in force"
            return Outcome(kind="refused", problem=(zh, en))
        return Outcome(kind="applied", alarms_changed=done.changed, alarms_withdrawn=done.withdrawn,
                       terms=done.terms)  # fmt: skip

    def _watch(self, files: tuple[str, ...]) -> None:
        if files != self._files:
            self._files, self._read = files, stamps_of(files)


def _committed(future: Future[Turn]) -> Turn:
    """Wait for the heart; take the offer back when it cannot come to it. Raises what the heart raised."""
    try:
        return future.result(APPLY_WAIT_S)
    except TimeoutError:
        if future.cancel():
            raise CityError(f"the heart did not come to it within {APPLY_WAIT_S:.0f} s") from None
    try:
        return future.result(APPLY_WAIT_S)
    except TimeoutError:
        raise CityError("its first tick cannot be committed yet; it takes over when it can") from None


def _refused(diagnostics: Iterable[Diagnostic]) -> Outcome:
    errors = tuple(d for d in diagnostics if d.severity is Severity.ERROR)
    first = str(errors[0]) if errors else "?"
    zh = f"配置文件有 {len(errors)} 处错误, 未采用, 仍按旧配置运行; 第一处 {first}; 运行 citypulse check 查看全部"
    en = (f"the changed configuration has {len(errors)} errors and is not used, the old one stays in force; "
          f"the first: {first}; `citypulse check` shows all")  # fmt: skip
    return Outcome(kind="refused", problem=(zh, en), diagnostics=errors)


def stamps_of(files: Iterable[str]) -> Stamps:
    """Return name, time of change (ns) and size of each file; a file that is not there has zeros."""
    found = []
    for name in files:
        try:
            status = Path(name).stat()
        except OSError:
            found.append((name, 0, 0))
        else:
            found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


# ── configurations that were in force before ────────────────────────────────────────────────────


def texts_of(config: CityConfig) -> dict[str, str]:
    """Return the whole text of every file, by name. Raises CityError when they changed since they were read."""
    try:
        raw = {name: Path(name).read_bytes() for name in config.files}
    except OSError as error:
        raise CityError(f"the configuration cannot be read any more: {error}") from error
    digest = hashlib.sha256(b"".join(hashlib.sha256(raw[name]).digest() for name in config.files)).hexdigest()
    if digest != config.fingerprint:
        raise CityError("the configuration changed while it was being read; it is read again at its next change")
    return {name: text.decode("utf-8") for name, text in raw.items()}


def past_config(ledger: Ledger, fingerprint: str, extensions: Extensions) -> CityConfig | None:
    """Load a configuration from the texts the ledger keeps; None when it cannot be brought back exactly.

    Its texts are laid out in a temporary folder. Packs come from where they are installed; the fingerprint, which is
    over every file's bytes, says whether they are still the same.
    """
    files = ledger.config_files(fingerprint)
    if not files:
        return None
    with tempfile.TemporaryDirectory(prefix="citypulse-config-") as folder:
        for path in _laid_out(Path(folder).resolve(), files):
            try:
                config = load_city(path, extensions)
            except ConfigError:
                continue  # an included file is no city by itself
            if config.fingerprint == fingerprint:
                return config
    return None


def config_in_force(ledger: Ledger, at_ms: int, extensions: Extensions) -> tuple[CityConfig | None, dict[str, str]]:
    """Return the configuration that was in force at an instant and its texts by file; None when it is lost."""
    fingerprint = ledger.config_at(at_ms)
    return past_config(ledger, fingerprint, extensions), ledger.config_files(fingerprint)


def _laid_out(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files below `folder` as they lay to each other."""
    paths = []
    for name, text in files.items():
        base = folder if Path(name).is_absolute() else folder / DEEP
        path = Path(f"{base}/{name}").resolve()
        if path.is_relative_to(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8"))
            paths.append(path)
    return paths
