"""The topics: made where they are missing, refused where they cannot work together."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NotControllerError, UnknownTopicOrPartitionError

from streams.kafka.topics import (
    DEAD_LETTER_MAX_MESSAGE_BYTES,
    DEFAULT_MAX_MESSAGE_BYTES,
    TopicNames,
    TopicsUnfit,
    ensure_topics,
)
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics


def topic_names(prefix: str) -> TopicNames:
    return TopicNames(
        *(f"{prefix}-{name}" for name in ("actions", "statuses", "emails", "dlq", "changelog", "moved"))
    )


# -- what a cluster may answer ---------------------------------------------------------------------------


@dataclass
class FakeAdmin:
    """A cluster of which only its answers matter. Codes are Kafka's error codes."""

    counts: dict[str, int]
    creation_code: int = 0
    elsewhere: dict[str, int] = field(default_factory=dict)  # what another worker makes at the same moment
    config_code: int = 0
    made: dict[str, NewTopic] = field(default_factory=dict)

    async def describe_topics(self, topics: None) -> list[dict[str, Any]]:
        assert topics is None, "asked by name, a broker may make a topic with its own defaults"
        return [{"topic": name, "partitions": [{}] * count} for name, count in self.counts.items()]

    async def create_topics(self, topics: list[NewTopic]) -> Any:
        self.made = {topic.name: topic for topic in topics}
        self.counts |= self.elsewhere
        if not self.creation_code:
            self.counts |= {topic.name: topic.num_partitions for topic in topics}
        errors = [(topic.name, self.creation_code, "text") for topic in topics]
        return type("Response", (), {"topic_errors": errors})

    async def describe_configs(self, resources: list[ConfigResource]) -> list[Any]:
        entries = [("max.message.bytes", "1234", False, False, False)]
        found = [(self.config_code, "", 2, resource.name, entries) for resource in resources]
        return [type("Response", (), {"resources": found})]


async def ensured(admin: FakeAdmin, names: TopicNames, partitions: int = 4) -> Any:
    cluster: Any = admin
    return await ensure_topics(cluster, names, partitions=partitions, replication=1)


NAMES = topic_names("t")
ALREADY_EXISTS, NOT_CONTROLLER, TIMED_OUT, NO_REPLICAS, FORBIDDEN, UNKNOWN_TOPIC = 36, 41, 7, 38, 29, 3


async def test_missing_topics_get_the_count_of_those_that_exist() -> None:
    """Seven partitions of actions make everything seven, whatever the setting says."""
    admin = FakeAdmin({NAMES.actions: 7, "somebody else's": 3})
    found = await ensured(admin, NAMES)
    assert found.partitions == 7
    assert {name: topic.num_partitions for name, topic in admin.made.items()} == {
        name: 7 for name in NAMES.all if name != NAMES.actions
    }


async def test_nothing_is_made_where_all_exist() -> None:
    """Existing topics are used as they are."""
    admin = FakeAdmin(dict.fromkeys(NAMES.all, 2))
    assert (await ensured(admin, NAMES)).partitions == 2
    assert admin.made == {}


async def test_counts_that_differ_are_refused_before_anything_is_made() -> None:
    """Both topics and both counts are named, and nothing is left behind."""
    admin = FakeAdmin({NAMES.statuses: 3, NAMES.actions: 4})
    with pytest.raises(TopicsUnfit) as refused:
        await ensured(admin, NAMES)
    assert f"{NAMES.actions} has 4" in str(refused.value)
    assert f"{NAMES.statuses} has 3" in str(refused.value)
    assert admin.made == {}


async def test_another_worker_may_be_first() -> None:
    """A topic that exists by now is as good as made, and counts as it was made."""
    admin = FakeAdmin({}, ALREADY_EXISTS, elsewhere=dict.fromkeys(NAMES.all, 8))
    assert (await ensured(admin, NAMES)).partitions == 8


async def test_another_worker_s_count_is_checked_too() -> None:
    """Two workers with different settings at the same moment: refused, instead of taken for ours."""
    admin = FakeAdmin({}, elsewhere={NAMES.emails: 8})
    admin.create_topics = _others_stay(admin)  # type: ignore[method-assign]  # a cluster that keeps the other's
    with pytest.raises(TopicsUnfit, match="has 8"):
        await ensured(admin, NAMES)


def _others_stay(admin: FakeAdmin) -> Any:
    async def create_topics(topics: list[NewTopic]) -> Any:
        made = {topic.name: topic.num_partitions for topic in topics} | admin.elsewhere
        admin.counts |= made
        errors = [
            (topic.name, ALREADY_EXISTS if topic.name in admin.elsewhere else 0, "") for topic in topics
        ]
        return type("Response", (), {"topic_errors": errors})

    return create_topics


@pytest.mark.parametrize(
    ("code", "name"), [(NO_REPLICAS, "InvalidReplicationFactor"), (FORBIDDEN, "Authorization")]
)
async def test_a_refusal_is_named(code: int, name: str) -> None:
    """A cluster that does not make a topic stops the start, with the topic and the class of refusal."""
    with pytest.raises(TopicsUnfit, match=rf"{NAMES.actions} is missing.*{name}"):
        await ensured(FakeAdmin({}, code), NAMES)


@pytest.mark.parametrize("code", [NOT_CONTROLLER, TIMED_OUT])
async def test_a_cluster_that_is_not_settled_is_asked_again(code: int) -> None:
    """A refusal that passes is Kafka's own retriable error, on which the start waits."""
    with pytest.raises(Exception) as failed:  # noqa: PT011 - its class is looked at below
        await ensured(FakeAdmin({}, code), NAMES)
    assert not isinstance(failed.value, TopicsUnfit)
    assert getattr(failed.value, "retriable", False)
    if code == NOT_CONTROLLER:
        assert isinstance(failed.value, NotControllerError)


async def test_without_the_right_to_read_configurations_the_default_limit_is_taken() -> None:
    """What a topic takes is read from the cluster; where that is forbidden, a broker's default."""
    counts = dict.fromkeys(NAMES.all, 2)
    written = (NAMES.emails, NAMES.dead_letters, NAMES.rekeyed)
    assert (await ensured(FakeAdmin(counts), NAMES)).max_message_bytes == dict.fromkeys(written, 1234)
    forbidden = await ensured(FakeAdmin(counts, config_code=FORBIDDEN), NAMES)
    assert forbidden.max_message_bytes == dict.fromkeys(written, DEFAULT_MAX_MESSAGE_BYTES)


@pytest.mark.usefixtures("virtual_time")
async def test_a_topic_that_is_not_known_everywhere_yet_is_asked_for_again() -> None:
    """The default limit is not taken for a topic's own only because it was made a moment ago."""
    admin = FakeAdmin(dict.fromkeys(NAMES.all, 2), config_code=UNKNOWN_TOPIC)
    asking = asyncio.create_task(ensured(admin, NAMES))
    await asyncio.sleep(0.5)
    assert not asking.done()
    admin.config_code = 0
    assert (await asking).max_message_bytes[NAMES.emails] == 1234
    admin.config_code = UNKNOWN_TOPIC
    with pytest.raises(UnknownTopicOrPartitionError):
        await ensured(admin, NAMES)


# -- on a real Kafka -------------------------------------------------------------------------------------


async def settings_of(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    (response,) = await admin.describe_configs([resource])
    return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def partition_counts(admin: AIOKafkaAdminClient, names: TopicNames) -> dict[str, int]:
    described = await admin.describe_topics(None)
    return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["topic"] in names.all}


@pytest.mark.kafka
async def test_topics_are_made_with_what_they_need(
    admin: AIOKafkaAdminClient, unique_name: Callable[[str], str]
) -> None:
    """All exist then: tables compacted, dead letters larger and kept longer, marks kept for a week. Again
    changes nothing.
    """
    names = replace(topic_names(unique_name("t")), marks=unique_name("marks"))
    found = await ensure_topics(admin, names, partitions=3, replication=1)
    assert found.partitions == 3
    assert await partition_counts(admin, names) == dict.fromkeys(names.all, 3)
    policies = {name: (await settings_of(admin, name))["cleanup.policy"] for name in names.all}
    compacted = {name for name, policy in policies.items() if policy == "compact"}
    assert compacted == {names.statuses, names.changelog}
    letters = await settings_of(admin, names.dead_letters)
    assert letters["max.message.bytes"] == str(DEAD_LETTER_MAX_MESSAGE_BYTES)
    assert int(letters["retention.ms"]) == 30 * 86_400_000
    marks = await settings_of(admin, str(names.marks))
    assert (marks["cleanup.policy"], marks["retention.ms"]) == ("compact,delete", str(7 * 86_400_000))
    again = await ensure_topics(admin, names, partitions=5, replication=1)
    assert again.partitions == 3
    assert again.max_message_bytes == {
        names.emails: DEFAULT_MAX_MESSAGE_BYTES,
        names.dead_letters: DEAD_LETTER_MAX_MESSAGE_BYTES,
        names.rekeyed: DEAD_LETTER_MAX_MESSAGE_BYTES,
        names.marks: DEFAULT_MAX_MESSAGE_BYTES,
    }


@pytest.mark.kafka
async def test_existing_topics_decide_the_count_and_keep_their_settings(
    kafka: EmbeddedKafka, admin: AIOKafkaAdminClient, unique_name: Callable[[str], str]
) -> None:
    """Topics that an operator made stay as they are, and their own limits are the ones that count."""
    names = topic_names(unique_name("t"))
    await make_topics(kafka.bootstrap_servers, 2, names.actions)
    await make_topics(kafka.bootstrap_servers, 2, names.emails, max_message_bytes="5000000")
    found = await ensure_topics(admin, names, partitions=3, replication=1)
    assert await partition_counts(admin, names) == dict.fromkeys(names.all, 2)
    assert found.max_message_bytes[names.emails] == 5_000_000
