"""All workers of the group, each asked for its page's document: for ``streams top`` and for a worker's page.

Only members of the consumer group are asked, at the address that each of them published there; no request
names an address. All are asked at once, and each within :data:`ASK_WITHIN`. A worker asks only while somebody
looks at its page, and at most once in :data:`EVERY`, however many look.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from aiokafka.errors import KafkaError

from streams.kafka.members import Group, Member, group_of
from streams.kafka.topics import administering
from streams.lookup.dns import Resolver
from streams.observability.worker_summary import Figures, WorkerSummary, summary_of, totals_of

#: Of a worker's /live: the organisation whose lookup its document lists first.
ORGANISATION = "organisation"
#: Seconds between two rounds.
EVERY = 2.0
#: Seconds that a worker has for its whole answer.
ASK_WITHIN = 1.0
#: Seconds that the group's coordinator has to say who is in it.
KAFKA_WITHIN = 5.0
#: Bytes of a worker's answer at most. Ten minutes of history and full tables are some 100 KiB.
MOST_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class GroupView:
    """All workers at one moment.

    Attributes:
        group: its name.
        time: seconds since the epoch.
        state: as Kafka calls it; None: Kafka does not answer, and the members are those known last.
        problem: of the group as a whole, a sentence; None: none.
        totals: of the workers that answer.
        workers: those in trouble first.
    """

    group: str
    time: float
    state: str | None
    problem: str | None
    totals: Figures
    workers: Sequence[WorkerSummary]

    @property
    def ready(self) -> int:
        """How many are ready."""
        return sum(each.ready is True for each in self.workers)

    @property
    def silent(self) -> int:
        """How many did not answer."""
        return sum(each.ready is None for each in self.workers)

    def document(self) -> dict[str, Any]:
        """Return the view for JSON; schemas/commands/top.json says how it looks."""
        moment = datetime.fromtimestamp(self.time, UTC)
        return {
            "group": self.group,
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "state": self.state,
            "problem": self.problem,
            "totals": {
                "workers": len(self.workers),
                "ready": self.ready,
                "silent": self.silent,
                **asdict(self.totals),
            },
            "workers": [_document(each) for each in self.workers],
        }


def _document(worker: WorkerSummary) -> dict[str, Any]:
    # Its lookups one by one are what `streams breaker` prints.
    return {name: each for name, each in asdict(worker).items() if name not in ("lookups", "lookups_more")}


class GroupOverview:
    """Finds the members of a group, and asks them."""

    def __init__(
        self,
        group: str,
        connection: Mapping[str, Any],
        *,
        organisation: int | None = None,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet.

        Args:
            group: its name.
            connection: what every Kafka client is given.
            organisation: whose lookup each worker is asked about; None: about those that are down.
            now: gives seconds since the epoch.
            clock: gives monotonic seconds.
        """
        self._group = group
        self._connection = connection
        self._path = "/live" if organisation is None else f"/live?{ORGANISATION}={organisation}"
        self._now = now
        self._clock = clock
        self._known = Group("", None, ())  # what the coordinator said last
        self._round: asyncio.Task[GroupView] | None = None
        self._until = 0.0  # when the next round may begin

    async def find(self) -> None:
        """Ask the group's coordinator for its members.

        Raises:
            KafkaError, TimeoutError: it does not answer.
        """
        async with asyncio.timeout(KAFKA_WITHIN), administering(self._connection) as admin:
            found = await group_of(admin, self._group)
        published = {each.id: each.published for each in self._known.members}
        members = [
            each if each.told else Member(each.id, published.get(each.id), told=False)
            for each in found.members
        ]
        self._known = Group(found.state, found.stranger, members)

    async def look(self) -> GroupView:
        """Find the members and ask them all; where Kafka does not answer, those that were there last."""
        try:
            await self.find()
        except (KafkaError, OSError, TimeoutError) as exc:
            return await self.ask(f"Kafka does not answer ({type(exc).__name__}): no newer workers are known")
        return await self.ask()

    async def ask(self, kafka_fault: str | None = None) -> GroupView:
        """Ask the members known now; `kafka_fault` says why they may be others by now."""
        members = () if self._known.stranger else self._known.members
        connector = aiohttp.TCPConnector(limit=0, resolver=Resolver(), force_close=True)
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity"},
        ) as session:
            workers = await asyncio.gather(*(_ask(session, member, self._path) for member in members))
        return GroupView(
            self._group,
            self._now(),
            None if kafka_fault else self._known.state,
            kafka_fault or self._problem(),
            totals_of([each for each in workers if each.ready is not None]),
            sorted(workers, key=_order),
        )

    async def latest(self) -> GroupView:
        """Return the view of this moment, one for all who ask."""
        now = self._clock()
        if self._round is None or (self._round.done() and now >= self._until):
            self._until = now + EVERY
            self._round = asyncio.create_task(self.look(), name="group-overview")
        return await asyncio.shield(self._round)  # who goes away leaves it to the others

    def _problem(self) -> str | None:
        if self._known.stranger:
            return self._known.stranger
        if not self._known.members:
            return f"group {self._group} has no members: no worker is running"
        return None if self._known.state == "Stable" else "the group is rebalancing"


async def _ask(session: aiohttp.ClientSession, member: Member, path: str) -> WorkerSummary:
    """Ask one member; whatever comes back is a line."""
    published = member.published
    if published is None:
        why = "it publishes no address, as older versions do" if member.told else "the group is rebalancing"
        return WorkerSummary(worker=None, address=None, problem=f"cannot be asked: {why}")
    try:
        async with asyncio.timeout(ASK_WITHIN):
            document = orjson.loads(await _body(session, f"http://{published.address}{path}"))
        if document.get("run") != published.run:
            raise _Silent("another process answers at its address")
        return summary_of(document, published.address)
    except _Silent as exc:
        why = str(exc)
    except TimeoutError:
        why = f"does not answer within {ASK_WITHIN:g} s"
    except aiohttp.ClientConnectorDNSError:
        why = "does not answer: its host name is not known here"
    except (aiohttp.ClientError, OSError) as exc:
        number = exc.errno if isinstance(exc, OSError) else None
        why = f"does not answer: {os.strerror(number) if number else type(exc).__name__}"
    except Exception as exc:  # a stranger at that address may send anything
        why = f"its answer cannot be read ({type(exc).__name__})"
    return WorkerSummary(worker=published.worker, address=published.address, problem=why)


class _Silent(Exception):
    """A worker has not answered. The text says why."""


async def _body(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url, allow_redirects=False) as response:
        if response.status != 200:
            raise _Silent(f"answers with status {response.status}")
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > MOST_BYTES:
                raise _Silent(f"its answer has more than {MOST_BYTES >> 10} KiB")
        return bytes(body)


def _order(worker: WorkerSummary) -> tuple[bool, list[tuple[int, str]]]:
    """Those in trouble first; then by name, and worker-2 before worker-10."""
    parts = re.findall(r"\d+|\D+", f"{worker.worker or ''} {worker.address or ''}")
    return worker.problem is None, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
