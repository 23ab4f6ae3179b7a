"""What the settings say of one installation, and how its topics are laid out and configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.kafka.topics import TopicNames
from streams.settings.connection import client_options
from streams.settings.table import Settings


@dataclass(frozen=True, slots=True)
class Installation:
    """What every command needs that looks at a live installation."""

    group: str
    names: TopicNames
    connection: dict[str, Any]  # what every Kafka client needs
    transaction_timeout: float  # seconds


def installation_of(settings: Settings) -> Installation:
    """Return the installation that a worker with these settings belongs to."""
    return Installation(
        settings.group_id,
        TopicNames.of(settings),
        client_options(settings),
        settings.transaction_timeout,
    )


class TopicMissing(Exception):
    """A topic that is to be read or written does not exist. The text names it."""


@dataclass(frozen=True, slots=True)
class Described:
    """How the topics that exist are laid out and, as far as one may see it, configured."""

    partitions: Mapping[str, int]
    replicas: Mapping[str, int]  # the fewest of any partition
    configs: Mapping[str, Mapping[str, str]]

    def config(self, topic: str, name: str, otherwise: str) -> str:
        """Return a topic's setting; `otherwise` where it cannot be seen."""
        return self.configs.get(topic, {}).get(name, otherwise)

    def require(self, *topics: str) -> None:
        """Raise TopicMissing unless all of them exist."""
        for topic in topics:
            if topic not in self.partitions:
                raise TopicMissing(f"there is no topic {topic}: the worker creates it when it starts")


async def describe(installation: Installation) -> Described:
    """Look at the installation's topics.

    Raises:
        KafkaError: the cluster cannot be asked.
    """
    admin = AIOKafkaAdminClient(**installation.connection)
    await admin.start()
    try:
        # Not asked by name: where the cluster makes topics on demand, that would make them.
        found = [
            each for each in await admin.describe_topics(None) if each["topic"] in installation.names.all
        ]
        configs: dict[str, dict[str, str]] = {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, each["topic"]) for each in found]
        for response in await admin.describe_configs(resources) if resources else ():
            for _, _, _, name, entries in response.resources:
                configs[name] = {entry[0]: entry[1] for entry in entries}
    finally:
        await admin.close()
    return Described(
        {each["topic"]: len(each["partitions"]) for each in found},
        {each["topic"]: min(len(one["replicas"]) for one in each["partitions"]) for each in found},
        configs,
    )
