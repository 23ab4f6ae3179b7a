"""The worker of the demo: a process of its own that ends with us, and its pages."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from streams.sandbox.demo.errors import DemoFailed
from streams.sandbox.demo.people import ORGANISATIONS
from streams.sandbox.kafka.errors import EmbeddedKafkaError
from streams.sandbox.kafka.ports import HeldPort
from streams.sandbox.kafka.supervised import SupervisedProcesses
from streams.settings.environment import PREFIX
from streams.settings.table import variables_in

DEADLINE = 1.0  # seconds, of a lookup
PARTITIONS = 2
_HOST = "127.0.0.1"
_READY_WITHIN = 60.0  # seconds; it takes some five
_STOPPED_WITHIN = 20.0  # seconds; the worker's own grace is five
_POLL = 0.1
_LOG_LINES = 12
_NAME = "worker"


_WARNING = re.compile(r"\[(WARNING|ERROR|CRITICAL)\]")


class _Readiness(msgspec.Struct):
    problems: list[str]


_read_readiness = msgspec.json.Decoder(_Readiness).decode


def organisations_file(lookup_url: str, keep_answers: str) -> str:
    """The organisations of the demo, as TOML.

    The breaker's times are those of a film: a circuit that stays open for a minute, as a real one may, would
    outlast the demo. ``keep_answers`` is the lifetime of an answer.
    """
    default = f"""\
[default]
url = "{lookup_url}"
deadline = {DEADLINE}
subscribed_lifetime = "{keep_answers}"
not_subscribed_lifetime = "{keep_answers}"
breaker_window = 2
breaker_first_pause = 1
breaker_longest_pause = 1
"""
    entries = [
        f'[organisation.{each.org_id}]\nname = "{each.title}"\n'
        + ("" if each.has_lookup else 'lookup = "none"\n')
        for each in ORGANISATIONS
    ]
    return "\n".join([default, *entries])


def _quoted(head: str, lines: Sequence[str]) -> str:
    return "".join(f"\n  {line}" for line in [head, *lines[-_LOG_LINES:]]) if lines else ""


class Worker:
    """``python -m streams worker`` in a temporary folder. It ends when we do, however that happens."""

    def __init__(self, bootstrap_servers: str, organisations: str, environ: Mapping[str, str]) -> None:
        """Describe a worker; nothing runs yet.

        Args:
            bootstrap_servers: of its Kafka.
            organisations: the text of its organisations file.
            environ: our environment; settings of a worker in it are not passed on.
        """
        self._bootstrap_servers = bootstrap_servers
        self._organisations = organisations
        self._strangers = variables_in(environ)
        self._processes: SupervisedProcesses | None = None
        self._port: HeldPort | None = None
        self._log: Path | None = None

    @property
    def pages(self) -> str:
        """The address before /metrics, /livez and /readyz."""
        assert self._port is not None
        return f"http://{_HOST}:{self._port.number}"

    def start(self) -> None:
        """Start the process.

        Raises:
            EmbeddedKafkaError: it could not be started, or there is no free port.
            OSError: there is no room for its folder.
        """
        root = Path(tempfile.mkdtemp(prefix="streams-demo-"))
        self._processes = SupervisedProcesses(grace=_STOPPED_WITHIN, remove=root)
        (root / "organisations.toml").write_text(self._organisations, encoding="utf-8")
        self._log = root / "worker.log"
        self._port = HeldPort()
        self._port.make_way()
        self._processes.start(_NAME, self._command(root), self._log, None)

    async def wait_until_ready(self, told: Callable[[str], None]) -> None:
        """Wait until /readyz says so; `told` hears what is awaited.

        Raises:
            DemoFailed: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + _READY_WITHIN
        while problems := await self.problems():
            await self.check()
            awaited = "; ".join(problems)
            if time.monotonic() > deadline:
                raise DemoFailed(
                    f"The worker was not ready after {_READY_WITHIN:g} s: {awaited}.{self.last_lines()}"
                )
            told(awaited)
            await asyncio.sleep(_POLL)

    async def problems(self) -> list[str]:
        """Why it is not ready, by /readyz; empty: it is."""
        try:
            return _read_readiness(await self._get("/readyz")).problems
        except msgspec.MsgspecError:
            return ["its pages are not up yet"]

    async def metric(self, sample: str) -> float:
        """The value of a sample on /metrics, 0 while it is not there: ``name{label="value"}``."""
        lines = (await self._get("/metrics")).decode().splitlines()
        values = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{sample} ")]
        return float(values[0]) if values else 0.0

    async def check(self) -> None:
        """Look whether it still runs.

        Raises:
            DemoFailed: it has ended.
        """
        code = await asyncio.to_thread(self._running().wait, _NAME, 0.0)
        if code is not None:
            raise DemoFailed(f"The worker ended by itself, with exit code {code}.{self.last_lines()}")

    def stop_gently(self) -> str | None:
        """SIGTERM, and wait. Returns what was wrong with its end; None when it ended with exit code 0."""
        processes = self._running()
        if not processes.signal(_NAME, signal.SIGTERM):
            return f"The worker had ended by itself.{self.last_lines()}"
        code = processes.wait(_NAME, _STOPPED_WITHIN)
        if code is None:
            return f"The worker did not stop within {_STOPPED_WITHIN:g} s of SIGTERM.{self.last_lines()}"
        return f"The worker stopped with exit code {code}, not 0.{self.last_lines()}" if code else None

    def close(self) -> None:
        """End it if it still runs, and remove its folder. Harmless when that is done."""
        if self._processes is not None:
            self._processes.close()
            self._processes = None
        if self._port is not None:
            self._port.release()

    def last_lines(self) -> str:
        """The end of its log, for an error message."""
        return _quoted("Its log ends with:", self._logged()) or " Its log is empty."

    def last_warnings(self) -> str:
        """The last warnings and errors in its log; nothing if there are none."""
        return _quoted(
            "The worker's last warnings:", [line for line in self._logged() if _WARNING.search(line)]
        )

    def _logged(self) -> list[str]:
        try:
            return self._log.read_text(errors="replace").splitlines() if self._log else []
        except OSError:
            return []

    async def _get(self, path: str) -> bytes:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
            try:
                async with http.get(f"{self.pages}{path}") as response:
                    return await response.read()
            except (aiohttp.ClientError, TimeoutError):
                return b""

    def _command(self, root: Path) -> Sequence[str]:
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": self._bootstrap_servers,
            "TOPIC_PARTITIONS": PARTITIONS,
            "ORGANISATIONS_FILE": root / "organisations.toml",
            "STORE": "memory",
            "STORE_FOLDER": root / "state",
            "WEB_HOST": _HOST,
            "WEB_PORT": int(self.pages.rpartition(":")[2]),
        }
        given = [f"{PREFIX}{name}={value}" for name, value in settings.items()]
        # By env(1), as the supervisor passes its own environment on; it becomes the worker.
        forgotten = [part for name in self._strangers for part in ("-u", name)]
        return ["/usr/bin/env", *forgotten, *given, sys.executable, "-m", "streams", "worker"]

    def _running(self) -> Any:
        if self._processes is None:
            raise EmbeddedKafkaError("The worker is not started.")
        return self._processes
