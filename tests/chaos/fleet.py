"""The worker processes: who runs, who should, and who ended unasked."""

import asyncio
import subprocess
import sys
from pathlib import Path

from streams.sandbox.errors import ProcessFailed
from streams.sandbox.worker import Installation, WorkerProcess
from tests.chaos.roles import Unbitten

#: Seconds in which a worker that got SIGTERM must be gone: Kubernetes' default before it sends SIGKILL.
TERM_WITHIN = 30.0
_READY_WITHIN = 90.0


class Child:
    """A side process of ours: its first line says where it listens; it ends with its standard input."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first_line = self._answer()

    def order(self, line: str) -> None:
        """Send a line and wait until it is answered."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{self._process.args} ended")
        return line

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Fleet:
    """Workers of one installation; the first is behind the cable that can be cut."""

    def __init__(
        self, bootstrap_servers: str, cable: Child, folder: Path, name: str, lookup_url: str
    ) -> None:
        self._cable = cable
        self._place = Installation(
            bootstrap_servers,
            name,
            folder,
            store="rocksdb",
            topic_replication=3,
            transaction_timeout=5,
            lookup_url=lookup_url,
            lookup_deadline=1,
            lookup_keep_subscribed=60,
            lookup_keep_not_subscribed=60,
        )
        self.names = self._place.names
        self.group = self._place.group
        self.partitions = int(self._place.settings["TOPIC_PARTITIONS"])
        self.running: list[WorkerProcess] = []
        self.behind_cable: WorkerProcess | None = None
        #: Log file and exit code of every worker that ended though nobody told it to.
        self.deserters: list[str] = []

    async def start(self) -> WorkerProcess:
        """Start one more worker; behind the cable if nobody is there."""
        if self.behind_cable is None:
            worker = self.behind_cable = self._place.worker(kafka_bootstrap_servers=self._cable.first_line)
        else:
            worker = self._place.worker()
        worker.start()
        self.running.append(worker)
        return worker

    def start_again(self, worker: WorkerProcess) -> None:
        """Start a worker that ended, in its old folder, as a supervisor would."""
        worker.start()
        self.running.append(worker)

    async def ready(self, *workers: WorkerProcess) -> None:
        """Wait until these (or all) workers are ready.

        Raises:
            Unbitten: one is not.
        """
        for worker in workers or tuple(self.running):
            try:
                await asyncio.to_thread(worker.wait_ready, _READY_WITHIN)
            except ProcessFailed as exc:
                raise Unbitten(f"{worker.log.name}: {str(exc)[:300]}") from None

    def forget(self, worker: WorkerProcess) -> None:
        """Expect a worker to end."""
        self.running.remove(worker)

    async def terminate(self, worker: WorkerProcess) -> None:
        """SIGTERM a worker, which must exit with 0 in time.

        Raises:
            Unbitten: it did not.
        """
        self.forget(worker)
        try:
            code = await asyncio.to_thread(worker.stop, TERM_WITHIN)
        except ProcessFailed:
            raise Unbitten(f"{worker.log.name} did not end within {TERM_WITHIN:g} s of SIGTERM") from None
        if code != 0:
            raise Unbitten(f"{worker.log.name} ended with {code} after SIGTERM")

    async def retire(self, worker: WorkerProcess) -> None:
        """The same, for good: the next to start takes its place behind the cable."""
        if worker is self.behind_cable:
            self.behind_cable = None
        await self.terminate(worker)

    def muster(self) -> None:
        """Note who ended unasked, and start them again."""
        for worker in list(self.running):
            if not worker.running:
                self.deserters.append(f"{worker.log.name} ended with {worker.wait()}")
                self.forget(worker)
                self.start_again(worker)

    def kill_all(self) -> None:
        """End everything at once."""
        self._place.kill_all()
