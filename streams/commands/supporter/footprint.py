"""Where one supporter's data lies in the topics, and until when: a request for erasure has to know.

Every topic is read as a whole: an action may lie in any partition, and one that no email can be made from has
the supporter in it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from streams.commands.dead_letters.letters import records_of
from streams.commands.installation import Described, Installation, describe
from streams.commands.keyed_lines import action_message
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId

#: Places that are named, of each topic.
PLACES_NAMED = 20
_DEFAULT_RETENTION = 604_800_000  # milliseconds, as of a segment: Kafka's defaults


@dataclass(slots=True)
class Lying:
    """What lies in one topic."""

    topic: str
    records: int = 0
    places: list[RecordId] = field(default_factory=list)  # the first ones
    newest: int = 0  # milliseconds since the epoch
    is_compacted: bool = False  # older records go when the log is compacted, after the key is forgotten
    deleted_by: int | None = None  # milliseconds since the epoch; None: nobody knows, or never

    def note(self, record: Any) -> None:
        """Count one."""
        self.records += 1
        self.newest = max(self.newest, record.timestamp)
        if len(self.places) < PLACES_NAMED:
            self.places.append(RecordId(record.partition, record.offset))


async def footprint(
    installation: Installation, key: bytes, on_progress: OnProgress = lambda _read, _all: None
) -> list[Lying]:
    """Return what lies in each topic under a key, topics without anything with it.

    Raises:
        TopicMissing: a topic does not exist.
        KafkaError: reading failed.
    """
    names = installation.names
    described = await describe(installation)
    found = []
    for topic in names.all:
        lying = Lying(topic)
        is_its = of_key(key, whole=topic in (names.actions, names.dead_letters, names.rekeyed))
        async for record in records_of(installation, topic, described, on_progress=on_progress):
            if is_its(record):
                lying.note(record)
        set_end(lying, described)
        found.append(lying)
    return found


def of_key(key: bytes, *, whole: bool) -> Callable[[Any], bool]:
    """Return what tells whether a record is this supporter's.

    Args:
        key: ``orgId:contactRef``.
        whole: also by what its value says, for topics whose records may have other keys. A value that cannot
            be read is taken for the supporter's if their contactRef is in it.
    """
    contact_ref = key.partition(b":")[2]

    def is_its(record: Any) -> bool:
        value = record.value
        if record.key == key:
            return True
        if not whole or value is None or not (contact_ref in value or b"\\" in value):
            return False
        found = action_message(value).key
        return contact_ref in value if found is None else found == key

    return is_its


def set_end(lying: Lying, described: Described) -> None:
    """Note how a topic loses what lies in it: a segment goes when its newest record is old enough."""
    policy = described.config(lying.topic, "cleanup.policy", "delete")
    lying.is_compacted = "compact" in policy
    retention = int(described.config(lying.topic, "retention.ms", str(_DEFAULT_RETENTION)))
    if "delete" in policy and retention >= 0 and lying.topic in described.configs and lying.records:
        segment = int(described.config(lying.topic, "segment.ms", str(_DEFAULT_RETENTION)))
        lying.deleted_by = lying.newest + retention + segment
