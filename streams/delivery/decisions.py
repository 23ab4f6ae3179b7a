"""A person's decisions about a partition: offsets that the worker's own group commits.

Commands write them and workers read them, so they need the group's rights, survive a restart and need none.
Where a partition goes on is its committed offset itself (:mod:`streams.delivery.starting`). Up to where its
dead letters are accepted stands in the metadata of the offset that the group commits for their own topic,
in the partition of the same number; no member of the group reads that topic. Nobody has to take a decision
back: it is about offsets that the partition passes.
"""

from __future__ import annotations

import json

from aiokafka import TopicPartition

from streams.delivery.transaction import Position


def accepted_in(position: Position) -> dict[str, int]:
    """Read what is accepted in the partitions of one number.

    Returns:
        By topic, the offset before which dead letters are accepted; empty where nothing readable is there.
    """
    try:
        found = json.loads(position.metadata or "{}")
    except ValueError:
        return {}
    before = found.get("accepted_before") if isinstance(found, dict) else None
    if not isinstance(before, dict):
        return {}
    return {topic: offset for topic, offset in before.items() if type(offset) is int}


def with_accepted(position: Position, topic: str, before: int) -> str:
    """Return the metadata in which also the dead letters of `topic` `before` an offset are accepted."""
    return json.dumps({"accepted_before": {**accepted_in(position), topic: before}}, separators=(",", ":"))


def acceptance_id(group: str, topic_partition: TopicPartition) -> str:
    """Return the transactional.id that commits what is accepted. The lane has another one, and is open."""
    topic, partition = topic_partition
    return f"{group}-{topic}-{partition}-accept"
