"""The outages: what is taken away, and who must tell of it."""

import asyncio
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from examples.proca.demo.proca import Proca
from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq
from streams.sandbox.lookup_service import Behaviour
from streams.sandbox.supervised import SupervisedProcesses
from tests.integration.steps import act
from tests.integration.topics import action, send, status
from tests.outages.scene import Scene
from tests.small_disk import fill, mount, unmount

_DISK = 8  # mebibytes
_STATUSES = 2_000  # more than the full disk has room for
_HALF = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half:"
_CONNECTIONS = 200  # more than the web port keeps
_AGAIN_AFTER = 0.25  # seconds
_ORGANISATION = 310
_WITHIN = 120.0  # seconds until Prometheus has seen the bridge; the machine may be busy
_ELSEWHERE = "127.0.0.2"  # the flood's address; Prometheus asks from another one


class Teller(StrEnum):
    """Where a person looks, or is called from: the columns of the table."""

    PAGE = "worker's page"
    ALERT = "alert"
    DOCTOR = "`streams doctor`"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Outage:
    """One thing that is taken away from an installation that works.

    Attributes:
        name: for the command line.
        title: for the table.
        tellers: who must tell of it. The others may.
        take_away: begins the outage; its end ends the outage.
        alert: the name of the alert that must fire; None: none that pages may.
        may_page: other alerts that may call a person.
        watched: seconds for which it is watched at least.
        beside: begins what else runs, before the outage; its end ends that.
        brokers: of the Kafka.
        disk: what the worker's store lies on; gets the store's folder.
        worker: the worker's command; None: the usual one.
    """

    name: str
    title: str
    tellers: frozenset[Teller]
    take_away: Callable[[Scene], AbstractContextManager[None]]
    alert: str | None
    may_page: frozenset[str] = frozenset()
    watched: float = 60.0
    beside: Callable[[Scene], AbstractContextManager[object]] = nullcontext
    brokers: int = 1
    disk: Callable[[Path], AbstractContextManager[object]] = nullcontext
    worker: tuple[str, ...] | None = None


@contextmanager
def _broker(scene: Scene) -> Iterator[None]:
    last = max(scene.kafka.brokers)
    scene.kafka.kill(last)
    yield
    scene.kafka.restart(last)


@contextmanager
def _lookup(scene: Scene) -> Iterator[None]:
    scene.lookup.behave(Behaviour.REFUSING)
    yield
    scene.lookup.behave(Behaviour.HEALTHY)


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    if not mount(folder, _DISK):
        raise PermissionError("this user may not mount a tmpfs: only root may")
    try:
        yield
    finally:
        unmount(folder)


@contextmanager
def _store(scene: Scene) -> Iterator[None]:
    ballast = fill(scene.store)
    rows = [status(number, True) for number in range(_STATUSES)]
    asyncio.run(send(scene.place.bootstrap_servers, scene.place.names.statuses, rows))
    yield
    ballast.unlink()


@contextmanager
def _mailer(scene: Scene) -> Iterator[None]:
    scene.mailer.end(signal.SIGKILL)
    yield
    scene.mailer.start()


class _Bridge:
    """A bridge from a RabbitMQ of its own, which dies."""

    @contextmanager
    def running(self, scene: Scene) -> Iterator[None]:
        """Let it run, and Prometheus see it."""
        folder = scene.place.folder
        with ExitStack() as stack:
            processes = SupervisedProcesses(grace=0.0)
            stack.callback(processes.close)
            rabbitmq = RabbitMq(processes, folder)
            stack.callback(rabbitmq.close)
            rabbitmq.start()
            asyncio.run(_declare(rabbitmq.url))
            settings = {
                "amqp_url": rabbitmq.url,
                "organisations": _ORGANISATION,
                "kafka_bootstrap_servers": scene.kafka.bootstrap_servers,
                "actions_topic": scene.place.names.actions,
                "web_port": scene.bridge_port,
            }
            self._process = BridgeProcess(processes, "actions", folder, settings)
            stack.callback(self._process.close)
            self._process.start()
            scene.prometheus.wait(lambda: len(scene.prometheus.query("bridge_ready == 1")) == 1, _WITHIN)
            yield

    @contextmanager
    def dies(self, _: Scene) -> Iterator[None]:
        self._process.kill()
        yield
        self._process.start()


async def _declare(url: str) -> None:
    async with Proca(url) as proca:
        await proca.declare(_ORGANISATION)


_bridge = _Bridge()


@contextmanager
def _action(scene: Scene) -> Iterator[None]:
    asyncio.run(act(scene.place, action(999_999, comment="lose this one")))
    yield


@contextmanager
def _web_port(scene: Scene) -> Iterator[None]:
    ended = threading.Event()
    flood = partial(_keep_asking, scene.worker.port, ended)
    threads = [threading.Thread(target=flood, daemon=True) for _ in range(_CONNECTIONS)]
    with ExitStack() as stack:
        stack.callback(ended.set)
        for thread in threads:
            thread.start()
        yield


def _keep_asking(port: int, ended: threading.Event) -> None:
    """Hold a connection with half a request, and open another one when it is ended."""
    while not ended.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 20, (_ELSEWHERE, 0)) as one:
            one.sendall(_HALF)
            one.recv(1)
        time.sleep(_AGAIN_AFTER)


OUTAGES = (
    Outage(
        "kafka",
        "Kafka is away",
        frozenset(Teller),
        _broker,
        alert="ConfirmationOldestActionWaits",
        may_page=frozenset({"ConfirmationMailerWaits"}),  # no letter leaves either
        watched=330.0,  # the worker's page says after 300 s that a person must look
    ),
    Outage(
        "broker",
        "One broker of three is away",
        frozenset({Teller.DOCTOR, Teller.LOG}),
        _broker,
        alert=None,
        watched=240.0,  # an alert that pages would have fired
        brokers=3,
    ),
    Outage(
        "lookup",
        "The lookup is dead",
        frozenset(Teller),
        _lookup,
        alert="ConfirmationBreakerOpen",
    ),
    Outage(
        "store",
        "The store's disk is full",
        frozenset({Teller.ALERT, Teller.LOG}),
        _store,
        alert="ConfirmationStoreAway",
        disk=_small_disk,
    ),
    Outage(
        "mailer",
        "The mailer is dead",
        frozenset({Teller.ALERT}),
        _mailer,
        alert="ConfirmationMailerWaits",
    ),
    Outage(
        "bridge",
        "The bridge from RabbitMQ is dead",
        frozenset({Teller.ALERT}),
        _bridge.dies,
        alert="ConfirmationBridgeWaits",
        beside=_bridge.running,
    ),
    Outage(
        "web-port",
        "The web port is flooded",
        frozenset({Teller.LOG}),
        _web_port,
        alert=None,
        watched=240.0,
    ),
    Outage(
        "action",
        "A bug loses an action",
        frozenset({Teller.ALERT}),
        _action,
        alert="ConfirmationActionsUnaccounted",
        worker=(sys.executable, "-m", "tests.integration.broken_worker", "loses"),
    ),
)
