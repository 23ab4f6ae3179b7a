"""What a lane's transaction makes of the answers that a broker of one's own cannot be made to give.

The requests that work are tested on a real broker (test_kafka_transaction.py); here brokers are a script.
"""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RebalanceInProgressError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata

from streams.delivery import transaction_driver
from streams.delivery.batches import Batch, fill_batches
from streams.delivery.transaction import Outgoing
from streams.delivery.transaction_driver import TransactionDriver
from streams.delivery.transaction_protocol import (
    FencedInstanceIdError,
    FiveRequests,
    OffsetsRefused,
    ThreeRequests,
    TransactionAbortable,
)
from tests.timing import until

PLACE = TopicPartition("actions", 0)
OFFSET = OffsetAndMetadata(7, "")
#: The requests' API keys.
ADD, PRODUCE, ADD_GROUP, COMMIT_OFFSET, END = 24, 0, 25, 28, 26
FIRST_WITH_TAGS = 5  # of COMMIT_OFFSET, as far as it is sent
#: An answer that speaks of no partition.
NOTHING = object()
VERSIONS = {
    FiveRequests: [ADD, PRODUCE, ADD_GROUP, COMMIT_OFFSET, END],
    ThreeRequests: [PRODUCE, COMMIT_OFFSET, END],
}


class Brokers:
    """Two brokers that answer as they are told, and else that all is well; in both versions."""

    def __init__(self, producer: Any) -> None:
        self.asked: list[int] = []  # API keys
        self.produced: list[tuple[int, str, int, bytes]] = []  # leader, topic, partition, batch
        self.ended: list[bool] = []  # whether to commit
        self.lookups = 0
        self._answers: dict[int, list[Any]] = {}
        client = producer.client
        client.send = self._send
        client._wait_on_metadata = self._nothing
        client.force_metadata_update = self._nothing_now
        client.cluster.leader_for_partition = lambda place: place.partition % 2
        producer._sender._find_coordinator = self._find
        producer._sender._coordinator_dead = lambda _: None
        producer._txn_manager.set_pid_and_epoch(41, 3)
        self.producer = producer
        self.offsets: list[Any] = []  # requests that add offsets

    def answer(self, request: int, *answers: Any) -> None:
        """Answer the next requests of this kind: a code, codes by topic, NOTHING, or an exception."""
        self._answers[request] = list(answers)

    def batches(self, *records: tuple[str, int, bytes], each: bool = False) -> list[Batch]:
        """Fill batches with records of (topic, partition, value); `each` in a batch of its own."""
        outgoing = [Outgoing(topic, b"k", value, [], partition) for topic, partition, value in records]
        limits = {topic: 1_000_000 for topic, _, _ in records}
        return fill_batches(self.producer, outgoing, 0, limits, set(map(id, outgoing)) if each else ())

    async def _send(self, node: int, request: Any, **_: Any) -> Any:
        kind = request.API_KEY
        self.asked.append(kind)
        sent = request.prepare({kind: (0, 12)})
        answers = self._answers.get(kind)
        answer = answers.pop(0) if answers else 0
        if isinstance(answer, BaseException):
            raise answer
        if answer is NOTHING:
            return SimpleNamespace(topics=[], errors=[])
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = 0

        def code(topic: str) -> int:
            return answer.get(topic, 0) if isinstance(answer, dict) else int(answer)

        if kind == PRODUCE:
            for topic, partitions, *_ in sent.topics:
                self.produced += [(node, topic, number, bytes(batch)) for number, batch, *_ in partitions]
            answered = [
                (topic, [(number, code(topic), 0, -1) for number, *_ in partitions])
                for topic, partitions, *_ in sent.topics
            ]
            return SimpleNamespace(topics=answered)
        if kind == ADD:
            errors = [
                (topic, [(number, code(topic)) for number in numbers]) for topic, numbers in sent.topics
            ]
            return SimpleNamespace(errors=errors)
        if kind == COMMIT_OFFSET:
            self.offsets.append(sent)
            errors = [
                (topic, [(number, code(topic)) for number, *_ in partitions])
                for topic, partitions, *_ in sent.topics
            ]
            if type(sent).API_VERSION < FIRST_WITH_TAGS:
                return SimpleNamespace(errors=errors)
            with_tags = [(topic, [(*each, {}) for each in partitions], {}) for topic, partitions in errors]
            return SimpleNamespace(topics=with_tags)
        if kind == END:
            self.ended.append(getattr(sent, "commit", None) or getattr(sent, "transaction_result", False))
        return SimpleNamespace(error_code=code(""), producer_id=41, producer_epoch=4)

    async def _find(self, *_: Any) -> int:
        self.lookups += 1
        return 0

    async def _nothing(self, *_: Any) -> None:
        return None

    def _nothing_now(self, *_: Any) -> None:
        return None


@pytest.fixture
async def brokers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Brokers]:
    monkeypatch.setattr(transaction_driver, "_AGAIN_AFTER", 0.0)
    monkeypatch.setattr(transaction_driver, "_MARKERS_AFTER", 0.0)
    producer = AIOKafkaProducer(transactional_id="emails-actions-0")
    yield Brokers(producer)
    await producer.stop()


@pytest.fixture
def version() -> type[FiveRequests | ThreeRequests]:
    return FiveRequests


@pytest.fixture
async def driver(brokers: Brokers, version: type[FiveRequests | ThreeRequests]) -> TransactionDriver:
    driver = TransactionDriver(brokers.producer, "emails")
    driver._protocol = version()
    return driver


async def commit(driver: TransactionDriver) -> None:
    """Commit an offset, and with it what was written."""
    await driver.add_offsets({PLACE: OFFSET})
    await driver.commit()


in_both_versions = pytest.mark.parametrize("version", VERSIONS)
to_each_coordinator = pytest.mark.parametrize(
    ("version", "request_key"),
    [(version, key) for version, keys in VERSIONS.items() for key in keys if key != PRODUCE],
)


@pytest.mark.parametrize("code", [3, 7, 14, 15, 16, 51])
@to_each_coordinator
async def test_a_refusal_that_passes_is_asked_again(
    brokers: Brokers, driver: TransactionDriver, version: Any, request_key: int, code: int
) -> None:
    """Coordinator moved, loading or away, markers not written yet, topic not known yet: it is asked again."""
    brokers.answer(request_key, code, code)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    await commit(driver)
    usual = VERSIONS[version]
    assert brokers.asked == [each for each in usual for _ in range(3 if each == request_key else 1)]
    assert brokers.ended[-1:] == [True]


@to_each_coordinator
async def test_a_coordinator_whose_answer_is_lost_is_looked_for_and_asked_again(
    brokers: Brokers, driver: TransactionDriver, version: Any, request_key: int
) -> None:
    """Each of these requests may be repeated: the coordinator answers the second one as the first."""
    brokers.answer(request_key, KafkaConnectionError("gone"))
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    await commit(driver)
    assert brokers.lookups == len(VERSIONS[version])  # no coordinator takes batches


@pytest.mark.parametrize(
    ("version", "request_key", "code", "error", "about"),
    [
        (FiveRequests, ADD, {"a": 29, "b": 55}, TopicAuthorizationFailedError, {"a"}),
        (FiveRequests, ADD, {"a": 29, "b": 29}, TopicAuthorizationFailedError, {"a", "b"}),
        (FiveRequests, ADD, 47, ProducerFenced, None),
        (FiveRequests, ADD, 53, TransactionalIdAuthorizationFailed, "emails-actions-0"),
        (FiveRequests, ADD_GROUP, 30, GroupAuthorizationFailedError, "emails"),
        (FiveRequests, ADD_GROUP, 48, InvalidTxnState, None),
        (FiveRequests, COMMIT_OFFSET, 29, OffsetsRefused, {"actions"}),
        (ThreeRequests, COMMIT_OFFSET, 29, OffsetsRefused, {"actions"}),
        (FiveRequests, COMMIT_OFFSET, 30, GroupAuthorizationFailedError, "emails"),
        (ThreeRequests, COMMIT_OFFSET, 30, GroupAuthorizationFailedError, "emails"),
        (ThreeRequests, COMMIT_OFFSET, 53, TransactionalIdAuthorizationFailed, "emails-actions-0"),
        (FiveRequests, COMMIT_OFFSET, 47, ProducerFenced, None),
        (ThreeRequests, COMMIT_OFFSET, 90, ProducerFenced, None),
        (ThreeRequests, COMMIT_OFFSET, 120, TransactionAbortable, None),
        (FiveRequests, END, 47, ProducerFenced, None),
        (ThreeRequests, END, 90, ProducerFenced, None),
        (FiveRequests, END, 48, InvalidTxnState, None),
        (FiveRequests, END, 9999, KafkaError, None),  # of a newer broker
    ],
)
async def test_a_refusal_that_lasts_is_raised_with_what_it_is_about(
    brokers: Brokers, driver: TransactionDriver, request_key: int, code: Any, error: Any, about: Any
) -> None:
    """The caller learns which topics, group or id it is, and nothing is committed."""
    brokers.answer(request_key, code)

    async def transaction() -> None:
        await driver.write(brokers.batches(("a", 0, b"one"), ("b", 0, b"two")))
        await commit(driver)

    with pytest.raises(error) as raised:
        await transaction()
    assert about is None or raised.value.args == (about,)
    assert brokers.asked[-1] == request_key


@pytest.mark.parametrize("version", [ThreeRequests])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (22, IllegalGenerationError),
        (25, UnknownMemberIdError),
        (27, RebalanceInProgressError),
        (82, FencedInstanceIdError),
    ],
)
async def test_offsets_of_several_partitions_go_as_a_member_s_and_who_is_none_is_refused(
    brokers: Brokers, driver: TransactionDriver, code: int, error: Any
) -> None:
    """One request has all offsets and the membership; what the coordinator says against it is raised."""
    assert driver.takes_membership
    offsets = {PLACE: OFFSET, TopicPartition("actions", 1): OffsetAndMetadata(9, "cs1")}
    await driver.add_offsets(offsets, (5, "worker-0-abc", "worker-0"))
    sent = brokers.offsets[-1]
    assert (sent.generation_id, sent.member_id, sent.group_instance_id) == (5, "worker-0-abc", "worker-0")
    ((topic, partitions, _),) = sent.topics
    assert (topic, [(number, at, text) for number, at, _, text, _ in partitions]) == (
        "actions",
        [(0, OFFSET.offset, OFFSET.metadata), (1, 9, "cs1")],
    )
    brokers.answer(COMMIT_OFFSET, code)
    with pytest.raises(error):
        await driver.add_offsets(offsets, (5, "worker-0-abc", None))
    assert brokers.ended == []


async def test_version_1_has_no_place_for_a_membership(driver: TransactionDriver) -> None:
    """There each partition commits alone, fenced by its transactional.id."""
    assert not driver.takes_membership
    with pytest.raises(AssertionError):
        await driver.add_offsets({PLACE: OFFSET}, (5, "worker-0-abc", None))


@in_both_versions
async def test_offsets_that_an_answer_leaves_out_are_not_committed(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """Nobody said that they are in the transaction: emails without their offset would be written again."""
    brokers.answer(COMMIT_OFFSET, NOTHING)
    with pytest.raises(UnknownError):
        await commit(driver)
    assert brokers.ended == []


@in_both_versions
async def test_a_batch_that_an_answer_leaves_out_is_sent_again(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """Nobody said that it is written; if it is, its sequence number tells."""
    brokers.answer(PRODUCE, NOTHING)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    assert [each for each in brokers.asked if each != ADD] == [PRODUCE] * 2
    assert len({batch for *_, batch in brokers.produced}) == 1


@in_both_versions
@pytest.mark.parametrize("answer", [6, 7, 19, 51, KafkaConnectionError("gone")])
async def test_a_batch_that_its_leader_cannot_take_now_is_sent_again_as_it_was(
    brokers: Brokers, driver: TransactionDriver, answer: Any
) -> None:
    """The same bytes, so that a leader that has them already knows them by their sequence number."""
    brokers.answer(PRODUCE, answer, answer)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    assert [each for each in brokers.asked if each != ADD] == [PRODUCE] * 3
    assert len({batch for *_, batch in brokers.produced}) == 1


async def test_a_batch_that_its_leader_has_already_is_written(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """DUPLICATE_SEQUENCE_NUMBER is the answer to a repetition."""
    brokers.answer(PRODUCE, KafkaConnectionError("gone"), 46)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]


async def test_batches_go_in_order_within_a_partition_and_to_all_leaders_at_once(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """One batch of each partition at a time; a request for each leader."""
    batches = brokers.batches(
        ("emails", 0, b"one"), ("emails", 1, b"two"), ("emails", 0, b"three"), ("dead", 0, b"x"), each=True
    )
    assert await driver.write(batches) == [None] * 4
    assert [(leader, topic, number) for leader, topic, number, _ in brokers.produced] == [
        (0, "emails", 0),
        (0, "dead", 0),
        (1, "emails", 1),
        (0, "emails", 0),
    ]
    assert b"one" in brokers.produced[0][3]
    assert b"three" in brokers.produced[3][3]


async def test_what_follows_a_refused_batch_in_its_partition_is_not_sent(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """The refused one leaves a gap in the sequence numbers; other partitions are written."""
    brokers.answer(PRODUCE, {"emails": 10})
    batches = brokers.batches(
        ("emails", 0, b"one"), ("emails", 0, b"two"), ("dead", 0, b"x"), ("dead", 0, b"y"), each=True
    )
    refused, *others = await driver.write(batches)
    assert isinstance(refused, MessageSizeTooLargeError)
    assert others == [None] * 3
    assert [topic for _, topic, *_ in brokers.produced] == ["emails", "dead", "dead"]


async def test_sequence_numbers_go_on_in_a_partition_and_wrap(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """After 2,147,483,647 comes 0, as the protocol counts; each partition has its own numbers."""
    driver._sequences[TopicPartition("emails", 0)] = 2**31 - 2
    for _ in range(2):
        await driver.write(brokers.batches(("emails", 0, b"one"), ("emails", 0, b"two"), ("emails", 0, b"3")))
    first = [int.from_bytes(batch[53:57], "big") for *_, batch in brokers.produced]
    assert first == [2**31 - 2, 1]
    assert [(batch[43:51], batch[51:53]) for *_, batch in brokers.produced] == [
        ((41).to_bytes(8, "big"), (3).to_bytes(2, "big"))
    ] * 2


@in_both_versions
async def test_an_offset_alone_asks_for_no_partition(
    brokers: Brokers, driver: TransactionDriver, version: Any
) -> None:
    """Actions that ask for no email move the offset, and nothing is produced."""
    assert await driver.write([]) == []
    await commit(driver)
    assert brokers.asked == [each for each in VERSIONS[version] if each not in (ADD, PRODUCE)]


@pytest.mark.parametrize("version", [ThreeRequests])
async def test_in_version_2_each_transaction_has_an_epoch_of_its_own(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """The answer to EndTxn names the next epoch; it counts from 0 in each partition (KIP-890)."""
    for _ in range(2):
        await driver.write(brokers.batches(("emails", 0, b"one"), ("emails", 0, b"two")))
        await commit(driver)
    epochs = [(int.from_bytes(batch[51:53], "big"), batch[53:57]) for *_, batch in brokers.produced]
    assert epochs == [(3, bytes(4)), (4, bytes(4))]


async def test_an_open_transaction_is_aborted_once(brokers: Brokers, driver: TransactionDriver) -> None:
    """Readers of committed data wait at an open one; a closed one is not ended again."""
    await driver.abort()
    await driver.write(brokers.batches(("emails", 0, b"one")))
    await driver.abort()
    await driver.abort()
    assert brokers.ended == [False]


async def test_a_transaction_that_may_be_committed_is_not_aborted(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """Once the end was asked for, nobody knows how it ends; the next epoch finds out."""
    held = asyncio.Event()
    brokers.answer(END, held)
    committing = asyncio.create_task(commit(driver))
    await until(lambda: END in brokers.asked)
    committing.cancel()
    await driver.abort()
    assert brokers.ended == []


async def test_nothing_is_aborted_while_a_batch_is_on_its_way(
    brokers: Brokers, driver: TransactionDriver
) -> None:
    """Markers that overtake a batch would leave it in a transaction that nobody ends."""
    held = asyncio.Event()
    brokers.answer(PRODUCE, held)
    writing = asyncio.create_task(driver.write(brokers.batches(("emails", 0, b"one"))))
    await until(lambda: PRODUCE in brokers.asked)
    writing.cancel()
    await driver.abort()
    assert END not in brokers.asked
