"""All checks of one installation, one after the other; none of them writes, unless the clock is probed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams.commands.dead_letters.letters import letter_of
from streams.commands.dead_letters.retry import retried_if_told
from streams.commands.doctor import batches, dead_letters, groups, keys, quotas, stores, transactions
from streams.commands.doctor.clock import check_clock, check_emails
from streams.commands.doctor.cluster import looked_at, tried
from streams.commands.doctor.findings import Finding, note, problem, wrong_organisations
from streams.commands.doctor.lookups import check_lookups
from streams.commands.installation import Described, Installation, group_offsets, starting_positions
from streams.commands.topic_reader import TopicReader, UnreadablePlace
from streams.delivery.decisions import accepted_in
from streams.delivery.offsets import Offsets
from streams.delivery.starting import OperatorNeeded
from streams.kafka.topic_ids import ids_of
from streams.kafka.topics import administering
from streams.settings.organisations import OrganisationsInForce
from streams.settings.organisations_file import OrganisationsError
from streams.settings.table import Settings
from streams.statuses.store_owner import StoreOwner

_PATIENCE = 10.0  # seconds for a sample


async def examine(
    installation: Installation,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    address: str | None = None,
    probe: bool = False,
    begins: Callable[[str], None] = lambda _check: None,
) -> tuple[list[Finding], bool]:
    """Look at everything; what cannot be looked at is a finding, not an exception.

    Returns what was found, and whether Kafka answers.

    Args:
        installation: whose Kafka and topics.
        settings: whose lookups.
        environ: for secrets that the organisations file names.
        address: asks every lookup about it; None: connects only.
        probe: compares clocks by writing to a topic that is made for it.
        begins: is told the name of each check when it begins.
    """
    findings, answers = await _kafka(installation, settings, probe, begins)
    begins("lookups")
    try:
        policies = OrganisationsInForce(settings, environ)
    except OrganisationsError as error:
        return [*findings, wrong_organisations(error)], answers
    return findings + await check_lookups(policies.organisations, address), answers


async def _kafka(
    installation: Installation, settings: Settings, probe: bool, begins: Callable[[str], None]
) -> tuple[list[Finding], bool]:
    async with looked_at(installation, settings.duplicate_window, begins) as cluster:
        findings, client, described = cluster
        if client is None or described is None:
            begins(stores.CHECK)
            return findings + await stores.check_stores(settings, None, None), client is not None
        looking = _Looking(installation, settings, described, client)
        for check, look in (
            ("keys", looking.keys),
            ("the consumer group", looking.group),
            ("consumers", looking.consumers),
            ("batches", looking.batches),
            ("dead letters", looking.dead_letters),
            ("transactions", looking.transactions),
            ("quotas", looking.quotas),
            (stores.CHECK, looking.stores),
        ):
            begins(check)
            findings += await tried(check, look())
        findings += await tried("clock", looking.clock())
        if probe:
            topic = f"{installation.group}-doctor-probe"
            findings += await tried("clock", check_clock(installation.connection, topic))
        else:
            findings.append(
                note("clock", "no response tells the broker's clock; --probe compares by a record")
            )
    return findings, True


class _Looking:
    """The checks that read topics and offsets."""

    def __init__(
        self, installation: Installation, settings: Settings, described: Described, client: AIOKafkaClient
    ) -> None:
        self._installation = installation
        self._names = installation.names
        self._described = described
        self._client = client
        self._settings = settings
        self._committed: dict[int, int | None] = {}  # of the actions, by partition
        self._waiting: set[int] = set()  # partitions whose next action has waited for long

    def _numbers(self, topic: str) -> list[int]:
        return list(range(self._described.partitions.get(topic, 0)))

    def _places(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in self._numbers(topic)]

    async def keys(self) -> list[Finding]:
        findings = []
        for topic, content in ((self._names.actions, keys.ACTIONS), (self._names.statuses, keys.STATUSES)):
            if not self._numbers(topic):
                continue
            partitions = len(self._numbers(topic))
            records = await self._newest(topic, keys.SAMPLE)
            seen = keys.sample(records, partitions, content)
            findings += keys.check_keys(topic, seen, partitions, time.time(), content)
        return findings

    async def _newest(self, topic: str, count: int) -> list[Any]:
        records: list[Any] = []
        async with self._reader(topic) as reader:
            ends = await reader.stable_ends(self._numbers(topic))
            first = await reader.first_offsets(ends)
            reader.begin(
                {number: range(max(first[number], end - count), end) for number, end in ends.items()}
            )
            until = time.monotonic() + _PATIENCE
            while not reader.done and time.monotonic() < until:
                for chunk in (await reader.chunk()).values():
                    records += chunk
        return records

    async def group(self) -> list[Finding]:
        group = self._installation.group
        async with administering(self._installation.connection) as admin:
            findings = await groups.check_members(admin, group, len(self._numbers(self._names.actions)))
            return findings + await groups.check_session(admin, group, self._settings.session_timeout)

    async def consumers(self) -> list[Finding]:
        actions, emails = self._names.actions, self._names.emails
        findings: list[Finding] = []
        undecided: set[TopicPartition] = set()
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(administering(self._installation.connection))
            offsets = await self._offsets(stack)
            if self._numbers(actions):
                starts, undecided = await self._starts(offsets)
                findings += starts
            for topic in (actions, self._names.rekeyed, self._names.statuses):
                if self._numbers(topic):
                    findings += await self._lag(topic, offsets, undecided)
            if self._numbers(emails):
                findings += groups.check_readers(emails, await groups.readers_of(admin, emails) or [])
        return findings

    async def _lag(self, topic: str, offsets: Offsets, undecided: set[TopicPartition]) -> list[Finding]:
        positions = await offsets.all_committed(self._places(topic))
        committed = {place.partition: position.offset for place, position in positions.items()}
        if topic != self._names.actions:  # of the others some partitions never had a record
            committed = {number: offset for number, offset in committed.items() if offset is not None}
        async with self._reader(topic) as reader:
            ends = await reader.stable_ends(self._numbers(topic))
            committed = {
                number: offset
                for number, offset in committed.items()
                if (offset or 0) <= ends[number] and TopicPartition(topic, number) not in undecided
            }
            ends = {number: end for number, end in ends.items() if number in committed}
            waiting = {
                number: range(offset, ends[number])
                for number, offset in committed.items()
                if offset is not None and offset < ends[number]
            }
            oldest = await reader.first_timestamps(waiting, _PATIENCE)
        for number in waiting.keys() - oldest.keys():
            ends[number] = waiting[number].start  # a transaction's end marker keeps nobody waiting
        if topic == self._names.actions:
            self._committed = committed
            self._waiting = {number for number, at in oldest.items() if time.time() - at / 1000 > groups.LATE}
        return groups.check_lag(topic, committed, ends, oldest, time.time()) if committed else []

    async def _starts(self, offsets: Offsets) -> tuple[list[Finding], set[TopicPartition]]:
        """Tell what a worker would not, or not wholly, go on with; and what waits for a decision."""
        starting = starting_positions(self._installation, offsets)
        findings, undecided = [], set()
        for topic in (self._names.actions, self._names.rekeyed):
            positions = await offsets.all_committed(self._places(topic))
            for place, position in positions.items():
                try:
                    start = await starting.start(place, position, len(positions))
                except OperatorNeeded as needed:
                    undecided.add(place)
                    findings.append(
                        problem(groups.CHECK, f"it waits for a decision: {needed.reason}", needed.remedy)
                    )
                else:
                    findings += groups.check_lost(place, start.lost)
        return findings, undecided

    async def dead_letters(self) -> list[Finding]:
        """Look at the newest dead letters; after `consumers`, which knows what waits."""
        topic = self._names.dead_letters
        if not self._numbers(topic):
            return []
        found = [letter_of(record) for record in await self._newest(topic, dead_letters.SAMPLE)]
        findings: list[Finding] = []
        retried, _ = await retried_if_told(self._installation, found)
        async with AsyncExitStack() as stack:
            offsets = await self._offsets(stack)
            decided = await self._accepted(offsets)
            known = retried | dead_letters.accepted_among(found, decided)
            findings += dead_letters.check_waiting(found, time.time(), known)
            for name, accepted in decided.items():
                if name == self._names.statuses:
                    continue  # no lane reads it: nothing stops there
                positions = await offsets.all_committed(self._places(name))
                committed = {place.partition: position.offset for place, position in positions.items()}
                findings += dead_letters.check_accepted(name, committed, accepted)
                if name == self._names.actions:
                    findings += dead_letters.check_limit(
                        name,
                        found,
                        self._committed,
                        self._waiting,
                        self._settings.dead_letter_ceiling,
                        accepted,
                    )
        return findings

    async def batches(self) -> list[Finding]:
        """Read what the workers read next."""
        found: list[UnreadablePlace] = []
        async with AsyncExitStack() as stack:
            offsets = await self._offsets(stack)
            accepted = await self._accepted(offsets)
            accepted.pop(self._names.statuses, None)  # no lane reads it: nothing stops there
            for topic in accepted:
                reader = await stack.enter_async_context(
                    TopicReader(topic, self._installation.connection, found.append)
                )
                ends = await reader.stable_ends(self._numbers(topic))
                positions = await offsets.all_committed(self._places(topic))
                next_ones = {
                    place.partition: range(position.offset, ends[place.partition])
                    for place, position in positions.items()
                    if position.offset is not None and position.offset < ends[place.partition]
                }
                await reader.first_timestamps(next_ones, _PATIENCE)
        return batches.check_batches(found, accepted)

    async def _accepted(self, offsets: Offsets) -> dict[str, dict[int, int]]:
        """By topic and partition, the offset before which a person accepts dead letters."""
        names = self._names
        inputs = [each for each in (names.actions, names.rekeyed, names.statuses) if self._numbers(each)]
        places = self._places(self._names.dead_letters)
        kept = await offsets.all_committed(places) if places else {}
        decided = {place.partition: accepted_in(position) for place, position in kept.items()}
        return {
            name: {number: before[name] for number, before in decided.items() if name in before}
            for name in inputs
        }

    async def quotas(self) -> list[Finding]:
        """Look at client quotas; after `consumers`, which knows what waits."""
        try:
            found = await quotas.quotas_of(self._client)
        except (KafkaError, NotImplementedError) as error:
            return [note(quotas.CHECK, f"cannot be seen ({type(error).__name__})", "allow DescribeConfigs")]
        return quotas.check_quotas(found, self._settings.kafka_sasl_user, late=bool(self._waiting))

    async def clock(self) -> list[Finding]:
        emails = self._names.emails
        return check_emails(await self._newest(emails, 1)) if self._numbers(emails) else []

    async def stores(self) -> list[Finding]:
        """Look at the stores on this machine, and compare them with the changelog if there is one."""
        changelog = self._names.changelog
        there = self._numbers(changelog)
        if not there:
            return await stores.check_stores(self._settings, None, None)
        async with AsyncExitStack() as stack:
            admin = await stack.enter_async_context(administering(self._installation.connection))
            offsets = await self._offsets(stack)
            owner = StoreOwner(self._installation.group, changelog, *await ids_of(admin, changelog))

            async def ends(partitions: list[int]) -> dict[int, int]:
                places = [TopicPartition(changelog, number) for number in partitions if number in there]
                found = await offsets.extents(places)
                return {place.partition: extent.end for place, extent in found.items()}

            return await stores.check_stores(self._settings, owner, ends)

    async def transactions(self) -> list[Finding]:
        topics = [topic for topic in self._names.all if self._numbers(topic)]
        findings = transactions.check_open(
            await transactions.open_transactions(self._client, topics), time.time()
        )
        for topic in (self._names.emails, self._names.actions):
            if not self._numbers(topic):
                continue
            async with AsyncExitStack() as stack:
                reader = await stack.enter_async_context(self._reader(topic))
                offsets = await self._offsets(stack)

                async def ends(offsets: Offsets = offsets, topic: str = topic) -> dict[int, int]:
                    found = await offsets.extents(self._places(topic))
                    return {place.partition: extent.end for place, extent in found.items()}

                async def stable(reader: TopicReader = reader, topic: str = topic) -> dict[int, int]:
                    return await reader.stable_ends(self._numbers(topic))

                findings += await transactions.check_stable_ends(topic, stable, ends)
        return findings

    def _reader(self, topic: str) -> TopicReader:
        # Those that matter are found by `batches`.
        return TopicReader(topic, self._installation.connection, lambda _: None)

    async def _offsets(self, stack: AsyncExitStack) -> Offsets:
        return await stack.enter_async_context(group_offsets(self._installation))
