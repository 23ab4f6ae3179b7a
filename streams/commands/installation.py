"""What the settings say of one installation, and how its topics are laid out and configured."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from streams.commands.command_line import NoAnswer, WrongUse, settings_in_force
from streams.delivery.offsets import Offsets
from streams.delivery.starting import StartingPositions
from streams.kafka import authorization
from streams.kafka.acls import Acl
from streams.kafka.connection_check import no_access
from streams.kafka.topic_ids import topic_id_of
from streams.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES, TopicNames, administering, marks_topic
from streams.settings.connection import client_options
from streams.settings.table import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Installation:
    """What every command needs that looks at a live installation."""

    group: str
    names: TopicNames
    connection: dict[str, Any]  # what every Kafka client needs
    transaction_timeout: float  # seconds
    repeats_at: str | None = None  # a stage at which repeat signers get an email, too


def installation_of(settings: Settings) -> Installation:
    """Return the installation that a worker with these settings belongs to."""
    return Installation(
        settings.group_id,
        TopicNames.of(settings),
        client_options(settings),
        settings.transaction_timeout,
        settings.confirm_repeats_at,
    )


@asynccontextmanager
async def group_offsets(installation: Installation, group: str | None = None) -> AsyncIterator[Offsets]:
    """Connect to the offsets of `group`; None: the worker's. Raises KafkaError."""
    offsets = Offsets(group or installation.group, installation.connection)
    try:
        await offsets.start()
        yield offsets
    finally:
        await offsets.stop()


def starting_positions(installation: Installation, offsets: Offsets) -> StartingPositions:
    """Return what tells where the worker's partitions begin."""
    names = installation.names
    return StartingPositions(offsets, (names.actions, names.rekeyed), names.emails, topic_id_of)


class NotAnswered(Exception):
    """A command cannot do its work. The text is one sentence for a person."""


class TopicMissing(NotAnswered):
    """A topic that is to be read or written does not exist. The text names it."""


class PartitionMissing(Exception):
    """A partition that was asked for does not exist. The text names it, and those that do."""


@dataclass(frozen=True, slots=True)
class Described:
    """How the topics that exist are laid out and, as far as one may see it, configured."""

    partitions: Mapping[str, int]
    replicas: Mapping[str, int]  # the fewest of any partition
    in_sync: Mapping[str, int]  # replicas that are, the fewest of any partition
    configs: Mapping[str, Mapping[str, str]]

    def config(self, topic: str, name: str, otherwise: str) -> str:
        """Return a topic's setting; `otherwise` where it cannot be seen."""
        return self.configs.get(topic, {}).get(name, otherwise)

    def max_message_bytes(self, topic: str) -> int:
        """Return how many bytes a record of a topic may have; Kafka's default where it cannot be seen."""
        return int(self.config(topic, "max.message.bytes", str(DEFAULT_MAX_MESSAGE_BYTES)))

    def require(self, *topics: str) -> None:
        """Raise TopicMissing unless all of them exist."""
        for topic in topics:
            if topic not in self.partitions:
                raise TopicMissing(f"there is no topic {topic}: the worker creates it when it starts")

    def require_partitions(self, topic: str, partitions: Iterable[int]) -> None:
        """Raise PartitionMissing unless an existing topic has all of them."""
        count = self.partitions[topic]
        if missing := sorted(number for number in partitions if number >= count):
            raise PartitionMissing(f"topic {topic} has no partition {missing[0]}: it has 0 to {count - 1}")


async def describe(installation: Installation) -> Described:
    """Look at the installation's topics. Raises KafkaError."""
    # Marks that were kept once count in an audit of that time.
    topics = {*installation.names.all, marks_topic(installation.group)}
    return await describe_topics(installation.connection, topics)


async def describe_topics(connection: Mapping[str, Any], topics: Collection[str]) -> Described:
    """Look at those of `topics` that exist. Raises KafkaError."""
    async with administering(connection) as admin:
        # Not asked by name: where the cluster makes topics on demand, that would make them.
        found = [each for each in await admin.describe_topics(None) if each["topic"] in topics]
        configs: dict[str, dict[str, str]] = {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, each["topic"]) for each in found]
        for response in await admin.describe_configs(resources) if resources else ():
            for _, _, _, name, entries in response.resources:
                configs[name] = {entry[0]: entry[1] for entry in entries}
    return Described(
        {each["topic"]: len(each["partitions"]) for each in found},
        {each["topic"]: min(len(one["replicas"]) for one in each["partitions"]) for each in found},
        {each["topic"]: min(len(one["isr"]) for one in each["partitions"]) for each in found},
        configs,
    )


async def require_rights(installation: Installation, needed: Iterable[Acl]) -> None:
    """Find out whether the brokers allow all of these. A client of a refused transactional.id waits a minute.

    Raises:
        NotAnswered: they do not; the text names what is missing.
        KafkaError: the cluster cannot be asked.
    """
    async with administering(installation.connection) as admin:
        lacking = await authorization.missing(admin, needed)
    if lacking:
        raise NotAnswered(authorization.denied(lacking))


def answered(work: Coroutine[Any, Any, T]) -> T:
    """Run something that asks Kafka.

    Raises:
        NoAnswer: Kafka does not answer, a topic is missing, or a transaction failed.
        WrongUse: a partition that was asked for does not exist.
    """
    # Records come by the million, and none is part of a cycle: looking for one took a quarter of the time.
    gc.set_threshold(500_000)
    # The client logs each attempt to connect; the sentence below says the same once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # After a failure it also leaves futures behind that nobody asked for.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(work)
    except PartitionMissing as error:
        raise WrongUse(str(error)) from None
    except NotAnswered as error:
        raise NoAnswer(str(error)) from None
    except (KafkaError, OSError, TimeoutError) as error:
        why = asyncio.run(no_access(client_options(settings_in_force())))
        raise NoAnswer(why or f"Kafka does not answer ({type(error).__name__})") from None
