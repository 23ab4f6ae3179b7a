"""The topics: made where they are missing, refused where they cannot work together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from streams.settings.table import Settings

log = logging.getLogger(__name__)

#: Bytes: what a broker takes by default for ``max.message.bytes``.
DEFAULT_MAX_MESSAGE_BYTES = 1_048_588

#: The Faust table of statuses.
TABLE = "supporter-status"

#: A dead letter is the original record with more headers: its topic takes more than the one it came from.
#: So does the internal topic of re-keyed actions.
DEAD_LETTER_MAX_MESSAGE_BYTES = 2 * DEFAULT_MAX_MESSAGE_BYTES
_LIMIT, _POLICY = "max.message.bytes", "cleanup.policy"
#: Seconds between two looks at a topic that was just made.
_SETTLING = (0.1,) * 20
_DENIED = (ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
_DAY = 24 * 3600 * 1000  # milliseconds


class TopicsUnfit(Exception):
    """The topics that exist cannot be joined, or missing ones cannot be made. The text says which and why."""


@dataclass(frozen=True, slots=True)
class TopicNames:
    """What the topics are called."""

    actions: str
    statuses: str
    emails: str
    dead_letters: str
    changelog: str
    rekeyed: str
    marks: str | None = None  # of letters; None where duplicates get letters, too

    @classmethod
    def of(cls, settings: Settings) -> TopicNames:
        """Return what the settings call them; the last three are internal, and named after the group."""
        return cls(
            settings.actions_topic,
            settings.status_topic,
            settings.emails_topic,
            settings.dead_letters_topic,
            changelog=f"{settings.group_id}-{TABLE}-changelog",  # as Faust names it
            rekeyed=f"{settings.group_id}-rekeyed-actions",
            marks=marks_topic(settings.group_id) if settings.duplicate_window else None,
        )

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic that must be there."""
        return (
            self.actions,
            self.statuses,
            self.emails,
            self.dead_letters,
            self.changelog,
            self.rekeyed,
            *self._marks,
        )

    @property
    def written(self) -> tuple[str, ...]:
        """The topics that lanes write to."""
        return self.emails, self.dead_letters, self.rekeyed, *self._marks

    @property
    def _marks(self) -> tuple[str, ...]:
        return () if self.marks is None else (self.marks,)


def marks_topic(group: str) -> str:
    """Return the topic of the marks of letters of a group, whether it has one or not."""
    return f"{group}-letter-marks"


@dataclass(frozen=True, slots=True)
class Topics:
    """What was found."""

    partitions: int  # of every topic
    max_message_bytes: dict[str, int]  # by topic that is written to
    compacted: frozenset[str] = frozenset()  # of those: such a topic refuses records without a key
    guessed: frozenset[str] = frozenset()  # of those: the cluster does not tell us its configuration


async def ensure_topics(
    admin: AIOKafkaAdminClient, names: TopicNames, *, partitions: int, replication: int
) -> Topics:
    """Make the topics that are missing, and check that all have one partition count.

    The join needs an action and its status in partitions of the same number, and an email goes into the
    partition of its action. New topics take the count of those that exist, else `partitions`.

    Raises:
        TopicsUnfit: the counts differ, or the cluster refuses to make a topic.
        KafkaError: the cluster cannot be asked.
    """
    counts = await _partition_counts(admin, names)
    _check_counts(counts, names)
    missing = [name for name in names.all if name not in counts]
    count = next(iter(counts.values()), partitions)
    if missing:
        log.info(
            "making topics with %d partitions: %s",
            count,
            ", ".join(missing),
            extra={"event": "topics_made"},
        )
        await _make(admin, [_new(name, names, count, replication) for name in missing])
    for pause in _SETTLING:
        try:
            return await _found(admin, names)
        except UnknownTopicOrPartitionError:
            await asyncio.sleep(pause)
    return await _found(admin, names)


async def _found(admin: AIOKafkaAdminClient, names: TopicNames) -> Topics:
    """Look at what there is in the end: another worker may have made some, set to another count.

    Raises:
        UnknownTopicOrPartitionError: a topic that was made a moment ago is not known everywhere yet.
    """
    counts = await _partition_counts(admin, names)
    for name in names.all:
        if name not in counts:
            raise UnknownTopicOrPartitionError(name)
    _check_counts(counts, names)
    configs, guessed = await _configs(admin, names.written)
    compacted = frozenset(name for name, config in configs.items() if "compact" in config[_POLICY])
    if names.dead_letters in compacted:
        log.warning(
            "topic %s is compacted: of dead letters with the same key, only the last is kept",
            names.dead_letters,
            extra={"event": "dead_letters_compacted", "topic": names.dead_letters},
        )
    return Topics(
        counts[names.actions],
        {name: int(config[_LIMIT]) for name, config in configs.items()},
        compacted,
        guessed,
    )


@asynccontextmanager
async def administering(connection: Mapping[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    """Give an admin client, which is closed in the end; raises KafkaError."""
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def limits_of(connection: Mapping[str, Any], names: TopicNames) -> dict[str, int]:
    """Return ``max.message.bytes`` of the topics that are written to, without those that are not there.

    Raises:
        KafkaError: the cluster cannot be asked.
    """
    async with administering(connection) as admin:
        there = await _partition_counts(admin, names)
        configs, _ = await _configs(admin, [name for name in names.written if name in there])
    return {name: int(config[_LIMIT]) for name, config in configs.items()}


def _check_counts(counts: dict[str, int], names: TopicNames) -> None:
    if len(set(counts.values())) < 2:
        return
    reference = names.actions if names.actions in counts else next(iter(counts))
    for name, count in counts.items():
        if count != counts[reference]:
            raise TopicsUnfit(
                f"topic {reference} has {counts[reference]} partitions and topic {name} has {count}: they"
                " must have the same number, since an action meets its status, and is written, by partition"
            )


def _new(name: str, names: TopicNames, partitions: int, replication: int) -> NewTopic:
    configs: dict[str, str] = {}
    if name in (names.statuses, names.changelog):
        configs["cleanup.policy"] = "compact"
    if name in (names.dead_letters, names.rekeyed):
        configs["max.message.bytes"] = str(DEAD_LETTER_MAX_MESSAGE_BYTES)
    if name == names.dead_letters:
        configs["retention.ms"] = str(30 * _DAY)
    if name == names.marks:
        configs |= {"cleanup.policy": "compact,delete", "retention.ms": str(7 * _DAY)}
    return NewTopic(name, partitions, replication, topic_configs=configs)


async def _make(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    response: Any = await admin.create_topics(topics)
    for name, code, *_ in response.topic_errors:
        error = for_code(code)
        if error.retriable:
            raise error(name)  # a cluster that is not settled yet: try again
        # Another worker that starts at the same moment may have been first.
        if error not in (NoError, TopicAlreadyExistsError):
            advice = "; `streams acls --make-topics` prints what that takes" if error in _DENIED else ""
            raise TopicsUnfit(
                f"topic {name} is missing and the cluster does not make it: {error.__name__}{advice}"
            )


async def _partition_counts(admin: AIOKafkaAdminClient, names: TopicNames) -> dict[str, int]:
    # Asked by name, a cluster with auto.create.topics.enable would make them, with its own defaults.
    described = await admin.describe_topics(None)
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["topic"] in names.all}


async def _configs(
    admin: AIOKafkaAdminClient, topics: Sequence[str]
) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
    """Return the configurations of topics, and of which of them they are guessed.

    Without the right to read a configuration: what a broker has by default.
    """
    configs = {name: {_LIMIT: str(DEFAULT_MAX_MESSAGE_BYTES), _POLICY: "delete"} for name in topics}
    guessed = set(configs)
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, {_LIMIT: "", _POLICY: ""}) for name in configs
    ]
    for response in await admin.describe_configs(resources):
        for code, _, _, name, entries in response.resources:
            error = for_code(code)
            if error is NoError:
                configs[name].update((entry[0], entry[1]) for entry in entries if entry[0] in configs[name])
                guessed.discard(name)
            elif error.retriable:
                raise error(name)
    return configs, frozenset(guessed)
