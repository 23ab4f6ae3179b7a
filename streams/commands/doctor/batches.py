"""Batches that stop a partition since nobody can read them. Pure."""

from collections.abc import Iterable, Mapping

from streams.commands.doctor.findings import Finding, ok, problem
from streams.commands.topic_reader import UnreadablePlace

CHECK = "batches"


def check_batches(
    found: Iterable[UnreadablePlace], accepted: Mapping[str, Mapping[int, int]]
) -> list[Finding]:
    """Tell which batches wait for a person.

    Args:
        found: those that cannot be read, at or behind the group's offset.
        accepted: by topic and partition, the offset before which a person goes on without them.
    """
    findings = [
        problem(
            CHECK,
            f"{place}; the partition stops there, and the others go on",
            "have a sound copy restored, or go on without these records:"
            f" `streams dead-letters accept {place.topic} {place.partition} {place.records.offset + 1}`",
        )
        for place in found
        if place.records.offset >= accepted.get(place.topic, {}).get(place.partition, 0)
    ]
    return findings or [ok(CHECK, "what the workers read next can be read")]
