"""A worker in a process of its own, which ends when the drill does, however that ends."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from streams.sandbox.drill.errors import DrillFailed
from streams.sandbox.kafka.ports import HeldPort
from streams.sandbox.kafka.supervised import SupervisedProcesses
from streams.settings.environment import PREFIX
from streams.settings.table import variables_in

_READY_WITHIN = 60.0  # seconds
_LOOK_EVERY = 0.1  # seconds
_GRACE = 15.0  # seconds for a worker that is told to stop
_TAIL = 15  # lines of its log that are shown when it fails
_SOURCE = Path(__file__).resolve().parents[3]


class Worker:
    """One worker under a supervisor (see ``streams.sandbox.kafka.supervisor``)."""

    def __init__(
        self, processes: SupervisedProcesses, name: str, folder: Path, settings: Mapping[str, object]
    ) -> None:
        """Describe one; `settings` by name without the prefix."""
        self._processes = processes
        self._name = name
        self._log = folder / f"{name}.log"
        self._port = HeldPort()
        self._settings = {
            **settings,
            "WEB_PORT": self._port.number,
            "STORE_FOLDER": folder / name,
        }

    async def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            DrillFailed: it ended, or was not ready in time.
        """
        unset = [part for name in variables_in(os.environ) for part in ("-u", name)]
        given = [f"{PREFIX}{name}={value}" for name, value in self._settings.items()]
        path = f"PYTHONPATH={_SOURCE}"
        command = [sys.executable, "-m", "streams", "worker"]
        self._port.make_way()
        # The supervisor's environment is the drill's own, which may hold settings of another installation.
        self._processes.start(self._name, ["/usr/bin/env", *unset, *given, path, *command], self._log, None)
        until = time.monotonic() + _READY_WITHIN
        while await asyncio.to_thread(self.page, "/readyz") is None:
            if self._processes.wait(self._name, 0.0) is not None:
                raise DrillFailed(f"The worker has ended.\n{self.tail()}")
            if time.monotonic() > until:
                raise DrillFailed(f"The worker was not ready after {_READY_WITHIN:g} s.\n{self.tail()}")
            await asyncio.sleep(_LOOK_EVERY)

    async def stop(self) -> None:
        """Tell it to stop, and wait until it has: it finishes its emails first. Harmless when ended."""
        await asyncio.to_thread(self._processes.end, [self._name], _GRACE)
        self._port.release()

    def page(self, path: str) -> str | None:
        """One of its pages; None where it does not answer with 200."""
        try:
            url = f"http://127.0.0.1:{self._port.number}{path}"
            with urllib.request.urlopen(url, timeout=5) as response:
                return str(response.read().decode())
        except OSError:  # urllib's errors are
            return None

    def sample(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples with these labels; None where its page does not answer."""
        page = self.page("/metrics")
        if page is None:
            return None
        total = 0.0
        for shown, given, value in re.findall(r"^(\w+)(?:\{(.*)\})? (\S+)$", page, re.MULTILINE):
            if shown == name and all(f'{label}="{wanted}"' in given for label, wanted in labels.items()):
                total += float(value)
        return total

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_TAIL:])
