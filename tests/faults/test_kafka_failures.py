"""What Kafka does to a running worker: what it must survive, and what must end it."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Iterator

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation
from tests.clients import administering, make_topics, set_quota
from tests.faults.kafka_proxy import Answer, Api, HoldRequest, KafkaProxy
from tests.faults.promises import act, assert_kept, mailing, reason_of
from tests.integration.steps import Make, Probes, ready, settled
from tests.integration.topics import action, keyed, read_count, send

pytestmark = pytest.mark.kafka


#: Seconds that a broker stays away: longer than the session and than several transactions.
AWAY = 12
SETTINGS = {"transaction_timeout": 2, "lookup_deadline": 0.3, "topic_partitions": 2}


@pytest.fixture(scope="module")
def own() -> Iterator[EmbeddedKafka]:
    """A broker that these tests may stop."""
    with EmbeddedKafka() as cluster:
        yield cluster


async def set_topic(place: Installation, topic: str, **configs: object) -> None:
    """Set a topic's configuration to exactly this."""
    async with administering(place.bootstrap_servers) as admin:
        given = {name.replace("_", "."): str(value) for name, value in configs.items()}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, given)])


# -- what a worker survives --------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_broker_that_restarts_or_stays_away_costs_nothing_but_time(
    own: EmbeddedKafka, installation: Make
) -> None:
    """A restart, then 12 s without any broker: alive all the time, not ready meanwhile, one email each."""
    place = installation(own, **SETTINGS)
    worker = await ready(place)
    sent = await act(place, range(3))
    await asyncio.to_thread(own.restart)
    sent += await act(place, range(3, 6))
    await assert_kept(place, sent)
    sent += await act(place, range(6, 9))
    # Not with a transaction open: if one has timed out by the time that Kafka 4.3.1 starts after a SIGKILL,
    # its only broker knows no leaders yet, takes the output partitions for deleted and never writes the abort
    # marker ("Couldn't find leader endpoint ..."). The next commit then covers what was aborted.
    await assert_kept(place, sent)
    await asyncio.to_thread(own.kill, 1)
    probes = Probes()
    await probes.watch(worker, AWAY)
    assert probes.livez == {200}
    assert 503 in probes.readyz
    assert any("Kafka does not answer" in reason for reason in probes.reasons), probes.reasons
    await asyncio.to_thread(own.restart)
    sent += await act(place, range(9, 12))
    await assert_kept(place, sent, seconds=60)
    await settled(place, lambda: worker.get("/readyz")[0] == 200)
    assert worker.stop() == 0


@pytest.mark.slow
async def test_requests_that_time_out_are_made_again(proxy: KafkaProxy, installation: Make) -> None:
    """Nothing comes through for longer than a session and a transaction last: alive, then one email each."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    worker, sent = await mailing(place, range(3))
    proxy.pause()
    sent += await act(place, range(3, 6))
    probes = Probes()
    await probes.watch(worker, 9)
    assert probes.livez == {200}
    proxy.resume()
    sent += await act(place, range(6, 9))
    await assert_kept(place, sent, seconds=60)
    assert worker.running


async def test_too_few_replicas_hold_emails_up_and_lose_none(proxy: KafkaProxy, installation: Make) -> None:
    """While the emails topic refuses writes (NOT_ENOUGH_REPLICAS) actions wait; afterwards one email each."""
    # By the proxy: a broker never asks for more replicas in sync than a partition has.
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    worker, sent = await mailing(place, range(2))
    proxy.add(Api.PRODUCE, Answer(19), times=None, where=lambda request: request.transactional_id is not None)
    sent += await act(place, range(2, 6))
    await settled(place, lambda: worker.counter("confirmation_transactions_failed_total") >= 1)
    assert worker.get("/livez")[0] == 200
    assert any("cannot commit" in reason for reason in worker.problems())
    proxy.clear()
    await assert_kept(place, sent)
    assert worker.running


async def test_emails_wait_while_their_topic_takes_only_smaller_records(installation: Make) -> None:
    """A limit set too low is the topic's fault: it is named, good actions wait, also after a restart."""
    place = installation(**SETTINGS)
    worker, sent = await mailing(place, range(2))
    emails = place.names.emails

    def names_the_topic() -> bool:
        return any(f"topic {emails} takes records of 500 bytes" in each for each in worker.problems())

    await set_topic(place, emails, max_message_bytes=500)
    sent += await act(place, range(2, 42))
    await settled(place, names_the_topic)
    assert worker.get("/livez")[0] == 200
    worker.send(signal.SIGTERM)
    await asyncio.to_thread(worker.wait)
    worker = place.worker()
    worker.start()
    sent += await act(place, range(42, 50))
    await settled(place, names_the_topic)
    await set_topic(place, emails, max_message_bytes=1_048_588)
    await assert_kept(place, sent)
    assert await read_count(place.bootstrap_servers, place.names.dead_letters, 0) == []
    assert worker.running


async def test_emails_wait_while_the_right_to_write_to_their_topic_is_taken_away(
    proxy: KafkaProxy, installation: Make
) -> None:
    """The topic is named, the worker goes on, and everybody gets the email when the right is back."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    worker, sent = await mailing(place, range(2))
    for api in (Api.ADD_PARTITIONS_TO_TXN, Api.PRODUCE):
        proxy.add(api, Answer(29), times=None, where=lambda request: request.transactional_id is not None)
    sent += await act(place, range(2, 6))
    words = f"does not let this worker write to topic {place.names.emails}"
    await settled(place, lambda: any(words in each for each in worker.problems()))
    assert worker.get("/livez")[0] == 200
    proxy.clear()
    await assert_kept(place, sent)
    assert worker.running


@pytest.mark.slow
async def test_a_quota_delays_emails_and_stops_none(own: EmbeddedKafka, installation: Make) -> None:
    """What is ready takes longer than a transaction may: smaller ones get through, and the quota is named."""
    place = installation(own, actions_start="earliest", **SETTINGS)
    await make_topics(place.bootstrap_servers, 2, place.names.actions)
    sent = [keyed(action(number, supporter=number, comment="x" * 2_000)) for number in range(300)]
    await send(place.bootstrap_servers, place.names.actions, sent)
    set_quota(place.bootstrap_servers, "client-id", None, 30_000)
    worker = place.worker()
    worker.start()
    await settled(place, lambda: any("a quota of the cluster slows" in each for each in worker.problems()))
    await assert_kept(place, range(300))
    assert worker.get("/livez")[0] == 200


async def test_a_zombie_that_wakes_up_doubles_nothing(proxy: KafkaProxy, installation: Make) -> None:
    """Stopped in the middle of a commit until another worker had its partitions: one email each."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, **SETTINGS)
    zombie, sent = await mailing(place, range(4))
    held = proxy.add(Api.END_TXN, HoldRequest(), times=None)
    sent += await act(place, range(4, 10))
    await asyncio.to_thread(held.wait)
    zombie.send(signal.SIGSTOP)
    await ready(place, kafka_bootstrap_servers=place.bootstrap_servers)
    await assert_kept(place, sent)
    zombie.send(signal.SIGCONT)
    held.release()
    sent += await act(place, range(10, 20))
    await settled(place, lambda: not zombie.running or zombie.get("/readyz")[0] == 200, 30)
    await assert_kept(place, sent)
    assert zombie.running or zombie.wait() != 0


# -- what ends it ------------------------------------------------------------------------------------------


async def test_what_the_cluster_denies_ends_the_worker_with_the_reason(
    proxy: KafkaProxy, installation: Make
) -> None:
    """An authorisation refused: exit code not 0, and the last line of the log says which and to whom."""
    place = installation(
        kafka_bootstrap_servers=proxy.bootstrap_servers, **{**SETTINGS, "topic_partitions": 1}
    )
    refused = proxy.add(
        Api.INIT_PRODUCER_ID,
        Answer(53),
        times=None,
        where=lambda request: request.transactional_id is not None,
    )
    worker = place.worker()
    worker.start()
    await asyncio.to_thread(refused.wait)
    assert await asyncio.to_thread(worker.wait) != 0
    expected = rf"TransactionalIdAuthorizationFailed.*{place.group}\S*-actions-0"
    assert re.search(expected, reason_of(worker))


@pytest.mark.slow
async def test_a_static_member_that_was_away_for_longer_than_its_session_is_no_namesake(
    installation: Make,
) -> None:
    """Stopped until the group gave up on it, then woken: it joins again under its name and goes on."""
    place = installation(group_instance_id="pod-0", **SETTINGS)
    worker, sent = await mailing(place, range(4))
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(7.5)  # the session lasts 6 s
    worker.send(signal.SIGCONT)
    sent += await act(place, range(4, 8))
    await assert_kept(place, sent)
    assert worker.stop() == 0
