"""What keeps a worker out of its consumer group: it is said, and the worker goes on when it has passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka import Consumer

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import make_topics
from tests.faults.kafka_proxy import Answer, Api, KafkaProxy
from tests.faults.promises import act, assert_kept, mailing, reason_of
from tests.integration.steps import Make, command, settled

pytestmark = pytest.mark.kafka

SETTINGS = {"transaction_timeout": 2, "lookup_deadline": 0.3, "topic_partitions": 2}


async def says(place: Installation, worker: WorkerProcess, *words: str) -> None:
    """Wait until one sentence of /readyz has all these words; the worker is alive."""
    await settled(place, lambda: any(all(word in each for word in words) for each in worker.problems()))
    assert worker.get("/livez")[0] == 200


@asynccontextmanager
async def plain_consumer(place: Installation) -> AsyncIterator[None]:
    """A member of the worker's group that is no worker, with the protocol that workers use."""
    consumer = AIOKafkaConsumer(
        place.names.actions,
        bootstrap_servers=place.bootstrap_servers,
        group_id=place.group,
        client_id="reporting-job",
        enable_auto_commit=False,
    )
    async with consumer:
        yield


@asynccontextmanager
async def newer_consumer(place: Installation) -> AsyncIterator[None]:
    """The same with the protocol of KIP-848, in which the brokers share the partitions out."""
    consumer = Consumer(
        {
            "bootstrap.servers": place.bootstrap_servers,
            "group.id": place.group,
            "group.protocol": "consumer",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([place.names.actions])
    try:
        while not consumer.assignment():
            await asyncio.to_thread(consumer.poll, 0.2)
        yield
    finally:
        await asyncio.to_thread(consumer.close)


@pytest.mark.parametrize(
    ("stranger", "words", "before"),
    [
        (plain_consumer, ("reporting-job at 127.0.0.1", "roundrobin"), 0),
        (plain_consumer, ("reporting-job at 127.0.0.1", "roundrobin"), 2),
        (newer_consumer, (), 2),
    ],
    ids=["no-offsets", "offsets", "newer-protocol"],
)
async def test_a_worker_waits_until_another_kind_of_client_has_left_its_group(
    installation: Make,
    stranger: Callable[[Installation], AbstractAsyncContextManager[None]],
    words: tuple[str, ...],
    before: int,
) -> None:
    """It says who is there, as doctor does; when that client has left, it mails what came meanwhile."""
    place = installation(actions_start="earliest", **SETTINGS)
    await make_topics(place.bootstrap_servers, 2, place.names.actions)
    sent: list[int] = []
    if before:
        first, sent = await mailing(place, range(before))
        assert first.stop() == 0
    async with stranger(place):
        worker = place.worker()
        worker.start()
        await says(place, worker, f"another kind of client is in group {place.group}", *words)
        found = await command(place, "doctor")
        assert found.exit_code
        assert not words or f"another kind of client is in group {place.group}" in found.output
        sent += await act(place, range(before, before + 4))
    await asyncio.to_thread(worker.wait_ready)
    await assert_kept(place, sent)
    assert worker.stop() == 0


GROUP_REQUESTS = (Api.HEARTBEAT, Api.TXN_OFFSET_COMMIT, Api.ADD_OFFSETS_TO_TXN, Api.OFFSET_COMMIT)


async def test_a_worker_waits_until_it_may_use_its_group_again(proxy: KafkaProxy, installation: Make) -> None:
    """Right and group are named; no email is lost or doubled, and the same process goes on."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    worker, sent = await mailing(place, range(2))
    refusals = [proxy.add(api, Answer(30), times=None) for api in GROUP_REQUESTS]
    sent += await act(place, range(2, 6))
    await asyncio.to_thread(refusals[1].wait)
    await says(place, worker, f"do not allow this user Read on group {place.group}")
    await says(place, worker, "cannot commit", f"not allow this worker Read on group {place.group}")
    proxy.clear()
    await assert_kept(place, sent)
    await asyncio.to_thread(worker.wait_ready)
    assert worker.running


async def test_a_session_time_out_that_the_broker_refuses_is_named_with_what_it_allows(
    installation: Make,
) -> None:
    """On /readyz and by doctor; the worker stays up, since a broker may be configured anew."""
    with EmbeddedKafka(properties={"group.max.session.timeout.ms": 8_000}) as strict:
        place = installation(strict, session_timeout=30, **SETTINGS)
        worker = place.worker()
        worker.start()
        said = ("STREAMS_SESSION_TIMEOUT, 30 s", "allows 1 to 8 s", "group.max.session.timeout.ms")
        await says(place, worker, *said)
        found = await command(place, "doctor")
        assert found.exit_code
        assert all(words in found.output for words in said), found.output
        assert worker.stop() == 0


@pytest.mark.parametrize(
    ("api", "code", "words"),
    [
        (Api.HEARTBEAT, 14, "the coordinator of group {} is still loading it"),
        (Api.FIND_COORDINATOR, 15, "no broker coordinates group {} at present"),
    ],
    ids=["loading", "none"],
)
async def test_a_worker_waits_for_its_group_s_coordinator(
    proxy: KafkaProxy, installation: Make, api: Api, code: int, words: str
) -> None:
    """While it loads, or there is none, the worker says so; then it mails what came meanwhile."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    worker, sent = await mailing(place, range(2))
    refusals = [proxy.add(api, Answer(code), times=None)]
    if api == Api.FIND_COORDINATOR:  # it is looked for when the known one says that it is not
        refusals.append(proxy.add(Api.HEARTBEAT, Answer(16), times=None))
    await says(place, worker, words.format(place.group))
    sent += await act(place, range(2, 6))
    proxy.clear()
    await assert_kept(place, sent)
    await asyncio.to_thread(worker.wait_ready)
    assert worker.running


async def test_of_two_live_workers_with_one_instance_id_the_older_ends(installation: Make) -> None:
    """The newer one takes the name over; the older exits, not with 0, and says why; one email each."""
    place = installation(group_instance_id="pod-0", **SETTINGS)
    older, sent = await mailing(place, range(4))
    newer = place.worker()
    newer.start()
    sent += await act(place, range(4, 8))
    assert await asyncio.to_thread(older.wait) != 0
    assert "another live worker has group_instance_id pod-0" in reason_of(older)
    await asyncio.to_thread(newer.wait_ready)
    sent += await act(place, range(8, 12))
    await assert_kept(place, sent)
    assert newer.stop() == 0
