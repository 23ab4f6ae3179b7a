"""One mode after the other: a fresh worker, the same actions, and what became of them."""

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from streams.commands.feeder import FeedError, feed_actions, feed_statuses
from streams.commands.progress_bar import ProgressBar
from streams.observability.web_limits import RENDERING_SECONDS
from streams.sandbox.account import Account
from streams.sandbox.drill.breaker_watch import BreakerWatch
from streams.sandbox.drill.crowd import AFFECTED_ORG, HEALTHY_ORG, Group, actions, group_of, statuses, warm_up
from streams.sandbox.drill.figures import Figures, Timeline, figures
from streams.sandbox.drill.naive import NaiveRun, run_naive
from streams.sandbox.errors import SandboxError
from streams.sandbox.lookup_service import Behaviour, LookupService
from streams.sandbox.mailer import Mailer
from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import Installation, WorkerProcess

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


class _Action(msgspec.Struct):
    actionId: int


_decode = msgspec.json.Decoder(_Action).decode


class Asked(NamedTuple):
    """How often each organisation's CRM was asked; None: nobody was there to count."""

    affected: int | None
    healthy: int


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
    progress: ProgressBar


async def run_mode(stage: Stage, mode: Behaviour, affected: int, warming: int) -> ModeRun:
    """Run one mode, with so many affected actions, after so many that warm the worker up.

    Raises:
        SandboxError: the worker or the reader cannot work.
        KafkaError: Kafka cannot be reached.
    """
    progress, servers = stage.progress, stage.bootstrap_servers
    progress.begin(f"CRM {mode}: starting a worker")
    with LookupService(behaviour=mode) as crm, LookupService() as healthy_crm:
        urls = {AFFECTED_ORG: crm.url, HEALTHY_ORG: healthy_crm.url}
        place = _installation(stage, f"drill-{mode}", urls)
        names = place.names
        worker = WorkerProcess(stage.processes, place.group, stage.folder, place.settings)
        watch = BreakerWatch(worker, AFFECTED_ORG)
        try:
            worker.start()
            await asyncio.to_thread(worker.wait_ready)
            await _teach(worker, place, affected)
            with Mailer(servers, (names.actions, names.emails, names.dead_letters)) as mailer:
                progress.begin(f"CRM {mode}: {warming:,} actions to warm up", warming)
                before: Account[str] = Account(names, lambda _: "warm-up")
                await _flow(place, warm_up(warming), warming, mailer, before, progress)
                warmed = healthy_crm.asked
                following = asyncio.create_task(watch.follow())
                watch.begin()
                progress.begin(f"CRM {mode}: {2 * affected:,} actions", 2 * affected)
                account: Account[Group] = Account(names, _group_of)
                await _flow(place, actions(affected), 2 * affected, mailer, account, progress)
                await asyncio.sleep(RENDERING_SECONDS)  # else the page may be of before the last lookups
                failed = await asyncio.to_thread(
                    worker.counter, "confirmation_lookup_duration_seconds_count", outcome="error"
                )
                following.cancel()
                asked = Asked(None if mode is Behaviour.REFUSING else crm.asked, healthy_crm.asked - warmed)
                await asyncio.to_thread(worker.stop)
                account.take(await asyncio.to_thread(mailer.finish))
        finally:
            worker.close()
        progress.begin(f"CRM {mode}: the consumer as it was")
        naive = await run_naive(
            servers,
            names.actions,
            f"{place.group}-naive-emails",
            urls,
            partitions=PARTITIONS,
            seconds=NAIVE_SECONDS,
        )
    sent = [delay.sent_at for tally in account.parts.values() for delay in tally.delays]
    seconds = max(sent, default=0.0) - min(sent, default=0.0)
    found = figures(account, watch.timeline, DEADLINE)
    return ModeRun(found, asked, int(failed), tuple(watch.timeline), seconds, naive)


def _installation(stage: Stage, name: str, urls: dict[int, str]) -> Installation:
    organisations = stage.folder / f"{name}.toml"
    organisations.write_text(
        "".join(
            f'[organisation.{org_id}]\nurl = "{url}"\ndeadline = {DEADLINE}\n' for org_id, url in urls.items()
        )
    )
    return Installation(
        stage.bootstrap_servers,
        name,
        stage.folder,
        topic_partitions=PARTITIONS,
        organisations_file=organisations,
    )


async def _teach(worker: WorkerProcess, place: Installation, affected: int) -> None:
    """Tell the worker the known supporters' statuses, and wait until it knows them."""
    rows = statuses(affected)
    try:
        await feed_statuses(place.connection, place.names.statuses, rows)
    except FeedError as error:
        raise SandboxError(f"The statuses could not be sent: {error}.") from error
    await asyncio.to_thread(worker.wait_counter, len(rows), "confirmation_statuses_total", result="applied")


async def _flow(
    place: Installation,
    lines: Iterator[bytes],
    count: int,
    mailer: Mailer,
    account: Account[Any],
    progress: ProgressBar,
) -> None:
    """Send `count` actions at the rate, and wait until each has its email.

    That some never get one is for the figures to say: it waits no longer than 30 s after the last action.
    """
    feeding = asyncio.create_task(
        feed_actions(place.connection, place.names.actions, lines, rate=RATE, linger=0)
    )
    until = math.inf
    try:
        while time.monotonic() < until:
            if feeding.done() and until == math.inf:
                feeding.result()
                until = time.monotonic() + _ARRIVED_WITHIN
            account.take(mailer.take())
            tallies = account.parts.values()
            progress.step(sum(tally.emails.total() for tally in tallies))
            if sum(tally.actions - tally.missing for tally in tallies) == count:
                return
            await asyncio.sleep(_LOOK_EVERY)
    except FeedError as error:
        raise SandboxError(f"The actions could not be sent: {error}.") from error
    finally:
        feeding.cancel()


def _group_of(record: Any) -> Group:
    return group_of(_decode(record.value).actionId)
