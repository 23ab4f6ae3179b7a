"""One mode after the other: a fresh worker, the same actions, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from streams.commands.progress_bar import ProgressBar
from streams.sandbox.demo.lookup_service import Behaviour
from streams.sandbox.drill.breaker_watch import BreakerWatch
from streams.sandbox.drill.crowd import AFFECTED_ORG, HEALTHY_ORG, Act, acts, statuses, warm_up
from streams.sandbox.drill.figures import Figures, Sent, Timeline, figures
from streams.sandbox.drill.mailer import Mailer
from streams.sandbox.drill.naive import NaiveRun, run_naive
from streams.sandbox.drill.progress import Told
from streams.sandbox.lookup_service import Behaviour, LookupService
from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import WorkerProcess

MODES = (Behaviour.HEALTHY, Behaviour.REFUSING, Behaviour.HANGING, Behaviour.ERRORS, Behaviour.RUBBISH)
"""How the affected organisation's CRM behaves; the first run is what the others are compared with."""

DEADLINE = 1.0  # seconds
RATE = 280.0  # actions a second, over all groups: 140 of them affected, 1,400 in ten seconds
PARTITIONS = 4
WARM_UP = 140
"""Actions before the measured ones: what a process needs once, at its start, is no delay of the drill's."""
NAIVE_SECONDS = 20.0
_ARRIVED_WITHIN = 30.0  # seconds after the last action
_LOOK_EVERY = 0.05  # seconds
_TICK = 0.01  # seconds
_QUIET = 0.5  # seconds in which an email too many may still arrive, after the worker has ended


class Asked(NamedTuple):
    """How often an organisation's CRM was asked; None: nobody was there to count."""

    affected: int | None
    healthy: int | None


@dataclass(frozen=True, slots=True)
class ModeRun:
    """What one mode came to.

    Attributes:
        figures: counts and delays.
        asked: questions, as the CRMs counted them.
        failed_exchanges: exchanges that the worker began in vain, all with the affected organisation's CRM.
        breaker: that organisation's circuit breaker over time.
        seconds: from the first action to the last.
        naive: the same actions, by the consumer as it was.
    """

    figures: Figures
    asked: Asked
    failed_exchanges: int
    breaker: Timeline
    seconds: float
    naive: NaiveRun


class Stage(NamedTuple):
    """Where all modes take place."""

    bootstrap_servers: str
    processes: SupervisedProcesses
    folder: Path
    told: ProgressBar


async def run_mode(stage: Stage, mode: Behaviour, affected: int) -> ModeRun:
    """Run one mode, with so many affected actions.

    Raises:
        SandboxError: the worker or the reader cannot work.
        KafkaError: Kafka cannot be reached.
    """
    prefix = f"drill-{mode}"
    told, servers = stage.told, stage.bootstrap_servers
    told.begin(f"CRM {mode}: starting a worker")
    with LookupService(behaviour=mode) as crm, LookupService() as healthy_crm:
        urls = {AFFECTED_ORG: crm.url, HEALTHY_ORG: healthy_crm.url}
        worker = WorkerProcess(stage.processes, prefix, stage.folder, _settings(stage, prefix, urls))
        watch = BreakerWatch(worker, AFFECTED_ORG)
        try:
            worker.start()
            await asyncio.to_thread(worker.wait_ready)
            async with _producing(servers) as producer:
                await _teach(producer, worker, f"{prefix}-status", affected)
                with Mailer(servers, f"{prefix}-emails", PARTITIONS) as mailer:
                    warm = await _feed(producer, f"{prefix}-actions", warm_up(WARM_UP), mailer, told)
                    await _arrived(mailer, len(warm), told)
                    mailer.forget()
                    warmed = healthy_crm.asked
                    following = asyncio.create_task(watch.follow())
                    watch.begin()
                    told.begin(f"CRM {mode}: {2 * affected:,} actions", 2 * affected)
                    sent = await _feed(producer, f"{prefix}-actions", acts(affected), mailer, told)
                    await _arrived(mailer, len(sent), told)
                    failed = await asyncio.to_thread(
                        worker.counter, "confirmation_lookup_duration_seconds_count", outcome="error"
                    )
                    following.cancel()
                    asked = Asked(
                        None if mode is Behaviour.REFUSING else crm.asked, healthy_crm.asked - warmed
                    )
                    await asyncio.to_thread(worker.stop)
                    await asyncio.sleep(_QUIET)
        finally:
            worker.close()
        told.begin(f"CRM {mode}: the consumer as it was")
        naive = await run_naive(
            servers,
            f"{prefix}-actions",
            f"{prefix}-naive-emails",
            urls,
            partitions=PARTITIONS,
            seconds=NAIVE_SECONDS,
        )
    found = figures(sent, mailer.arrivals, watch.timeline)
    seconds = sent[-1].at - sent[0].at
    return ModeRun(found, asked, int(failed), tuple(watch.timeline), seconds, naive)


def _settings(stage: Stage, prefix: str, urls: dict[int, str]) -> dict[str, object]:
    organisations = stage.folder / f"{prefix}.toml"
    organisations.write_text(
        "".join(
            f'[organisation.{org_id}]\nurl = "{url}"\ndeadline = {DEADLINE}\n' for org_id, url in urls.items()
        )
    )
    return {
        "KAFKA_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "GROUP_ID": prefix,
        "ACTIONS_TOPIC": f"{prefix}-actions",
        "STATUS_TOPIC": f"{prefix}-status",
        "EMAILS_TOPIC": f"{prefix}-emails",
        "DEAD_LETTERS_TOPIC": f"{prefix}-dlq",
        "TOPIC_PARTITIONS": PARTITIONS,
        "STORE": "memory",
        "ORGANISATIONS_FILE": organisations,
    }


@contextlib.asynccontextmanager
async def _producing(bootstrap_servers: str) -> AsyncIterator[Any]:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def _teach(producer: Any, worker: WorkerProcess, topic: str, affected: int) -> None:
    """Tell the worker the known supporters' statuses, and wait until it knows them."""
    rows = statuses(affected)
    await asyncio.gather(*[await producer.send(topic, value, key=key) for key, value in rows])
    await asyncio.to_thread(worker.wait_counter, len(rows), "confirmation_statuses_total", result="applied")


async def _feed(
    producer: Any, topic: str, crowd: Iterable[Act], mailer: Mailer, told: ProgressBar
) -> list[Sent]:
    """Send at the rate, and note the timestamp that each record has."""
    under_way: list[tuple[Act, asyncio.Future[Any]]] = []
    started = time.monotonic()
    for number, act in enumerate(crowd):
        while (time.monotonic() - started) * RATE < number:
            told.step(mailer.seen)
            await asyncio.sleep(_TICK)
        under_way.append((act, await producer.send(topic, act.value, key=act.key)))
    return [Sent(act.action_id, act.group, (await sent).timestamp / 1000) for act, sent in under_way]


async def _arrived(mailer: Mailer, count: int, told: ProgressBar) -> None:
    """Wait until every action has an email; that some never get one is for the figures to say."""
    until = time.monotonic() + _ARRIVED_WITHIN
    while mailer.seen < count and time.monotonic() < until:
        told.step(mailer.seen)
        await asyncio.sleep(_LOOK_EVERY)
