"""Consumer groups: ours, how far behind it is, and who reads the emails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from streams.commands.doctor.findings import Finding, note, ok, problem, seconds, warning
from streams.kafka.group import SESSION_TIMEOUTS, described, refused, stranger, timeouts_in
from streams.settings.invocation import invocation

CHECK = "consumers"
_MOST_GROUPS = 500
LATE, _VERY_LATE = 30.0, 300.0  # seconds that the oldest action without an outcome has waited


async def check_members(admin: AIOKafkaAdminClient, group: str, partitions: int) -> list[Finding]:
    """Is a worker running, and nobody else in its group?"""
    try:
        answer = await described(admin, group)
    except KafkaError as error:
        return [
            problem(
                CHECK,
                f"the brokers do not tell who is in group {group} ({type(error).__name__}): no worker can"
                " join it",
                "look at rights above; else at the brokers, and at their topic __consumer_offsets",
            )
        ]
    _, _, state, _, _, members, *_ = answer
    if (who := stranger(group, answer)) is not None:
        return [
            problem(
                CHECK,
                f"{who}: no worker can join it",
                "stop that client, or give it another group.id; workers go on by themselves",
            )
        ]
    if not members:
        return [
            problem(
                CHECK,
                f"group {group} has no members: no worker is running",
                f"start `{invocation()} worker`",
            )
        ]
    findings = [ok(CHECK, f"group {group} is {state}, with {len(members)} workers")]
    if state != "Stable":
        findings.append(note(CHECK, f"group {group} is rebalancing: look again in a few seconds"))
    if len(members) > partitions > 0:
        findings.append(
            note(CHECK, f"{len(members) - partitions} workers have nothing to do: one per partition")
        )
    return findings


async def check_session(admin: AIOKafkaAdminClient, group: str, session_timeout: float) -> list[Finding]:
    """May a worker join with its session time-out (seconds)? Says nothing where brokers do not tell."""
    try:
        coordinator = str(await admin.find_coordinator(group))
        asked = ConfigResource(ConfigResourceType.BROKER, coordinator, dict.fromkeys(SESSION_TIMEOUTS, ""))
        (response,) = await admin.describe_configs([asked])
        shortest, longest = timeouts_in(response)
    except KafkaError:
        return []
    if shortest <= session_timeout <= longest:
        return []
    return [
        problem(
            CHECK,
            f"{refused(session_timeout, (shortest, longest))}: no worker can join group {group}",
            "set one of them: a broker reads its own when it starts",
        )
    ]


def check_lag(
    topic: str,
    committed: Mapping[int, int | None],
    ends: Mapping[int, int],
    oldest: Mapping[int, int],
    now: float,
) -> list[Finding]:
    """Tell how far the group is behind. Pure.

    Args:
        topic: the input topic.
        committed: by partition; None: nothing.
        ends: by partition.
        oldest: by partition, the timestamp in milliseconds of the first record at or after the committed one.
        now: seconds since the epoch.
    """
    nothing = [number for number, offset in committed.items() if offset is None]
    if len(nothing) == len(committed):
        if any(ends.values()):
            return [
                problem(
                    CHECK,
                    f"the group has committed nothing for {topic}, which has records: no worker begins",
                    "decide: ACTIONS_START=earliest mails them, latest does not",
                )
            ]
        return [note(CHECK, f"the group has committed nothing for {topic}, which is empty")]
    findings = []
    total = 0
    for number, end in sorted(ends.items()):
        lag = end - (committed.get(number) or 0)
        total += lag
        age = now - oldest[number] / 1000 if number in oldest else 0.0
        if lag and age > LATE:
            level = problem if age > _VERY_LATE else warning
            findings.append(
                level(
                    CHECK,
                    f"{topic}/{number}: {lag:,} offsets behind; the oldest record without outcome has waited"
                    f" {seconds(age)}",
                    "look at /readyz and the log of its worker; is one running, and is Kafka writable?",
                )
            )
    listed = ", ".join(
        f"{number}: {end - (committed.get(number) or 0):,}" for number, end in sorted(ends.items())
    )
    return findings or [ok(CHECK, f"{topic}: {total:,} offsets behind (by partition {listed})")]


def check_lost(topic_partition: TopicPartition, lost: int) -> list[Finding]:
    """Tell of `lost` offsets that were deleted before a worker read them. Pure."""
    if not lost:
        return []
    topic, partition = topic_partition
    return [
        problem(
            CHECK,
            f"{topic}/{partition}: up to {lost:,} records were deleted before a worker read them: nobody can"
            " mail them any more",
            "make the topic's retention longer than any outage; the worker goes on with what is left",
        )
    ]


async def readers_of(admin: AIOKafkaAdminClient, topic: str) -> list[str] | None:
    """Return the groups with committed offsets in `topic`; None if we may not know. Raises KafkaError."""
    groups: Iterable[Any] = await admin.list_consumer_groups()
    readers = []
    for name, *_ in sorted(groups)[:_MOST_GROUPS]:
        try:
            offsets = await admin.list_consumer_group_offsets(name)
        except (KafkaError, AttributeError):  # a group that we may not see
            continue
        if any(place.topic == topic for place in offsets):
            readers.append(name)
    return readers


def check_readers(topic: str, readers: list[str]) -> list[Finding]:
    """Conclude. A reader's isolation level is its own affair: no broker knows it. Pure."""
    if not readers:
        return [
            note(
                CHECK,
                f"no group has committed offsets for {topic}: is there a mailer?",
                "it may keep its offsets elsewhere",
            )
        ]
    return [
        note(
            CHECK,
            f"{topic} is read by {', '.join(readers)}; no broker knows whether with read_committed",
            "look for isolation.level in their configuration: without it they mail aborted records, too",
        )
    ]
