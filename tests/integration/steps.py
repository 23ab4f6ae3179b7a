"""Steps that several tests of a worker take."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson
from click.testing import CliRunner, Result

from streams.__main__ import main
from streams.sandbox.worker import Installation, WorkerProcess, problems
from tests.integration.topics import keyed, read, read_count, send

Make = Callable[..., Installation]


async def ready(place: Installation, **settings: object) -> WorkerProcess:
    """Start one more worker, and return it when it is ready."""
    worker = place.worker(**settings)
    await started(worker)
    return worker


async def started(worker: WorkerProcess) -> None:
    """Start a worker, anew where it has ended, and wait until it is ready."""
    worker.start()
    await asyncio.to_thread(worker.wait_ready)


class Probes:
    """What /livez and /readyz of a worker have answered while it was watched."""

    def __init__(self) -> None:
        self.livez: set[int] = set()
        self.readyz: set[int] = set()
        self.reasons: set[str] = set()
        self.last = 0  # answer of /readyz
        self.seconds = 0.0

    async def watch(self, worker: WorkerProcess, seconds: float) -> None:
        """Ask both for so long."""
        began = time.monotonic()
        while (lasted := time.monotonic() - began) < seconds:
            self.livez.add((await asyncio.to_thread(worker.get, "/livez"))[0])
            self.last, body = await asyncio.to_thread(worker.get, "/readyz")
            self.readyz.add(self.last)
            if self.last == 503:
                self.reasons |= set(problems(body))
            await asyncio.sleep(0.1)
        self.seconds += lasted


async def command(place: Installation, *arguments: str) -> Result:
    """Run a command with the installation's settings."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env=place.environ)


async def act(place: Installation, *documents: dict[str, Any]) -> None:
    """Put actions on their topic."""
    await send(place.bootstrap_servers, place.names.actions, map(keyed, documents))


async def learn(place: Installation, rows: Sequence[tuple[bytes | None, bytes | None]]) -> None:
    """Put the first statuses on their topic, and wait until the worker made last has learnt them."""
    await send(place.bootstrap_servers, place.names.statuses, rows)
    what = "confirmation_statuses_total"
    await asyncio.to_thread(place.workers[-1].wait_counter, len(rows), what, 60, result="applied")


async def emails_of(place: Installation, count: int) -> list[dict[str, Any]]:
    """Read `count` emails, and any that are too many."""
    records = await read_count(place.bootstrap_servers, place.names.emails, count)
    return [orjson.loads(record.value) for record in records]


async def reasons(place: Installation, count: int) -> dict[int, str]:
    """Return the reason of each action's email; every action must have just one."""
    emails = await emails_of(place, count)
    assert len(emails) == count, emails
    found = {email["actionId"]: email["reason"] for email in emails}
    assert len(found) == count, "one actionId a test action"
    return found


async def written(place: Installation, count: int) -> tuple[dict[int, float], dict[int, float]]:
    """Return when each action and its email were written, in seconds, as the topics have it."""
    times: list[dict[int, float]] = []
    for topic in (place.names.actions, place.names.emails):
        records = await read_count(place.bootstrap_servers, topic, count)
        assert len(records) == count
        times.append({_action_id(orjson.loads(record.value)): record.timestamp / 1000 for record in records})
    actions, emails = times
    return actions, emails


async def kept(place: Installation, until: Callable[[list[Any]], bool], seconds: float = 30) -> list[Any]:
    """Read what the table's changelog was told, until that is enough."""
    records = await read(place.bootstrap_servers, place.names.changelog, until, seconds=seconds)
    assert until(records), f"not enough in {seconds} s: {len(records)} rows"
    return records


async def settled(place: Installation, condition: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until a condition holds."""
    for _ in range(int(seconds * 10)):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"did not happen in {seconds} s\n{place.workers[-1].tail()}")


def table(org_id: int | None, lines: Iterable[str]) -> str:
    """Write one table of an organisations file; None: the default's."""
    head = "[default]" if org_id is None else f"[organisation.{org_id}]"
    return "\n".join([head, *lines, ""])


def _action_id(document: dict[str, Any]) -> int:
    return int(document["actionId"])
