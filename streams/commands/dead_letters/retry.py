"""How dead letters get their second chance.

A retried letter goes back to where it came from: the original bytes, key, headers and partition, with a
header ``retry-of`` that names the letter. It is written in one transaction with the progress of the consumer
group ``<group>-dead-letters-retry``, so that a letter is retried once, unless it is named. Letters are
retried out of order (one error class at a time), so the progress is an offset and runs beyond it, as a lane's
is (:mod:`streams.delivery.commit_metadata`). Kafka forgets the offsets of a group without members after a
week (``offsets.retention.minutes``): without any, the topics are searched for the header instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata

from streams.actions.dead_letter import source_headers
from streams.commands.audit.snapshot import Settled
from streams.commands.dead_letters.letters import DeadLetter, letters, records_of
from streams.commands.installation import Described, Installation, describe, group_offsets
from streams.commands.progress_bar import OnProgress
from streams.commands.topic_reader import RecordId, read_records
from streams.commands.transactions import Commit, NotWritten, opened
from streams.delivery.commit_metadata import METADATA_CAP, Run, encode
from streams.delivery.transaction import Outgoing
from streams.messages.decode import ErrorClass

RETRY_OF = "retry-of"
#: Letters of one transaction.
_MOST = 500


@dataclass(slots=True)
class RetryResult:
    """What is retried, or would be."""

    chosen: list[DeadLetter] = field(default_factory=list)
    already: int = 0  # retried before
    refused: list[tuple[DeadLetter, str]] = field(default_factory=list)  # with the reason


def group_of(installation: Installation) -> str:
    """The consumer group whose offsets tell which letters have been retried."""
    return f"{installation.group}-dead-letters-retry"


async def plan(
    installation: Installation,
    named: Collection[RecordId],
    error_class: str | None,
    on_progress: OnProgress = lambda _read, _all: None,
) -> RetryResult:
    """Say what a retry of the `named` letters (else of all, of one class if given) would write.

    Raises:
        TopicMissing: a topic does not exist.
        KafkaError: the cluster cannot be asked.
    """
    described = await describe(installation)
    found = await letters(installation, on_progress)
    return _choose(
        installation, described, found, await _handled(installation, described, found), named, error_class
    )


def _choose(
    installation: Installation,
    described: Described,
    found: Iterable[DeadLetter],
    handled: Collection[RecordId],
    named: Collection[RecordId],
    error_class: str | None,
) -> RetryResult:
    names = installation.names
    retry = RetryResult()
    for letter in found:
        if named and letter.id not in named:
            continue
        if error_class is not None and letter.error_class != error_class:
            continue
        if not named and letter.id in handled:
            retry.already += 1
        elif letter.source is None or letter.topic not in (names.actions, names.statuses):
            retry.refused.append((letter, "it does not say that it comes from one of this group's topics"))
        elif letter.source.partition >= described.partitions.get(letter.topic, 0):
            retry.refused.append((letter, "the partition that it comes from does not exist"))
        elif letter.error_class == ErrorClass.UNREADABLE:
            retry.refused.append((letter, "nobody could read its records"))
        elif letter.shortened:
            retry.refused.append((letter, "a part of it was left out"))
        else:
            retry.chosen.append(letter)
    return retry


async def retry(
    installation: Installation,
    named: Collection[RecordId],
    error_class: str | None,
    on_progress: OnProgress = lambda _read, _all: None,
) -> RetryResult:
    """Write what `plan` says, exactly once: what somebody else retried meanwhile is left out.

    Raises:
        NotWritten: a transaction failed, or somebody else retries at the same time; run it again.
        TopicMissing: a topic does not exist.
        KafkaError: the cluster cannot be asked.
    """
    described = await describe(installation)
    topic = installation.names.dead_letters
    done = RetryResult()
    first = await plan(installation, named, error_class, on_progress)
    partitions = [letter.id.partition for letter in first.chosen]
    async with opened(installation, described, f"{group_of(installation)}-{topic}", partitions) as writers:
        # Only now, with every other writer fenced, what is read stays true.
        found = await letters(installation, on_progress)
        handled = set(await _handled(installation, described, found))
        chosen = _choose(installation, described, found, handled, named, error_class)
        done.already, done.refused = chosen.already, chosen.refused
        for number, writer in writers.items():
            mine = [letter for letter in chosen.chosen if letter.id.partition == number]
            here = sorted(letter.id.offset for letter in found if letter.id.partition == number)
            for at in range(0, len(mine), _MOST):
                part = mine[at : at + _MOST]
                originals = await read_records(topic, installation.connection, [letter.id for letter in part])
                handled |= {letter.id for letter in part}
                progress = _progress(here, {place.offset for place in handled if place.partition == number})
                offsets = {TopicPartition(topic, number): progress}
                await writer.write(
                    [
                        _original(topic, originals[letter.id], letter)
                        for letter in part
                        if letter.id in originals
                    ],
                    Commit(group_of(installation), offsets),
                )
                done.chosen += part
    return done


def _original(topic: str, record: Any, letter: DeadLetter) -> Outgoing:
    """The record as it was before it became a dead letter."""
    original = [header for header in source_headers(record.headers) if header[0] != RETRY_OF]
    origin = (RETRY_OF, f"{topic}/{letter.id.partition}/{letter.id.offset}".encode())
    assert letter.source is not None
    return Outgoing(letter.topic, record.key, record.value, [*original, origin], letter.source.partition)


def _progress(here: Sequence[int], handled: Collection[int]) -> OffsetAndMetadata:
    """What is committed for a partition with letters at the ascending offsets `here`."""
    committed: int | None = None
    runs: list[Run] = []
    extends = False
    for offset in here:
        if offset not in handled:
            committed = offset if committed is None else committed
            extends = False
        elif committed is not None:
            runs[-1:] = [(runs[-1][0], offset)] if extends else [*runs[-1:], (offset, offset)]
            extends = True
    if committed is None:
        committed = here[-1] + 1
    metadata = encode(committed, runs)
    if len(metadata) > METADATA_CAP:
        raise NotWritten(
            f"letters retried and not retried alternate too often ({len(runs)} times) to keep account of"
            " them: retry another class first, or all"
        )
    return OffsetAndMetadata(committed, metadata)


async def _handled(
    installation: Installation, described: Described, found: Sequence[DeadLetter]
) -> frozenset[RecordId]:
    """Which letters have been retried."""
    handled, unknown = await retried(installation, found)
    letters_without = [letter for letter in found if letter.id in unknown]
    return handled | await _retried(installation, described, letters_without) if unknown else handled


async def retried(
    installation: Installation, found: Iterable[DeadLetter]
) -> tuple[frozenset[RecordId], frozenset[RecordId]]:
    """Return which letters have been retried, and of which nobody can tell.

    The group of retries has committed which ones. Nobody can tell of a partition for which it has committed
    nothing: either none of its letters was ever retried, or Kafka has forgotten the offsets. Raises
    KafkaError.
    """
    topic = installation.names.dead_letters
    places = sorted({letter.id for letter in found})
    numbers = sorted({place.partition for place in places})
    if not numbers:
        return frozenset(), frozenset()
    async with group_offsets(installation, group_of(installation)) as offsets:
        committed = await offsets.all_committed([TopicPartition(topic, number) for number in numbers])
    settled = {place.partition: Settled(position) for place, position in committed.items()}
    return (
        frozenset(place for place in places if place.offset in settled[place.partition]),
        frozenset(place for place in places if settled[place.partition].committed is None),
    )


async def retried_if_told(
    installation: Installation, found: Iterable[DeadLetter]
) -> tuple[frozenset[RecordId], frozenset[RecordId]]:
    """Return the same as `retried`; of all letters nobody can tell where this user may not see that group.

    Raises KafkaError.
    """
    try:
        return await retried(installation, found)
    except GroupAuthorizationFailedError:
        return frozenset(), frozenset(letter.id for letter in found)


async def _retried(
    installation: Installation, described: Described, unknown: Sequence[DeadLetter]
) -> set[RecordId]:
    """Which of these letters have a record in the topic that they came from, by its header."""
    since = min(letter.timestamp for letter in unknown)
    retried = set()
    for topic in {letter.topic for letter in unknown} & {
        installation.names.actions,
        installation.names.statuses,
    }:
        async for record in records_of(installation, topic, described, since):
            retried |= retry_of(record, installation.names.dead_letters)
    return retried


def retry_of(record: Any, topic: str) -> set[RecordId]:
    """Return of which letters on this topic of dead letters a record is the retry: of one, usually."""
    found = set()
    for name, value in record.headers:
        text = (value or b"").decode("utf-8", "replace")
        if name == RETRY_OF and text.startswith(f"{topic}/"):
            partition, _, offset = text.removeprefix(f"{topic}/").partition("/")
            if partition.isdecimal() and offset.isdecimal():
                found.add(RecordId(int(partition), int(offset)))
    return found
