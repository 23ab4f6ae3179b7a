"""The requests of a transaction, in the two versions of Kafka's transaction protocol.

Version 1 is five requests, as aiokafka has them: AddPartitionsToTxn, Produce, AddOffsetsToTxn,
TxnOffsetCommit, EndTxn. Version 2 (KIP-890, Kafka 4.0) is three: the brokers add partitions and offsets to
the transaction themselves, and each EndTxn answers with the next epoch, so that a late request of this
transaction can do nothing to the next one. A cluster has version 2 when its feature ``transaction.version``
is at 2; that each broker knows the requests is not enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import (
    BrokerResponseError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    kafka_errors,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from aiokafka.structs import OffsetAndMetadata

from streams.delivery.transaction import Membership
from streams.delivery.transaction_requests import (
    FEATURES,
    FINALIZED_FEATURES,
    NO_TAGS,
    ApiVersionsRequest_v3,
    EndTxnRequest_v5,
    ProduceRequest_v12,
    TxnOffsetCommitRequest_v5,
)

#: Of a topic, its partitions with what belongs to each.
ByTopic = list[tuple[str, list[Any]]]
Offsets = Mapping[TopicPartition, OffsetAndMetadata]

_ALL_REPLICAS = -1


class TransactionAbortable(BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """The transaction can only be aborted; a new one may succeed (KIP-1050)."""

    errno = 120
    message = "TRANSACTION_ABORTABLE"
    description = "The server encountered an error with the transaction. The client can abort it."


class FencedInstanceIdError(BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """Another process has taken over the member's ``group.instance.id`` (KIP-345)."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "The broker rejected this static consumer since another one has registered its instance id."


class OffsetsRefused(TopicAuthorizationFailedError):  # type: ignore[misc]  # aiokafka ships no types
    """Offsets of a topic may be committed only by who may read it."""


class UnstableOffsetCommitError(BrokerResponseError):  # type: ignore[misc]  # aiokafka ships no types
    """A transaction with an offset of this partition is not decided yet (KIP-447)."""

    errno = 88
    message = "UNSTABLE_OFFSET_COMMIT"
    description = "There are unstable offsets that need to be cleared."
    retriable = True


# aiokafka does not know the codes of newer brokers: without a name they cannot be told from other errors.
kafka_errors.setdefault(TransactionAbortable.errno, TransactionAbortable)
kafka_errors.setdefault(FencedInstanceIdError.errno, FencedInstanceIdError)
kafka_errors.setdefault(UnstableOffsetCommitError.errno, UnstableOffsetCommitError)
kafka_errors.setdefault(90, ProducerFenced)


class Identity(NamedTuple):
    """By which the brokers know a transaction's producer."""

    transactional_id: str
    producer_id: int
    epoch: int


class FiveRequests:
    """Version 1 of the transaction protocol."""

    #: Whether offsets are committed as a member of the group, which the coordinator then checks.
    takes_membership = False

    def add_partitions(self, who: Identity, partitions: ByTopic) -> Any:
        """Return the request that adds partitions to the transaction."""
        return AddPartitionsToTxnRequest(*who, partitions)

    def produce(self, who: Identity, timeout_ms: int, batches: ByTopic) -> Any:
        """Return the request that writes batches, given as (partition, bytes) of each topic."""
        return ProduceRequest(
            transactional_id=who.transactional_id,
            required_acks=_ALL_REPLICAS,
            timeout=timeout_ms,
            topics=batches,
        )

    def add_group(self, who: Identity, group: str) -> Any:
        """Return the request that adds the group's offsets to the transaction."""
        return AddOffsetsToTxnRequest(*who, group)

    def commit_offsets(self, who: Identity, group: str, offsets: Offsets, member: Membership | None) -> Any:
        """Return the request that commits offsets with the transaction; it has no place for a member."""
        assert member is None, "takes_membership says so"
        topics = by_topic((place, (place.partition, at.offset, at.metadata)) for place, at in offsets.items())
        return TxnOffsetCommitRequest(who.transactional_id, group, who.producer_id, who.epoch, topics)

    def offset_codes(self, answer: Any) -> list[int]:
        """Return the error codes in the answer to `commit_offsets`, one for each partition."""
        return [code for _, partitions in answer.errors for _, code in partitions]

    def commit(self, who: Identity) -> Any:
        """Return the request that commits the transaction."""
        return EndTxnRequest(*who, True)

    def abort(self, who: Identity) -> Any:
        """Return the request that aborts the transaction."""
        return EndTxnRequest(*who, False)

    def next_identity(self, who: Identity, _answer: Any) -> Identity:
        """Return who writes the next transaction, by the answer to its end: the same."""
        return who


class ThreeRequests:
    """Version 2 of the transaction protocol: producing and committing offsets add to the transaction."""

    takes_membership = True

    def add_partitions(self, _who: Identity, _partitions: ByTopic) -> None:
        """Return None: the leader of a partition adds it."""

    def produce(self, who: Identity, timeout_ms: int, batches: ByTopic) -> Any:
        """Return the request that writes batches, given as (partition, bytes) of each topic."""
        topics = [
            (topic, [(partition, batch, NO_TAGS) for partition, batch in partitions], NO_TAGS)
            for topic, partitions in batches
        ]
        return ProduceRequest_v12(who.transactional_id, _ALL_REPLICAS, timeout_ms, topics, NO_TAGS)

    def add_group(self, _who: Identity, _group: str) -> None:
        """Return None: the group's coordinator adds it."""

    def commit_offsets(self, who: Identity, group: str, offsets: Offsets, member: Membership | None) -> Any:
        """Return the request that commits offsets with the transaction."""
        partitions = by_topic(
            (place, (place.partition, at.offset, -1, at.metadata, NO_TAGS)) for place, at in offsets.items()
        )
        topics = [(topic, offsets_of, NO_TAGS) for topic, offsets_of in partitions]
        # A command that is no member is fenced by its transactional.id alone, as in version 1.
        generation, member_id, instance_id = member or (-1, "", None)
        return TxnOffsetCommitRequest_v5(
            *who[:1], group, *who[1:], generation, member_id, instance_id, topics, NO_TAGS
        )

    def offset_codes(self, answer: Any) -> list[int]:
        """Return the error codes in the answer to `commit_offsets`, one for each partition."""
        return [code for _, partitions, _ in answer.topics for _, code, _ in partitions]

    def commit(self, who: Identity) -> Any:
        """Return the request that commits the transaction."""
        return EndTxnRequest_v5(*who, True, NO_TAGS)

    def abort(self, who: Identity) -> Any:
        """Return the request that aborts the transaction."""
        return EndTxnRequest_v5(*who, False, NO_TAGS)

    def next_identity(self, who: Identity, answer: Any) -> Identity:
        """Return who writes the next transaction, by the answer to its end: a new epoch begins."""
        return Identity(who.transactional_id, answer.producer_id, answer.producer_epoch)


TransactionProtocol = FiveRequests | ThreeRequests


def by_topic(parts: Iterable[tuple[TopicPartition, Any]]) -> ByTopic:
    """Put together what belongs to partitions of the same topic."""
    topics: dict[str, list[Any]] = defaultdict(list)
    for place, part in parts:
        topics[place.topic].append(part)
    return list(topics.items())


def features_request() -> Any:
    """Return the request whose answer `spoken` reads: ApiVersions, version 3 (KIP-584)."""
    return ApiVersionsRequest_v3("confirmation-streams", "1", NO_TAGS)


def spoken(answer: Any) -> TransactionProtocol:
    """Return the transaction protocol that a cluster speaks, by a broker's answer about its features."""
    text = answer.tags.get(FINALIZED_FEATURES)
    features = () if text is None else FEATURES.decode(BytesIO(text))
    levels = {name: highest for name, highest, *_ in features}
    return ThreeRequests() if levels.get("transaction.version", 0) >= 2 else FiveRequests()
