"""A worker without Kafka that ends, or does not, as its argument says. Run as a process."""

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Any

import faust
from faust.app.base import BootStrategy
from mode import Service
from mode.threads import ServiceThread

from streams.observability import ending, logs
from streams.observability.crash import ReportingWorker
from tests.privacy.people import EMAIL, FIRST

#: Ways in which it does not end by itself.
CUT_OFF = ("hangs", "fails and hangs", "stands still", "nobody reads")


class Part(Service):
    """A part of the worker; each method is one way to end it, and quotes somebody where it can."""

    way = "signal"

    async def on_start(self) -> None:
        if self.way == "start":
            raise OSError(98, "address already in use")
        if self.way == "memory":
            raise MemoryError("no memory left")
        if self.way == "thread":
            await self.add_runtime_dependency(Thread())

    @Service.task
    async def work(self) -> None:
        match self.way:
            case "task":
                raise ValueError(f"no letter for {FIRST} <{EMAIL}>")
            case "two errors":
                await self.crash(LookupError(FIRST))
                await self.crash(KeyError(EMAIL))
            case "cancelled":
                await self.crash(asyncio.CancelledError())
            case "unfinished":
                self.unfinished = asyncio.get_running_loop().create_task(for_ever(), name="unfinished")
                raise ValueError(FIRST)
            case "signal" | "hangs":
                os.kill(os.getpid(), signal.SIGTERM)
            case "fails and hangs":
                raise ValueError(FIRST)
            case "stands still":
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
                threading.Event().wait()
            case "nobody reads":
                threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()
                while True:
                    logging.getLogger("talkative").info("%s", "x" * 1_000)
            case "fails while ending":
                os.kill(os.getpid(), signal.SIGTERM)

    async def on_stop(self) -> None:
        if self.way == "fails while ending":
            await self.crash(ValueError(FIRST))
        if self.way in ("hangs", "fails and hangs"):
            await for_ever()


class Thread(ServiceThread):
    """A part in a thread of its own, as Faust's consumer is."""

    async def on_start(self) -> None:
        raise ConnectionRefusedError(111, "nobody listens")


async def for_ever() -> None:
    """Outlive even a cancellation."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            logging.getLogger("stubborn").warning("not yet")


class Parts(BootStrategy):
    """Nothing of Faust's."""

    def server(self) -> Any:
        return [Part()]


class App(faust.App):
    """An app of one part."""

    BootStrategy = Parts


if __name__ == "__main__":
    Part.way = sys.argv[1]
    if Part.way in CUT_OFF:
        ending.BEYOND_GRACE = 1.0  # seconds
    app = App(
        "crashing",
        env={},
        broker="kafka://127.0.0.1:1",
        logging_config=logs.configuration("info", "json"),
        worker_redirect_stdouts=False,
    )
    made = ending.Ending(0.0)
    made.in_flight = lambda: 7
    ReportingWorker(made, app, loglevel="info").execute_from_commandline()
