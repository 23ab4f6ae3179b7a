"""Fetches at a pace that pays, from the leaders of today, and hands records over as their batch has them.

The pace: aiokafka asks again as soon as the last answer is in. With actions trickling in, that is hundreds
of fetches a second that bring a handful of records each, and a transaction for each handful: half a core in
the worker and most of one in the broker at 200 actions a second, for which everybody then waits. What comes
during a pause goes together, through one fetch and one transaction. Measured at 2,000 actions a second: with
20 ms between fetches the delay's 99th percentile went from 70 ms to 38, and the CPU of an action was halved.
Since then a cycle of fetch and commit has become shorter and cheaper, so that the pause is now 16 ms. Each ms
less takes one off the 99th percentile, and adds a twentieth to the CPU of 200 actions a second.
A fetch that finds nothing waits at the broker as before, so the first record comes at once; and where more
waits than a pause would gather, there is none.

How long a fetch that finds nothing waits: aiokafka has one fetch a broker under way, so what is not in it
waits for its end. Where all of the broker's partitions are in it, and are read to their ends, nothing can be
waiting: then it may take longer, and a worker that has nothing to do asks twice a second, and not 15 times.
What begins to be read meanwhile, after a rebalance, waits for its end.

The leaders: where a partition without a committed offset begins, only its leader knows. aiokafka goes on
asking a broker that is no longer the leader until it next reads the metadata, which is after five minutes;
and its request holds up every other partition that the same broker is asked about.

The records: aiokafka wraps each one in a ConsumerRecord of eleven fields, which takes a third of all the time
that unpacking takes. What those say beyond the record itself, a chunk says for all of its records.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import KafkaError

from streams.kafka.fetch_sessions import Fetch, NextFetch

#: Takes the bytes of a fetch, the aborted transactions as (producer id, first offset), and the offset from
#: which it is read. Returns what is handed over for all of it: its `offset` is the last one that it stands
#: for, its `count` that of its records. None: it is read record by record.
Gather = Callable[[bytes, list[tuple[int, int]], int], Any]

#: Milliseconds that a fetch waits at the broker where all partitions are read to their ends: the default of
#: Kafka's own client.
IDLE_WAIT_MS = 500
#: Seconds after which the fetcher looks at all partitions although nothing has happened. After each event it
#: looks at once. aiokafka's 0.2 s would be a fifth of what the consumer's thread of an idle worker has to do.
LOOK_EVERY = 1.0
#: Seconds between the end of a fetch and the next one from the same broker, at least.
PAUSE = 0.016
#: With so many records waiting in the partitions of a request, the next fetch begins at once.
BACKLOG = 1_000


def pace_fetches(fetcher: Any, is_taken: Callable[[TopicPartition], bool]) -> None:
    """Make an aiokafka `fetcher` pause between two fetches from one broker, unless there is a backlog.

    It has to fetch in sessions (:func:`streams.kafka.fetch_sessions.fetch_in_sessions`). `is_taken` says
    whether anybody takes what is fetched of an assigned partition.
    """
    fetch = fetcher._proc_fetch_request
    fetcher._fetcher_timeout = LOOK_EVERY
    ready_at: dict[int, float] = {}

    async def fetch_paced(assignment: Any, node_id: int, request: Fetch) -> Any:
        loop = asyncio.get_running_loop()
        try:
            if (wait := ready_at.get(node_id, 0.0) - loop.time()) > 0:
                await asyncio.sleep(wait)
            if _is_whole(fetcher, assignment, node_id, request, is_taken):
                request.wait = IDLE_WAIT_MS
            return await fetch(assignment, node_id, request)
        except asyncio.CancelledError:
            # The fetcher closes. It awaits each fetch that it has cancelled and expects an answer: an
            # exception would end the close half-way, and the worker's stop would wait until its time-out.
            return False
        finally:
            if not _backlogged(request):
                ready_at[node_id] = loop.time() + PAUSE

    fetcher._proc_fetch_request = fetch_paced


def go_on_fetching(fetcher: Any, hand_over: Callable[[], bool], next_fetch: NextFetch) -> None:
    """Make each task of an aiokafka `fetcher` go on with its broker, as long as there is nothing else to do.

    aiokafka's own way is a task for each fetch, and a look at everything when it ends, and when its records
    are taken: that took a third of what the consumer's thread has to do where actions trickle in.

    Args:
        fetcher: of aiokafka.
        hand_over: hands over what has been fetched, and says whether somebody took it.
        next_fetch: plans the fetch that follows; None: the fetcher looks at everything.
    """
    fetch = fetcher._proc_fetch_request

    async def fetch_and_go_on(assignment: Any, node_id: int, request: Fetch) -> Any:
        task = asyncio.current_task()
        assert task is not None, "it runs in one"
        while await fetch(assignment, node_id, request):
            # A fetch that is cancelled ends as any other one.
            if task.cancelling() or not (assignment.active and hand_over()):
                return True
            following = next_fetch(assignment, node_id)
            if following is None:
                return True
            request = following
        return False

    fetcher._proc_fetch_request = fetch_and_go_on


def _is_whole(
    fetcher: Any, assignment: Any, node_id: int, request: Fetch, is_taken: Callable[[TopicPartition], bool]
) -> bool:
    """Whether a request has all that is taken from this broker, from the ends of the logs as far as known."""
    for _, state, offset in request.asked:
        if state.highwater != offset:
            return False
    if len(request.asked) == len(assignment.tps):
        return True
    lacking = assignment.tps - {place for place, _, _ in request.asked}
    return not any(is_taken(place) and fetcher._select_read_replica(place) == node_id for place in lacking)


def _backlogged(request: Fetch) -> bool:
    waiting = 0
    for _, state, offset in request.asked:
        end = state.highwater
        if end is not None and end > offset:
            waiting += end - offset
    return waiting >= BACKLOG


def follow_leaders(fetcher: Any) -> None:
    """Make an aiokafka `fetcher` read the metadata when a broker that it asks for offsets does not lead."""
    ask = fetcher._proc_offset_request

    async def ask_or_look(node_id: int, topics: Any) -> Any:
        try:
            return await ask(node_id, topics)
        except KafkaError as exc:
            if exc.invalid_metadata:
                fetcher._client.force_metadata_update()
            raise

    fetcher._proc_offset_request = ask_or_look


def fetch_chunks(fetcher: Any, schema_of: Callable[[str], Any]) -> None:
    """Make an aiokafka `fetcher` hand over records as their batch has them, where a topic has a chunk schema.

    They have offset, timestamp, timestamp_type, key, value and headers, and no topic or partition. Among them
    are stand-ins for batches that cannot be read (:mod:`streams.messages.unreadable`). Where the schema has a
    `gather`, what it makes of a fetch is handed over in the place of the records; for that the process has to
    read batches with :func:`streams.kafka.record_batches.read_any_batch`.
    """

    def adapt(topic: str, records: Any) -> None:
        schema = schema_of(topic)
        if schema is None:
            return
        records._consumer_record = _bare  # an attribute goes before the method
        # What reaches further than its answer stands for what the broker does not send.
        if schema.gather is not None and records._records.reaches < 0:
            records._records_iterator = _gathered(records, schema.gather)

    _adapt_fetched(fetcher, adapt)


def _gathered(records: Any, gather: Gather) -> Iterator[Any]:
    taken = gather(records._records._buffer, records._aborted_transactions, records.next_fetch_offset)
    if taken is None:
        yield from records._unpack_records()
        return
    records.next_fetch_offset = taken.offset + 1
    if taken.count:
        yield taken


def hand_over_stand_ins(fetcher: Any) -> None:
    """Make an aiokafka `fetcher` hand over a stand-in for a batch that cannot be read, not an error.

    The process has to read batches with :func:`streams.kafka.record_batches.read_any_batch`.
    """

    def with_stand_ins(_: str, records: Any) -> None:
        records.with_stand_ins = True

    _adapt_fetched(fetcher, with_stand_ins)


def _adapt_fetched(fetcher: Any, adapt: Callable[[str, Any], None]) -> None:
    """Call `adapt` with topic and records of what `fetcher` has fetched, before anybody reads them."""
    fetch = fetcher._proc_fetch_request

    async def fetch_and_adapt(assignment: Any, node_id: int, request: Any) -> Any:
        got = await fetch(assignment, node_id, request)
        for tp, result in fetcher._records.items() if got else ():
            if type(result) is FetchResult and (records := result._partition_records) is not None:
                adapted = vars(records).setdefault("adapted", set())
                if adapt not in adapted:  # what nobody takes yet stays from fetch to fetch
                    adapted.add(adapt)
                    adapt(tp.topic, records)
        return got

    fetcher._proc_fetch_request = fetch_and_adapt


def _bare(_: Any, record: Any) -> Any:
    return record
