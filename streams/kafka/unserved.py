"""Reads what a broker does not send, because it cannot find it in its own log.

A broker finds an offset by walking from batch to batch, by the lengths in their headers. Where a length is
damaged, the walk ends: for this batch, and for those behind it up to the next entry of the broker's index, it
answers with nothing or with an error, for ever. A fetch that begins before the damage is answered with all
bytes of the log from there on. So a partition for which nothing comes, though its log goes on, is asked for
once more from an earlier offset, and what the damage is, and where it ends, is seen in that answer
(:mod:`streams.kafka.record_batches`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CorruptRecordException, KafkaError, NoError
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka.fetch_sessions import asked_in
from streams.kafka.record_batches import PartitionRecords, batches_behind

log = logging.getLogger(__name__)

#: Seconds for which nothing comes from an offset that the log has, before it is asked for once more. A busy
#: broker sends nothing for a partition while others fill its answers.
NOTHING_FOR = 1.0
#: Bytes of such an answer: the batch before the damage, the damaged one, and one behind it.
_MOST = 8 << 20
#: The first version of the answer that tells where the log begins (Kafka 1.0).
_WITH_LOG_START = 5


class _Answer(NamedTuple):
    error: int
    stable_end: int  # offset
    aborted: Any
    raw: bytes
    log_start: int  # offset


def read_unserved(fetcher: Any, clock: Callable[[], float] = time.monotonic) -> None:
    """Make an aiokafka `fetcher` read on where its broker does not find what follows.

    Args:
        fetcher: of a consumer in a process that reads batches with
            :func:`streams.kafka.record_batches.read_any_batch`.
        clock: monotonic seconds.
    """
    fetch = fetcher._proc_fetch_request
    nothing_since: dict[TopicPartition, tuple[int, float]] = {}  # the offset asked for, and seconds

    async def fetch_or_reach(assignment: Any, node_id: int, request: Any) -> Any:
        got = await fetch(assignment, node_id, request)
        now = clock()
        for tp, state, offset in asked_in(request, assignment):
            if state.lso == offset or not _lacks(fetcher, assignment, tp, offset):
                nothing_since.pop(tp, None)
                continue
            asked, since = nothing_since.setdefault(tp, (offset, now))
            if asked == offset and now - since < NOTHING_FOR:
                continue
            nothing_since[tp] = offset, now
            if asked == offset:
                try:
                    got = await _reach(fetcher, assignment, node_id, tp, offset) or got
                except (KafkaError, asyncio.CancelledError):
                    return got  # asked again, or the fetcher closes and expects an answer
        return got

    fetcher._proc_fetch_request = fetch_or_reach


def _lacks(fetcher: Any, assignment: Any, tp: TopicPartition, offset: int) -> bool:
    """Whether nothing came for an offset that the log has, as far as is known."""
    state = assignment.state_value(tp) if assignment.active else None
    if state is None or tp in fetcher._records or not state.has_valid_position or state.position != offset:
        return False
    return state.lso is None or state.lso > offset


async def _reach(fetcher: Any, assignment: Any, node_id: int, tp: TopicPartition, offset: int) -> bool:
    """Ask for one partition alone; where the broker has nothing, from an earlier offset.

    Returns:
        Whether there is something to read now.

    Raises:
        KafkaError: the broker does not answer.
    """
    answer = await _ask(fetcher, node_id, tp, offset, most=1)  # byte; one batch comes all the same
    unserved = answer is not None and (
        answer.error == CorruptRecordException.errno
        or (answer.error == NoError.errno and answer.stable_end > offset and not answer.raw)
    )
    if answer is None or not unserved:
        return False  # the usual fetch brings it, or says what else is wrong
    earlier, step = offset, 1
    while not answer.raw and earlier > max(0, answer.log_start):
        earlier, step = max(0, answer.log_start, offset - step), 2 * step
        before = await _ask(fetcher, node_id, tp, earlier, _MOST)
        if before is None or before.error not in (NoError.errno, CorruptRecordException.errno):
            break
        answer = before
    if not _lacks(fetcher, assignment, tp, offset):
        return False
    log.warning(
        "the broker does not send offset %d of %s/%d, though the log goes on: its batch is damaged",
        offset,
        *tp,
        extra={"event": "batch_not_sent", "topic": tp.topic, "partition": tp.partition, "offset": offset},
    )
    records = PartitionRecords(
        tp,
        batches_behind(answer.raw, offset),
        answer.aborted,
        offset,
        fetcher._key_deserializer,
        fetcher._value_deserializer,
        fetcher._check_crcs,
        fetcher._isolation_level,
    )
    fetcher._records[tp] = FetchResult(
        tp, partition_records=records, assignment=assignment, backoff=fetcher._prefetch_backoff
    )
    return True


async def _ask(fetcher: Any, node_id: int, tp: TopicPartition, offset: int, most: int) -> _Answer | None:
    """Fetch `most` bytes from an offset of one partition; None: the answer does not tell enough."""
    topics = [(tp.topic, [(tp.partition, offset, most)])]
    request = FetchRequest(0, 0, most, fetcher._isolation_level, topics)
    response = await fetcher._client.send(node_id, request)
    if response.API_VERSION < _WITH_LOG_START:
        return None
    ((_, ((_, error, _, stable_end, log_start, aborted, *_, raw),)),) = response.topics
    return _Answer(error, stable_end, aborted, raw or b"", log_start)
