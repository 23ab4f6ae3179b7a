"""A lane's transaction, request by request, on the connections of an aiokafka producer.

aiokafka's producer writes through a background task, an accumulator and a future for each batch: made for
programs that send single records from many tasks. A lane has one transaction at a time and knows all of it.
So each request (:mod:`streams.delivery.transaction_protocol`) is awaited where it is made. Connections,
security, metadata, the look-up of coordinators and InitProducerId stay aiokafka's.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import ConnectionGroup, CoordinationType
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    DuplicateSequenceNumber,
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidProducerEpoch,
    KafkaError,
    NoError,
    NotCoordinatorError,
    OperationNotAttempted,
    ProducerFenced,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from streams.delivery.batches import Batch
from streams.delivery.transaction import Membership
from streams.delivery.transaction_protocol import (
    FiveRequests,
    Identity,
    OffsetsRefused,
    TransactionProtocol,
    by_topic,
    features_request,
    spoken,
)

log = logging.getLogger(__name__)

#: Seconds before a request is repeated.
_AGAIN_AFTER = 0.1
#: Seconds before the first repetition of a request that was refused because the markers of the transaction
#: before are not written yet; twice as long each time, up to the second number. The broker answers EndTxn
#: before it writes them.
_MARKERS_AFTER, _MARKERS_AT_MOST = 0.001, 0.02

#: The broker asked is not the coordinator (any more).
_MOVED = (CoordinatorNotAvailableError, NotCoordinatorError, RequestTimedOutError)
#: Refusals that pass: the request is repeated.
_PASSES = (*_MOVED, CoordinatorLoadInProgressError, ConcurrentTransactions, UnknownTopicOrPartitionError)


class _Unsent(NamedTuple):
    """A batch that no leader has taken yet."""

    number: int  # among the batches of this write
    sealed: Any  # the bytes of the batch, with producer id, epoch and sequence number


class TransactionDriver:
    """The transactions of one transactional.id: write, commit, and again."""

    def __init__(self, producer: Any, group: str) -> None:
        """Drive the transactions of a producer.

        Args:
            producer: an AIOKafkaProducer with a transactional.id, which is not started and never will be.
            group: the consumer group whose offsets are committed.
        """
        self.producer = producer
        self._client = producer.client
        self._sender = producer._sender  # knows the coordinators; its task is not started
        self._group = group
        self._protocol: TransactionProtocol = FiveRequests()
        self.identity = self._known_identity()
        self._sequences: dict[TopicPartition, int] = defaultdict(int)
        self._open = False
        self._unanswered = 0  # produce requests

    async def start(self) -> None:
        """Connect, and take a new epoch: the coordinator ends what a predecessor left open.

        Raises:
            KafkaError: no broker answers, or it refuses.
        """
        await self._client.bootstrap()
        await self._sender._maybe_wait_for_pid()
        self.identity = self._known_identity()
        # The coordinator is asked, over the connection that has just given the epoch.
        node = await self._sender._find_coordinator(
            CoordinationType.TRANSACTION, self.identity.transactional_id
        )
        try:
            answer = await self._client.send(node, features_request(), group=ConnectionGroup.COORDINATION)
        except IncompatibleBrokerVersion:
            return  # a broker before Kafka 2.4, which cannot be asked for features
        self._protocol = spoken(answer)

    async def write(self, batches: Sequence[Batch]) -> list[BaseException | None]:
        """Write batches in a transaction, which is begun if need be. In order within each partition.

        Returns:
            What became of each batch: None, or the error for which it will never be taken. What follows such
            a batch in its partition is not sent; its result is None, too.

        Raises:
            KafkaError: the transaction cannot be gone on with.
        """
        results: list[BaseException | None] = [None] * len(batches)
        unsent = await self._sealed(batches)
        if not unsent:
            return results
        self._open = True
        partitions = by_topic((place, place.partition) for place in unsent)
        if request := self._protocol.add_partitions(self.identity, partitions):
            await self._ask_transaction_coordinator(request, _codes_by_topic)
        said: set[str] = set()
        markers = _MARKERS_AFTER
        while True:
            pause = 0.0
            for place, error in await self._produce_once(unsent):
                if error is None:
                    unsent[place].popleft()
                    if not unsent[place]:
                        del unsent[place]
                elif isinstance(error, ConcurrentTransactions):
                    pause = max(pause, markers)
                elif error.retriable:
                    pause = _AGAIN_AFTER
                    if (kind := type(error).__name__) not in said:
                        said.add(kind)
                        log.warning("%s-%d: %s; the batch is sent again", *place, kind)
                else:
                    results[unsent.pop(place)[0].number] = error
            if not unsent:
                return results
            if pause:
                await asyncio.sleep(pause)
                await self._client._maybe_wait_metadata()
                markers = min(2 * markers, _MARKERS_AT_MOST)

    @property
    def takes_membership(self) -> bool:
        """Whether offsets can be committed as a member of the group, in the protocol of this cluster."""
        return self._protocol.takes_membership

    async def add_offsets(
        self, offsets: Mapping[TopicPartition, OffsetAndMetadata], member: Membership | None = None
    ) -> None:
        """Add offsets of the group to the transaction, which is begun if need be.

        Args:
            offsets: by input partition.
            member: as which the worker has these partitions; None: the transactional.id alone fences.

        Raises:
            KafkaError: the transaction cannot be gone on with; also if `member` is not, or no longer, in the
                group.
        """
        self._open = True
        if request := self._protocol.add_group(self.identity, self._group):
            await self._ask_transaction_coordinator(request, _code)
        codes = self._protocol.offset_codes
        request = self._protocol.commit_offsets(self.identity, self._group, offsets, member)
        answer = await self._ask(CoordinationType.GROUP, self._group, request, codes)
        if len(codes(answer)) != len(offsets):  # to commit without one would write its emails again
            raise UnknownError

    async def commit(self) -> None:
        """Commit the transaction: what was written, and the offsets.

        Raises:
            KafkaError: it failed, or nobody knows how it ended.
        """
        self._open = False  # from here on nobody knows, until the answer is there
        await self._end(self._protocol.commit(self.identity))

    async def abort(self) -> None:
        """Abort the transaction, if there is one that can be aborted.

        While a produce request is unanswered it cannot: a leader that gets it after the markers might begin
        a transaction that nobody ends. The next epoch ends that one.
        """
        if self._open and not self._unanswered:
            self._open = False
            await self._end(self._protocol.abort(self.identity))

    async def _end(self, request: Any) -> None:
        answer = await self._ask_transaction_coordinator(request, _code)
        following = self._protocol.next_identity(self.identity, answer)
        if following != self.identity:
            self.identity = following
            self._sequences.clear()  # each epoch counts from 0

    def _known_identity(self) -> Identity:
        state = self.producer._txn_manager
        return Identity(state.transactional_id, state.producer_id, state.producer_epoch)

    async def _sealed(self, batches: Sequence[Batch]) -> dict[TopicPartition, deque[_Unsent]]:
        unsent: dict[TopicPartition, deque[_Unsent]] = {}
        for number, (topic, partition, builder, _) in enumerate(batches):
            place = TopicPartition(topic, partition)
            if place not in unsent:
                await self._client._wait_on_metadata(topic)
                unsent[place] = deque()
            sequence = self._sequences[place]
            self._sequences[place] = (sequence + builder.record_count()) % 2**31
            builder._set_producer_state(self.identity.producer_id, self.identity.epoch, sequence)
            unsent[place].append(_Unsent(number, builder._build()))
        return unsent

    async def _produce_once(
        self, unsent: dict[TopicPartition, deque[_Unsent]]
    ) -> list[tuple[TopicPartition, Any]]:
        """Send the first batch of each partition to its leader; return what each leader says of it."""
        by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
        found: list[tuple[TopicPartition, Any]] = []
        for place in unsent:
            leader = self._client.cluster.leader_for_partition(place)
            if leader is None or leader == -1:
                found.append((place, UnknownTopicOrPartitionError()))
            else:
                by_leader[leader].append(place)
        if found:
            self._client.force_metadata_update()
        if len(by_leader) == 1:  # nearly always
            ((leader, places),) = by_leader.items()
            return found + await self._produce(leader, places, unsent)
        for answer in await asyncio.gather(
            *(self._produce(leader, places, unsent) for leader, places in by_leader.items())
        ):
            found += answer
        return found

    async def _produce(
        self, leader: int, places: list[TopicPartition], unsent: dict[TopicPartition, deque[_Unsent]]
    ) -> list[tuple[TopicPartition, Any]]:
        request = self._protocol.produce(
            self.identity,
            self._sender._request_timeout_ms,
            by_topic((place, (place.partition, unsent[place][0].sealed)) for place in places),
        )
        self._unanswered += 1
        try:
            answer = await self._client.send(leader, request)
        except KafkaError as lost:
            # The batch has its sequence number: if the leader has it already, it says so.
            if getattr(lost, "invalid_metadata", False):
                self._client.force_metadata_update()
            return [(place, lost) for place in places]
        self._unanswered -= 1
        found: list[tuple[TopicPartition, Any]] = []
        unsaid = set(places)
        for topic, partitions, *_ in answer.topics:
            for partition, code, *_ in partitions:
                answered = for_code(code)
                if getattr(answered, "invalid_metadata", False):
                    self._client.force_metadata_update()
                written = answered in (NoError, DuplicateSequenceNumber)
                error = None if written else self._named(answered, {topic})
                found.append((place := TopicPartition(topic, partition), error))
                unsaid.discard(place)
        return [*found, *((place, RequestTimedOutError()) for place in unsaid)]

    async def _ask_transaction_coordinator(self, request: Any, codes: Callable[[Any], Iterable[int]]) -> Any:
        return await self._ask(CoordinationType.TRANSACTION, self.identity.transactional_id, request, codes)

    async def _ask(
        self, coordinator: int, key: str, request: Any, codes: Callable[[Any], Iterable[int]]
    ) -> Any:
        """Send a request to a coordinator until its answer has no error that passes; return the answer.

        Raises:
            KafkaError: an error that does not pass.
        """
        markers = _MARKERS_AFTER
        while True:
            node = await self._sender._find_coordinator(coordinator, key)
            try:
                answer = await self._client.send(node, request, group=ConnectionGroup.COORDINATION)
            except IncompatibleBrokerVersion:
                raise
            except KafkaError as error:
                log.warning("%s: %s; it is asked again", type(request).__name__, type(error).__name__)
                self._sender._coordinator_dead(coordinator)
                await asyncio.sleep(_AGAIN_AFTER)
                continue
            errors = {for_code(code) for code in codes(answer) if code} - {OperationNotAttempted}
            if not errors:
                return answer
            if lasting := errors.difference(_PASSES):
                first = min(lasting, key=lambda each: str(each.__name__))
                topics = _topics_with(first, answer)
                if first is TopicAuthorizationFailedError and coordinator == CoordinationType.GROUP:
                    first = OffsetsRefused
                raise self._named(first, topics)
            if ConcurrentTransactions in errors:
                await asyncio.sleep(markers)
                markers = min(2 * markers, _MARKERS_AT_MOST)
                continue
            if errors.intersection(_MOVED):
                self._sender._coordinator_dead(coordinator)
            await asyncio.sleep(_AGAIN_AFTER)

    def _named(self, error: Any, topics: set[str]) -> Any:
        """Return an error of this class, with what it is about: an id, a group, or these topics."""
        if error is InvalidProducerEpoch:
            return ProducerFenced()
        if error is TransactionalIdAuthorizationFailed:
            return error(self.identity.transactional_id)
        if error is GroupAuthorizationFailedError:
            return error(self._group)
        if issubclass(error, TopicAuthorizationFailedError):
            return error(topics)
        return error()


def _topics_with(error: Any, answer: Any) -> set[str]:
    """Return the topics of which a coordinator's answer has this error; none where it speaks of no topic."""
    by_topic: Any = answer.errors if hasattr(answer, "errors") else getattr(answer, "topics", ())
    found = ((topic, code) for topic, partitions, *_ in by_topic for _, code, *_ in partitions)
    return {topic for topic, code in found if for_code(code) is error}


def _code(answer: Any) -> Iterable[int]:
    return (answer.error_code,)


def _codes_by_topic(answer: Any) -> Iterable[int]:
    return (code for _, partitions in answer.errors for _, code in partitions)
