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
    InvalidTxnState,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import OffsetAndMetadata

from streams.delivery import transaction_driver
from streams.delivery.batches import Batch, fill_batches
from streams.delivery.transaction import Outgoing
from streams.delivery.transaction_driver import TransactionDriver
from tests.timing import until

PLACE = TopicPartition("actions", 0)
OFFSET = OffsetAndMetadata(7, "")
ADD, PRODUCE, ADD_GROUP, COMMIT_OFFSET, END = (
    "AddPartitionsToTxnRequest",
    "ProduceRequest",
    "AddOffsetsToTxnRequest",
    "TxnOffsetCommitRequest",
    "EndTxnRequest",
)
USUAL = [ADD, PRODUCE, ADD_GROUP, COMMIT_OFFSET, END]


class Brokers:
    """Two brokers that answer as they are told, and else that all is well."""

    def __init__(self, producer: Any) -> None:
        self.asked: list[str] = []
        self.produced: list[tuple[int, str, int, bytes]] = []  # leader, topic, partition, batch
        self.ended: list[bool] = []  # whether to commit
        self.lookups = 0
        self._answers: dict[str, list[Any]] = {}
        client = producer.client
        client.send = self._send
        client._wait_on_metadata = self._nothing
        client.force_metadata_update = self._nothing_now
        client.cluster.leader_for_partition = lambda place: place.partition % 2
        producer._sender._find_coordinator = self._find
        producer._sender._coordinator_dead = lambda _: None
        producer._txn_manager.set_pid_and_epoch(41, 3)
        self.producer = producer

    def answer(self, request: str, *answers: Any) -> None:
        """Answer the next requests of this kind: a code, a dictionary of codes by topic, or an exception."""
        self._answers[request] = list(answers)

    def batches(self, *records: tuple[str, int, bytes], each: bool = False) -> list[Batch]:
        """Fill batches with records of (topic, partition, value); `each` in a batch of its own."""
        outgoing = [Outgoing(topic, b"k", value, [], partition) for topic, partition, value in records]
        limits = {topic: 1_000_000 for topic, _, _ in records}
        return fill_batches(self.producer, outgoing, 0, limits, set(map(id, outgoing)) if each else ())

    async def _send(self, node: int, request: Any, **_: Any) -> Any:
        kind = type(request).__name__
        self.asked.append(kind)
        answers = self._answers.get(kind)
        answer = answers.pop(0) if answers else 0
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            answer = 0

        def code(topic: str) -> int:
            return answer.get(topic, 0) if isinstance(answer, dict) else int(answer)

        if kind == PRODUCE:
            for topic, partitions in request._topics:
                self.produced += [(node, topic, number, bytes(batch)) for number, batch in partitions]
            return SimpleNamespace(
                topics=[
                    (topic, [(number, code(topic), 0, -1) for number, _ in partitions])
                    for topic, partitions in request._topics
                ]
            )
        if kind == ADD:
            return SimpleNamespace(
                errors=[(topic, [(n, code(topic)) for n in numbers]) for topic, numbers in request._topics]
            )
        if kind == COMMIT_OFFSET:
            return SimpleNamespace(errors=[("actions", [(0, code("actions"))])])
        if kind == END:
            self.ended.append(request._transaction_result)
        return SimpleNamespace(error_code=code(""))

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
async def driver(brokers: Brokers) -> TransactionDriver:
    return TransactionDriver(brokers.producer, "emails")


@pytest.mark.parametrize("code", [3, 7, 14, 15, 16, 51])
@pytest.mark.parametrize("request_name", [ADD, ADD_GROUP, COMMIT_OFFSET, END])
async def test_a_refusal_that_passes_is_asked_again(
    brokers: Brokers, driver: TransactionDriver, request_name: str, code: int
) -> None:
    """Coordinator moved, loading or away, markers not written yet, topic not known yet: it is asked again."""
    brokers.answer(request_name, code, code)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    await driver.commit(PLACE, OFFSET)
    assert brokers.asked == [each for each in USUAL for _ in range(3 if each == request_name else 1)]
    assert brokers.ended[-1:] == [True]


@pytest.mark.parametrize("request_name", [ADD, ADD_GROUP, COMMIT_OFFSET, END])
async def test_a_coordinator_whose_answer_is_lost_is_looked_for_and_asked_again(
    brokers: Brokers, driver: TransactionDriver, request_name: str
) -> None:
    """Each of these requests may be repeated: the coordinator answers the second one as the first."""
    brokers.answer(request_name, KafkaConnectionError("gone"))
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    await driver.commit(PLACE, OFFSET)
    assert brokers.lookups == 5


@pytest.mark.parametrize(
    ("request_name", "code", "error", "about"),
    [
        (ADD, {"a": 29, "b": 55}, TopicAuthorizationFailedError, {"a"}),
        (ADD, {"a": 29, "b": 29}, TopicAuthorizationFailedError, {"a", "b"}),
        (ADD, 47, ProducerFenced, None),
        (ADD, 53, TransactionalIdAuthorizationFailed, "emails-actions-0"),
        (ADD_GROUP, 30, GroupAuthorizationFailedError, "emails"),
        (ADD_GROUP, 48, InvalidTxnState, None),
        (COMMIT_OFFSET, 30, GroupAuthorizationFailedError, "emails"),
        (COMMIT_OFFSET, 47, ProducerFenced, None),
        (END, 47, ProducerFenced, None),
        (END, 48, InvalidTxnState, None),
        (END, 9999, KafkaError, None),  # of a newer broker
    ],
)
async def test_a_refusal_that_lasts_is_raised_with_what_it_is_about(
    brokers: Brokers, driver: TransactionDriver, request_name: str, code: Any, error: Any, about: Any
) -> None:
    """The caller learns which topics, group or id it is, and nothing is committed."""
    brokers.answer(request_name, code)

    async def transaction() -> None:
        await driver.write(brokers.batches(("a", 0, b"one"), ("b", 0, b"two")))
        await driver.commit(PLACE, OFFSET)

    with pytest.raises(error) as raised:
        await transaction()
    assert about is None or raised.value.args == (about,)
    assert brokers.asked[-1] == request_name


@pytest.mark.parametrize("answer", [6, 7, 19, KafkaConnectionError("gone")])
async def test_a_batch_that_its_leader_cannot_take_now_is_sent_again_as_it_was(
    brokers: Brokers, driver: TransactionDriver, answer: Any
) -> None:
    """The same bytes, so that a leader that has them already knows them by their sequence number."""
    brokers.answer(PRODUCE, answer, answer)
    assert await driver.write(brokers.batches(("emails", 0, b"one"))) == [None]
    assert brokers.asked == [ADD, PRODUCE, PRODUCE, PRODUCE]
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


async def test_an_offset_alone_asks_for_no_partition(brokers: Brokers, driver: TransactionDriver) -> None:
    """Actions that ask for no email move the offset, and nothing is produced."""
    assert await driver.write([]) == []
    await driver.commit(PLACE, OFFSET)
    assert brokers.asked == [ADD_GROUP, COMMIT_OFFSET, END]


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
    commit = asyncio.create_task(driver.commit(PLACE, OFFSET))
    await until(lambda: END in brokers.asked)
    commit.cancel()
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
