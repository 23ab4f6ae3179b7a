"""The ids of a real cluster and its topics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.kafka.topic_ids import ids_of

pytestmark = pytest.mark.kafka


async def test_a_topic_made_again_has_another_id(
    admin: AIOKafkaAdminClient, unique_name: Callable[[str], str]
) -> None:
    """The cluster's id stays; the topic's stays as long as the topic does."""
    topic, other = unique_name("t"), unique_name("t")
    await admin.create_topics([NewTopic(topic, 3, 1), NewTopic(other, 1, 1)])
    first = await ids_of(admin, topic)
    assert first == await ids_of(admin, topic)
    second = await ids_of(admin, other)
    assert len(first.topic) == 32
    assert first.cluster == second.cluster != ""
    assert first.topic != second.topic
