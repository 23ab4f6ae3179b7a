"""Fetches that a broker refuses because a partition is not there, or not as the client thinks.

A topic that was deleted, and one that was made again, begin with such an answer; so does a partition that has
another leader, or whose log was cut. aiokafka goes on by itself: it reads the metadata, and the new log from
the old offset on. Whoever owns the partition is told first, before the next fetch of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    NotLeaderForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.fetch import FetchRequest

_CODES = frozenset(
    error.errno for error in (NotLeaderForPartitionError, OffsetOutOfRangeError, UnknownTopicOrPartitionError)
)


def note_interruptions(client: Any, interrupted: Callable[[TopicPartition], None]) -> None:
    """Make an aiokafka `client` tell of each partition whose fetch was refused in this way."""
    send = client.send

    async def send_noting(node_id: int, request: Any, **options: Any) -> Any:
        response = await send(node_id, request, **options)
        if request.API_KEY == FetchRequest.API_KEY:
            for topic, partitions in response.topics:
                for number, code, *_ in partitions:
                    if code in _CODES:
                        interrupted(TopicPartition(topic, number))
        return response

    client.send = send_noting
