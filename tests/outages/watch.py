"""Who tells of an outage, what, and after how many seconds."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.outages.outages import Outage, Teller
from tests.outages.scene import Scene

LONGEST = 780.0  # seconds; the slowest alert waits ten minutes
AFTER = 40.0  # seconds for which it is watched after the last alert
_LOOK_EVERY = 1.0  # seconds
_DOCTOR_EVERY = 120.0  # seconds between two runs
_DOCTOR_FIRST = 5.0  # seconds from the outage's begin
#: What differs from run to run, or from machine to machine.
_ADDRESS = re.compile(r"127\.0\.0\.1:\d+|\('127\.0\.0\.1', \d+\)")
_NUMBER = re.compile(r"\d[\d,.]*")
_MAILER_LINE = re.compile(r" (WARNING|ERROR) (.*)")
_PLACE = re.compile(r"\S+/\d+/\d+")


class Told(NamedTuple):
    """What was said, and when."""

    seconds: float  # from the outage's begin
    text: str
    by_a_library: bool = False  # a line in the log that is not this project's


class Lines:
    """What is added to a log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = path.stat().st_size

    def new(self) -> list[str]:
        """Return the whole lines that were added since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.decode(errors="replace").splitlines()


class Doctor:
    """``streams doctor``, run again and again; what it found before the outage is not told."""

    def __init__(self, scene: Scene) -> None:
        """Run it once, for what it always finds."""
        self._scene = scene
        self._process = self._start()
        self._known = {_NUMBER.sub("", text) for text in self._findings()}
        self._next = 0.0
        self._runs = False

    def begin(self) -> None:
        """The outage begins."""
        self._next = time.monotonic() + _DOCTOR_FIRST

    def look(self) -> list[str]:
        """Return what a run that has ended just now found, and begin the next one when it is due."""
        if self._runs and self._process.poll() is not None:
            self._runs = False
            self._next = time.monotonic() + _DOCTOR_EVERY
            return [text for text in self._findings() if _NUMBER.sub("", text) not in self._known]
        if not self._runs and time.monotonic() > self._next:
            self._process, self._runs = self._start(), True
        return []

    def end(self) -> None:
        """End a run that is under way."""
        if self._runs:
            self._process.kill()
            self._process.communicate()

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "streams", "doctor", "--json"],
            env=self._scene.worker.environ,
            cwd=self._scene.place.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _findings(self) -> list[str]:
        text = self._process.communicate()[0]
        try:
            found = json.loads(text)
        except ValueError:
            return [text.strip()]
        order = ("problem", "warning")
        told = [each for each in found if each["level"] in order]
        told.sort(key=lambda each: order.index(each["level"]))
        return [f"{each['level'].upper()} {each['check']}: {each['text']}" for each in told]


class Watch:
    """Everybody who may tell, from the begin of an outage on."""

    def __init__(self, scene: Scene, outage: Outage, say: Callable[[str], None]) -> None:
        """Look before it begins: what is always said is not told of it."""
        self._scene, self._outage, self._say = scene, outage, say
        self._doctor = Doctor(scene)
        self._seen: dict[Teller, set[str]] = {teller: set() for teller in Teller}
        self._emails: float | None = None
        #: By teller, the first of each kind that was told.
        self.told: dict[Teller, list[Told]] = {teller: [] for teller in Teller}
        #: Alerts that page, and the others, with the seconds after which they fired.
        self.pages: dict[str, float] = {}
        self.tickets: dict[str, float] = {}
        #: What the alert that has to fire says: labels and annotations.
        self.alert: dict[str, dict[str, str]] = {}
        self.emails_leave = False
        self.began = self.ended = time.time()
        self._look_at_page()
        self.told[Teller.PAGE].clear()

    def begin(self) -> None:
        """The outage begins now."""
        self._log, self._mailer_log = Lines(self._scene.worker.log), Lines(self._scene.mailer.log)
        self._doctor.begin()
        self.began = time.time()

    def run(self, stop: threading.Event) -> None:
        """Look until all have told who must, and for as long as the outage wants at least."""
        try:
            while not stop.wait(_LOOK_EVERY) and self._seconds() < LONGEST:
                least = max(self._outage.watched, *self._fired_at(), 0.0) + AFTER
                if not self.missing() and self._seconds() > least:
                    break
                self._look_at_page()
                self._look_at_alerts()
                self._look_at_logs()
                for text in self._doctor.look():
                    self._tell(Teller.DOCTOR, text)
                self._count_emails()
        finally:
            self.ended = time.time()
            self._doctor.end()

    def missing(self) -> list[str]:
        """Return who must have told, and has not."""
        silent = [str(teller) for teller in self._outage.tellers if not self.told[teller]]
        if self._outage.alert not in {None, *self.pages, *self.tickets}:
            silent.append(str(self._outage.alert))
        return silent

    def _fired_at(self) -> list[float]:
        return [*self.pages.values(), *self.tickets.values()]

    def _seconds(self) -> float:
        return time.time() - self.began

    def _tell(self, teller: Teller, text: str, kind: str | None = None, library: str = "") -> None:
        """Note what was said, unless something of this kind was said before."""
        text = _ADDRESS.sub("host:port", text).replace(f"{self._scene.place.folder}/", "")
        kind = _NUMBER.sub("", text if kind is None else kind)
        if kind not in self._seen[teller]:
            self._seen[teller].add(kind)
            self.told[teller].append(Told(self._seconds(), text, bool(library)))
            self._say(f"{teller}: {text}")

    def _look_at_page(self) -> None:
        status, body = self._scene.worker.get("/live")
        if status == 200:
            headline = orjson.loads(body)["headline"]
            title = headline["title"]
            self._tell(Teller.PAGE, f"{title} {headline['text']}", f"{title} {headline['urgency']}")

    def _look_at_alerts(self) -> None:
        found: list[dict[str, Any]] = []
        with suppress(OSError):  # the machine is busy: the next look comes soon
            found = self._scene.prometheus.ask("alerts")["alerts"]
        for each in found:
            labels = each["labels"]
            name = labels["alertname"]
            if each["state"] != "firing" or name in {**self.pages, **self.tickets}:
                continue
            severity = labels["severity"]
            (self.pages if severity == "page" else self.tickets)[name] = self._seconds()
            if name == self._outage.alert:
                self.alert = {"labels": labels, "annotations": each["annotations"]}
            self._tell(Teller.ALERT, f"{name} ({severity})")

    def _look_at_logs(self) -> None:
        for line in self._log.new():
            try:
                record = orjson.loads(line)
            except ValueError:
                continue
            if record["level"] in ("warning", "error", "critical"):
                library = "" if record["logger"].startswith("streams") else record["logger"]
                kind = record.get("event") or record["logger"]
                self._tell(Teller.LOG, f"{record['level'].upper()} {record['message']}", kind, library)
        for line in self._mailer_log.new():
            if said := _MAILER_LINE.search(line):
                words = f"{said[1]} of the mailer: {_PLACE.sub('a letter', said[2])}"
                self._tell(Teller.LOG, words, library="" if "has to wait" in words else "aiokafka")

    def _count_emails(self) -> None:
        """Whether emails leave: later than ten seconds into the outage, some did."""
        if self._seconds() > 10 and (count := self._scene.worker.counter("confirmation_emails_total")):
            self._emails = count if self._emails is None else self._emails
            self.emails_leave = count > self._emails
