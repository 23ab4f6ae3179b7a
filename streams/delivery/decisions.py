"""A person's decisions about a partition: offsets that the worker's own group commits.

Commands write them and workers read them, so they need the group's rights, survive a restart and need none.
Where a partition goes on is its committed offset itself (:mod:`streams.delivery.starting`). Up to where its
dead letters are accepted stands in the metadata of the offset that the group commits for their own topic,
in the partition of the same number; no member of the group reads that topic. Nobody has to take a decision
back: it is about offsets that the partition passes. Whose lookup is tried again stands beside it, in
partition 0 for all workers, and holds for minutes.
"""

from __future__ import annotations

import json
from typing import Any

from aiokafka import TopicPartition

from streams.delivery.transaction import Position

_NAMES = ("accepted_before", "lookups_retried")
_EVERY = "every"  # organisation
#: Of earlier retries that stay: each is some 40 bytes of the metadata's 4,096.
_MOST_RETRIES = 20


def accepted_in(position: Position) -> dict[str, int]:
    """Read what is accepted in the partitions of one number.

    Returns:
        By topic, the offset before which dead letters are accepted; empty where nothing readable is there.
    """
    before = _document(position).get("accepted_before")
    if not isinstance(before, dict):
        return {}
    return {topic: offset for topic, offset in before.items() if type(offset) is int}


def with_accepted(position: Position, topic: str, before: int) -> str:
    """Return the metadata in which also the dead letters of `topic` `before` an offset are accepted."""
    return _with(position, "accepted_before", {**accepted_in(position), topic: before})


def retries_in(position: Position) -> dict[int | None, int]:
    """Read whose lookups a person wants tried again at once.

    Returns:
        By organisation (None: every one), when that was decided, in milliseconds since the epoch; empty
        where nothing readable is there.
    """
    found = _document(position).get("lookups_retried")
    if not isinstance(found, dict):
        return {}
    return {
        None if whose == _EVERY else int(whose): at
        for whose, at in found.items()
        if type(at) is int and (whose == _EVERY or (whose.isascii() and whose.isdigit()))
    }


def with_retry(position: Position, whose: int | None, at: int) -> str:
    """Return the metadata in which also this organisation's lookup is tried again; `whose` None: every one's.

    Of the earlier ones the latest stay, as many as fit. `at` is in milliseconds since the epoch.
    """
    others = {other: when for other, when in retries_in(position).items() if other != whose}
    latest = sorted(others.items(), key=lambda each: each[1])[-_MOST_RETRIES:]
    names = {_EVERY if other is None else str(other): when for other, when in [*latest, (whose, at)]}
    return _with(position, "lookups_retried", names)


def _document(position: Position) -> dict[str, Any]:
    try:
        found = json.loads(position.metadata or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _with(position: Position, name: str, value: Any) -> str:
    """Return the metadata with another value under one name; what it does not know it leaves out."""
    known = {key: each for key, each in _document(position).items() if key in _NAMES}
    return json.dumps({**known, name: value}, separators=(",", ":"))


def acceptance_id(group: str, topic_partition: TopicPartition) -> str:
    """Return the transactional.id that commits what is accepted. The lane has another one, and is open."""
    topic, partition = topic_partition
    return f"{group}-{topic}-{partition}-accept"
