"""Takes what a consumer has fetched as a whole, where all of its batches are sound."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED

from streams.delivery.fetched import Fetched
from streams.kafka.compressed_batches import compressed_batches, inflated_records
from streams.kafka.record_batches import PartitionRecords, batches_from
from streams.native.library import Survey

#: Bytes to which the batches of one fetch may inflate: what a lane keeps of it until its emails are written.
MOST_INFLATED = 16 << 20


class Gathering:
    """Makes :class:`Fetched` of the bytes of a fetch. Any thread may use it."""

    def __init__(self, library: Any) -> None:
        """Look at batches with the C library."""
        self._look = library.cs_look

    def __call__(self, raw: bytes, aborted: Sequence[tuple[int, int]], offset: int) -> Fetched | None:
        """Return what was fetched from an offset on; None: it is to be read record by record.

        That is so if a batch is not sound, or older than format 2, or if the compressed ones inflate to more
        than `MOST_INFLATED`. They are inflated here: this runs in the consumer's thread, where nobody else
        waits for the time that this takes.

        Args:
            raw: as the broker sent it.
            aborted: producer id and first offset of each aborted transaction.
            offset: records below it are passed over.
        """
        found = Survey()
        if not self._look(raw, len(raw), offset, ctypes.byref(found)):
            return None
        inflated: dict[int, bytes] = {}
        if found.compressed:
            room = MOST_INFLATED
            try:
                for begin, end in compressed_batches(raw):
                    inflated[begin] = bytes(inflated_records(memoryview(raw)[begin:end], room))
                    room -= len(inflated[begin])
            except Exception:  # malformed, or too large: who reads record by record says which
                return None
        return Fetched(raw, list(aborted), offset, found.next_offset, found.count, found.timestamp, inflated)


def records_in(
    fetched: Fetched,
    place: TopicPartition,
    next_offset: int,
    begin: int = 0,
    aborted: Sequence[tuple[int, int]] | None = None,
) -> list[Any]:
    """Return the records of a fetch as the worker's consumer unpacks them.

    Args:
        fetched: record batches.
        place: where they are from.
        next_offset: records below it are passed over.
        begin: the byte at which to begin.
        aborted: the transactions that are aborted from there on; None: those of the fetch.
    """
    records = PartitionRecords(
        place,
        batches_from(fetched.raw, begin),
        list(fetched.aborted if aborted is None else aborted),
        next_offset,
        None,
        None,
        False,  # the checksum: the reader of batches computes it in any case
        READ_COMMITTED,
    )
    records.with_stand_ins = True
    bare: Any = records
    bare._consumer_record = lambda _, record: record  # an attribute goes before the method
    # aiokafka passes over what is below in the first batch alone, since a broker sends no batch before it.
    return [record for record in records if record.offset >= next_offset]
