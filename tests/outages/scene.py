"""An installation that works: a Kafka, a worker, its lookup, a mailer, a mail server, and a Prometheus."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService
from streams.sandbox.ports import free_port
from streams.sandbox.worker import Installation, WorkerProcess, page
from tests.integration.topics import action, keyed, producing
from tests.mailer.processes import Mailbox, MailerProcess
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.queries import RULES
from tests.tools import debian_tool

#: Seconds between two scrapes, and between two evaluations of the rules: compose's.
EVERY = 5
#: The jobs, as compose calls them.
WORKERS, MAILERS, BRIDGES = "confirmation-streams", "confirmation-mailer", "confirmation-bridge"
STORE = "worker-0"  # the folder's name, which is the worker's
_ACTION_EVERY = 0.25  # seconds
_WITHIN = 120.0  # seconds for each step of the start; the machine may be busy


@dataclass(frozen=True, slots=True)
class Scene:
    """All that runs; `store` is the folder of the worker's store. At `bridge_port` nobody listens yet."""

    kafka: EmbeddedKafka
    place: Installation
    worker: WorkerProcess
    store: Path
    lookup: LookupService
    mailbox: Mailbox
    mailer: MailerProcess
    mailer_port: int
    bridge_port: int
    prometheus: Prometheus

    def instances(self) -> dict[str, str]:
        """Return a short name for each address that Prometheus scrapes."""
        return {
            f"127.0.0.1:{self.worker.port}": "w1",
            f"127.0.0.1:{self.mailer_port}": "m1",
            f"127.0.0.1:{self.bridge_port}": "b1",
        }


@contextmanager
def running(folder: Path, brokers: int, worker_command: Sequence[str] | None) -> Iterator[Scene]:
    """Start all of it, and wait until emails and letters leave; in the end, end all of it.

    Args:
        folder: an empty one, but for the folder of the worker's store.
        brokers: of the Kafka.
        worker_command: None: the usual one.

    Raises:
        SandboxError: something does not start.
    """
    with ExitStack() as stack:
        kafka = stack.enter_context(EmbeddedKafka(brokers))
        lookup = stack.enter_context(LookupService())
        place = Installation(
            kafka.bootstrap_servers,
            WORKERS,
            folder,
            store="rocksdb",
            lookup_url=lookup.url,
            topic_replication=brokers,
        )
        worker = stack.enter_context(place).worker()
        worker.start(worker_command)
        worker.wait_ready(_WITHIN)
        mailbox = stack.enter_context(Mailbox())
        port, bridge_port = free_port(), free_port()
        mailer = MailerProcess(
            kafka.bootstrap_servers, place.names.emails, mailbox.port, folder, web_port=port
        )
        stack.enter_context(mailer)
        jobs = {
            job: [f"127.0.0.1:{each}"]
            for job, each in ((WORKERS, worker.port), (MAILERS, port), (BRIDGES, bridge_port))
        }
        program = debian_tool("prometheus")
        prometheus = stack.enter_context(Prometheus(program, folder, jobs, RULES, EVERY))
        stack.enter_context(_acting(place))
        mailer.until(lambda: page(port, "/readyz")[0] == 200 and len(mailbox.letters) > 0, _WITHIN)
        both = "confirmation_ready == 1 or mailer_ready == 1"
        prometheus.wait(lambda: len(prometheus.query(both)) == 2, _WITHIN)
        yield Scene(
            kafka, place, worker, folder / STORE, lookup, mailbox, mailer, port, bridge_port, prometheus
        )


@contextmanager
def _acting(place: Installation) -> Iterator[None]:
    """Send an action of somebody new every quarter of a second, whatever Kafka says."""
    ended = threading.Event()

    async def act() -> None:
        number = 10_000
        while not ended.is_set():
            producer = producing(place.bootstrap_servers, linger_ms=0)
            try:
                await producer.start()
                while not ended.is_set():
                    key, value = keyed(action(number))
                    await producer.send_and_wait(place.names.actions, value, key=key)
                    number += 1
                    await asyncio.sleep(_ACTION_EVERY)
            except (KafkaError, OSError):
                await asyncio.sleep(1.0)
            finally:  # also where the start failed, which an `async with` leaves open
                await producer.stop()

    thread = threading.Thread(target=asyncio.run, args=(act(),), name="actions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(60)
