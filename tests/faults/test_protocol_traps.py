"""A real worker behind a proxy that loses, delays, repeats and forges the requests of its transactions."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import make_topics
from tests.faults.kafka_proxy import (
    Answer,
    Api,
    CutAfter,
    CutBefore,
    Duplicate,
    Fault,
    HoldRequest,
    KafkaProxy,
    LoseRequest,
    LoseResponse,
    Pass,
    Rule,
    Seen,
    Straggle,
    of_transactional_id,
)
from tests.faults.promises import act, assert_kept, mailing
from tests.integration.steps import Make, ready, settled
from tests.integration.topics import producing, read_count

pytestmark = pytest.mark.kafka


#: Seconds; what the broker and the lane give a transaction.
TIMEOUT = 2
#: The requests of a transaction in their order, by the version of the protocol (KIP-890). The fault befalls
#: each of them, in a partition of its own.
STEPS = {
    1: (Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE, Api.ADD_OFFSETS_TO_TXN, Api.TXN_OFFSET_COMMIT, Api.END_TXN),
    2: (Api.PRODUCE, Api.TXN_OFFSET_COMMIT, Api.END_TXN),
}
in_both_versions = pytest.mark.parametrize("version", [2, pytest.param(1, marks=pytest.mark.slow)])

FAULTS: dict[str, Fault] = {
    "request lost": LoseRequest(),
    "response lost": LoseResponse(),
    "late by more than the timeout": HoldRequest(),
    "cut before the broker has it": CutBefore(),
    "cut after the broker has it": CutAfter(),
    "sent twice": Duplicate(),
}
#: UNSUPPORTED_VERSION.
UNSUPPORTED = 35
#: What a broker says to a request of an epoch that is over: INVALID_PRODUCER_EPOCH, PRODUCER_FENCED, or that
#: the transaction it belongs to is not there: INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING.
OVER = {47, 48, 49, 90}


def behind(proxy: KafkaProxy, installation: Make, partitions: int, **settings: object) -> Installation:
    return installation(
        kafka_bootstrap_servers=proxy.bootstrap_servers,
        topic_partitions=partitions,
        transaction_timeout=TIMEOUT,
        lookup_deadline=0.3,
        **settings,
    )


def lane_of(place: Installation, partition: int) -> str:
    return f"{place.group}-{place.names.actions}-{partition}"


def failures(worker: WorkerProcess) -> float:
    return worker.counter("confirmation_transactions_failed_total")


def error_codes(answer: Any) -> set[int]:
    if hasattr(answer, "error_code"):
        return {answer.error_code}
    topics = answer.errors if hasattr(answer, "errors") else answer.topics
    return {partition[1] for _, partitions, *_ in topics for partition in partitions}


def speak(proxy: KafkaProxy, version: int) -> None:
    """Let the cluster look like one that speaks this version of the protocol at most."""
    if version == 1:
        features = 3  # the version of ApiVersions that tells them
        proxy.add(
            Api.API_VERSIONS, Answer(UNSUPPORTED), times=None, where=lambda asked: asked.version == features
        )


@in_both_versions
async def test_whatever_befalls_a_transaction_s_request_every_action_has_one_email(
    proxy: KafkaProxy, installation: Make, version: int
) -> None:
    """Each request of a transaction is lost, unanswered, late, cut off, or repeated: one email each."""
    speak(proxy, version)
    steps = STEPS[version]
    broken = len(steps)  # this partition's lane is broken, and the fault befalls its way back
    place = behind(proxy, installation, broken + 1)
    worker = await ready(place)
    sent = []
    for partition in range(broken + 1):
        sent += await act(place, [partition], partition)
    await assert_kept(place, sent)
    for turn, fault in enumerate(FAULTS.values(), 1):
        rules = [
            proxy.add(api, fault, where=of_transactional_id(lane_of(place, partition)))
            for partition, api in enumerate(steps)
        ]
        reopened = of_transactional_id(lane_of(place, broken))
        proxy.add(Api.END_TXN, CutAfter(), where=reopened)
        proxy.add(Api.END_TXN, Answer(13), where=reopened)
        rules.append(proxy.add(Api.INIT_PRODUCER_ID, fault, where=reopened))
        # One after the other: in a common transaction only one of them would ask its coordinator. A lane
        # whose transaction has failed has the next ones for itself.
        for partition, rule in enumerate(rules):
            sent += await act(place, [turn * 100 + partition], partition)
            await asyncio.to_thread(rule.wait)
        for partition in range(broken + 1):
            sent += await act(place, [turn * 100 + 50 + partition], partition)
        await assert_kept(place, sent)
        if isinstance(fault, HoldRequest):
            await arrive_too_late(rules[:broken])
        proxy.clear()
        speak(proxy, version)
    assert worker.stop() == 0
    await assert_kept(place, sent)


async def arrive_too_late(rules: list[Rule]) -> None:
    """Each request that comes after its transaction was given up is refused by the broker."""
    for rule in rules:
        rule.release()
        codes = error_codes(await asyncio.to_thread(rule.wait_answered))
        assert codes <= OVER, (rule.api, codes)


@in_both_versions
async def test_a_late_end_of_a_transaction_cannot_end_the_next_one(
    proxy: KafkaProxy, installation: Make, version: int
) -> None:
    """An EndTxn that arrives in the middle of the next transaction is fenced; that transaction commits."""
    speak(proxy, version)
    place = behind(proxy, installation, 2)
    worker = await ready(place)
    sent: list[int] = []
    # Its answer never came; or the connection broke, and the client repeated it by itself, with success.
    for partition, delay in enumerate((HoldRequest(), Straggle())):
        lane = lane_of(place, partition)
        ours = of_transactional_id(lane)
        late = proxy.add(Api.END_TXN, delay, where=ours)
        sent += await act(place, [10 * partition], partition)
        await asyncio.to_thread(late.wait)
        first = proxy.transactional(lane)[-1]
        if isinstance(delay, Straggle):
            await assert_kept(place, sent)
        following = proxy.add(Api.TXN_OFFSET_COMMIT, HoldRequest(), where=ours)
        ended = proxy.add(Api.END_TXN, Pass(), where=ours)
        sent += await act(place, [10 * partition + 1], partition)
        await asyncio.to_thread(following.wait)
        late.release()
        answer = await asyncio.to_thread(late.wait_answered)
        following.release()
        assert error_codes(answer) <= OVER
        assert error_codes(await asyncio.to_thread(following.wait_answered)) == {0}
        assert error_codes(await asyncio.to_thread(ended.wait_answered)) == {0}
        ends = [each for each in proxy.transactional(lane) if each.api == Api.END_TXN]
        assert all(each.commits for each in ends)
        assert epoch(ends[-1]) > epoch(first)
    await assert_kept(place, sent)
    assert worker.running


def epoch(seen: Seen) -> tuple[int, int]:
    return seen.producer_id, seen.producer_epoch


async def test_the_trap_is_real(
    kafka: EmbeddedKafka, proxy: KafkaProxy, unique_name: Callable[[str], str]
) -> None:
    """Without a new epoch a late EndTxn commits the half of the next transaction that is written by then."""
    topic = unique_name("torn")
    await make_topics(kafka.bootstrap_servers, 1, topic)
    async with producing(proxy.bootstrap_servers, transactional_id=unique_name("plain")) as plain:
        late = proxy.add(Api.END_TXN, Straggle())
        async with plain.transaction():
            await plain.send_and_wait(topic, b"whole")
        await plain.begin_transaction()
        await plain.send_and_wait(topic, b"half")
        late.release()
        assert error_codes(await asyncio.to_thread(late.wait_answered)) == {0}
        records = await read_count(kafka.bootstrap_servers, topic, 2)
        assert [record.value for record in records] == [b"whole", b"half"]


async def test_an_unlisted_broker_error_rebuilds_the_lane_in_process(
    proxy: KafkaProxy, installation: Make
) -> None:
    """Error 13 once, which kills the client's producer: one failed transaction, one email, same process."""
    place = behind(proxy, installation, 1)
    worker, sent = await mailing(place, [0])
    assert failures(worker) == 0
    for count, api in enumerate((Api.TXN_OFFSET_COMMIT, Api.END_TXN), 1):
        rule = proxy.add(api, Answer(13))
        sent += await act(place, [10 * count])
        await asyncio.to_thread(rule.wait)
        sent += await act(place, [10 * count + 1])
        await assert_kept(place, sent)
        assert failures(worker) == count
    assert worker.stop() == 0


@pytest.fixture
def forgetful(request: pytest.FixtureRequest) -> Iterator[EmbeddedKafka]:
    """A cluster that forgets transactional ids and producer ids after two quiet seconds."""
    properties = {
        "transactional.id.expiration.ms": 2000,
        "transaction.remove.expired.transaction.cleanup.interval.ms": 300,
        "producer.id.expiration.ms": 2000,
        "producer.id.expiration.check.interval.ms": 300,
    }
    with EmbeddedKafka(properties=properties) as cluster:
        yield cluster


@pytest.mark.slow
async def test_a_transactional_id_that_expired_in_a_quiet_week_is_taken_anew(
    forgetful: EmbeddedKafka, installation: Make
) -> None:
    """Idle until the broker has forgotten the id, then actions: one email each, the same process."""
    with KafkaProxy(forgetful.bootstrap_servers) as proxy:
        place = installation(
            forgetful,
            kafka_bootstrap_servers=proxy.bootstrap_servers,
            topic_partitions=1,
            transaction_timeout=TIMEOUT,
            lookup_deadline=0.3,
        )
        worker, sent = await mailing(place, [1])
        await asyncio.sleep(4)  # the quiet week: nothing to wait for
        added = proxy.add(Api.PRODUCE, Pass(), where=of_transactional_id(lane_of(place, 0)))
        sent += await act(place, [2, 3])
        assert error_codes(await asyncio.to_thread(added.wait_answered)) == {49}, "the id had not expired"
        await assert_kept(place, sent)
        await settled(place, lambda: worker.get("/readyz")[0] == 200)
        assert failures(worker) == 1
        assert worker.stop() == 0
