"""What others do to the topics and the group: their transactions, deletions, more partitions, strangers."""

import asyncio
import time
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streams.sandbox.worker import Installation, WorkerProcess, problems
from tests.clients import administering, forget_group, make_topics
from tests.faults.kafka_proxy import KafkaProxy
from tests.faults.promises import act, assert_kept, mailing, reason_of, supporter_in
from tests.integration.steps import Make, ready, settled
from tests.integration.topics import producing, read, send, status

pytestmark = pytest.mark.kafka


PARTITIONS = 4


async def with_status_topic(installation: Make, **settings: object) -> Installation:
    """Make an installation whose status topic is there before the first worker, and may lose old segments."""
    place = installation(topic_partitions=PARTITIONS, **settings)
    servers, topic = place.bootstrap_servers, place.names.statuses
    await make_topics(servers, PARTITIONS, topic, cleanup_policy="compact,delete")
    return place


def somebody_in(partition: int, nth: int = 0) -> int:
    return supporter_in(partition, PARTITIONS, nth)


async def reasons(place: Installation, numbers: list[int]) -> dict[int, str]:
    """Return the reason of each action's one email."""
    emails = [orjson.loads(record.value) for record in await assert_kept(place, numbers)]
    return {email["actionId"]: email["reason"] for email in emails}


# -- transactions of others on the status topic ------------------------------------------------------------


async def test_the_table_is_whole_whatever_its_topic_s_partitions_end_or_begin_with(
    installation: Make,
) -> None:
    """Last entries that are markers or aborted, an empty partition, deleted beginnings: ready in seconds."""
    place = await with_status_topic(installation)
    topic = place.names.statuses
    committed, aborted = somebody_in(0), somebody_in(0, 1)
    deleted, kept = somebody_in(1), somebody_in(1, 1)
    all_deleted = somebody_in(2)
    async with producing(place.bootstrap_servers, transactional_id=f"{place.group}-crm") as crm:
        for supporter, end in ((committed, crm.commit_transaction), (aborted, crm.abort_transaction)):
            await crm.begin_transaction()
            key, value = status(supporter, True)
            await crm.send_and_wait(topic, value, key=key)
            await end()
    await send(place.bootstrap_servers, topic, [status(deleted, True), status(kept, True)])
    await send(place.bootstrap_servers, topic, [status(all_deleted, True)])
    async with administering(place.bootstrap_servers) as admin:
        for partition in (1, 2):
            await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(1)})
    await ready(place)
    supporters = [committed, aborted, deleted, kept, all_deleted, somebody_in(3)]
    for number, supporter in enumerate(supporters):
        await act(place, [number], supporter=supporter)
    found = await reasons(place, list(range(6)))
    known = [found[number] == "known_subscribed" for number in range(6)]
    assert known == [True, False, False, True, False, False]


async def test_an_open_transaction_on_the_status_topic_holds_letters_up_and_never_halves_the_table(
    installation: Make,
) -> None:
    """Not ready while the transaction of a writer, alive or dead, is open: then the letters are right."""
    place = await with_status_topic(installation, actions_start="earliest")
    topic = place.names.statuses
    servers = place.bootstrap_servers
    written, behind_it = somebody_in(0), somebody_in(0, 1)
    died, behind_the_dead = somebody_in(1), somebody_in(1, 1)
    unaffected = somebody_in(2)
    never = {"transaction_timeout_ms": 600_000}
    async with producing(servers, transactional_id=f"{place.group}-slow", **never) as slow:
        dead = producing(servers, transactional_id=f"{place.group}-dead", **never)
        dying = await dead.__aenter__()
        for crm, supporter in ((slow, written), (dying, died)):
            await crm.begin_transaction()
            key, value = status(supporter, True)
            await crm.send_and_wait(topic, value, key=key)
        await dying.client.close()  # without a word: its transaction stays open
        rows = [status(supporter, True) for supporter in (behind_it, behind_the_dead, unaffected)]
        await send(servers, topic, rows)
        worker = place.worker()
        worker.start()
        supporters = [written, behind_it, died, behind_the_dead, unaffected]
        for number, supporter in enumerate(supporters):
            await act(place, [number], supporter=supporter)
        early = await read(servers, place.names.emails, lambda found: len(found) >= 1, seconds=40)
        assert [orjson.loads(email.value)["actionId"] for email in early] == [4]
        status_code, body = await asyncio.to_thread(worker.get, "/readyz")
        assert status_code == 503
        assert "statuses are being read" in problems(body)[0]
        assert worker.get("/livez")[0] == 200
        await slow.commit_transaction()
        # The dead one's successor: when it starts the broker aborts what was left open.
        async with producing(servers, transactional_id=f"{place.group}-dead"):
            pass
    found = await reasons(place, list(range(5)))
    known = [found[number] == "known_subscribed" for number in range(5)]
    assert known == [True, True, False, True, True]
    await settled(place, lambda: worker.get("/readyz")[0] == 200)


# -- deletions ---------------------------------------------------------------------------------------------


async def test_deleted_offsets_are_a_person_s_decision(installation: Make) -> None:
    """The group is deleted with records unread: alive, not ready, no email, until ACTIONS_START is set."""
    place = installation(topic_partitions=2)
    worker, sent = await mailing(place, range(3))
    assert worker.stop() == 0
    await forget_group(place.bootstrap_servers, place.group)
    sent += await act(place, range(3, 5))
    waiting = place.worker()
    waiting.start()
    await settled(place, lambda: "ACTIONS_START" in waiting.get("/readyz")[1], 40)
    assert waiting.get("/livez")[0] == 200
    await assert_kept(place, sent[:3])
    waiting.kill()
    await ready(place, actions_start="earliest")
    await assert_kept(place, [*sent, *sent[:3]])  # as decided: the whole history again


# -- more partitions ---------------------------------------------------------------------------------------


async def add_partitions(place: Installation, count: int) -> None:
    """Give every topic of `place` `count` partitions."""
    async with administering(place.bootstrap_servers) as admin:
        await admin.create_partitions({name: NewPartitions(count) for name in place.names.all})
    place.settings["TOPIC_PARTITIONS"] = str(count)


async def test_a_partition_that_is_added_starts_at_its_beginning(
    proxy: KafkaProxy, installation: Make
) -> None:
    """Every topic gets a third partition under a running worker: nothing lost, nothing doubled, nor later."""
    place = installation(kafka_bootstrap_servers=proxy.bootstrap_servers, topic_partitions=2)
    worker, sent = await mailing(place, range(10))
    await add_partitions(place, 3)
    sent += await act(place, range(10, 20), partition=2)
    sent += await act(place, range(20, 30))
    await settled(place, lambda: noticed(proxy, worker), 40)
    sent += await act(place, range(30, 40), partition=2)
    sent += await act(place, range(40, 60))
    await assert_kept(place, sent)
    assert worker.stop() == 0
    await ready(place)
    sent += await act(place, range(60, 70))
    await assert_kept(place, sent)


def noticed(proxy: KafkaProxy, worker: WorkerProcess) -> bool:
    """Whether the worker has a second assignment. A cut makes it look at the topics: else after minutes."""
    proxy.cut()
    proxy.heal()
    for _ in range(60):  # it tries to connect again only every second or so
        if "generation id 2" in worker.tail(400):
            return True
        time.sleep(0.1)
    return False


# -- strangers ---------------------------------------------------------------------------------------------


class Stranger(AbstractPartitionAssignor):
    """Goes by the name of the workers' assignor, and assigns what they cannot read."""

    name = "faust"

    @classmethod
    def assign(cls, _cluster: Any, members: Any) -> Any:
        return {member: ConsumerProtocolMemberAssignment(0, [], b"not for you") for member in members}

    @classmethod
    def metadata(cls, topics: Any) -> Any:
        return ConsumerProtocolMemberMetadata(0, list(topics), b"")

    @classmethod
    def on_assignment(cls, assignment: Any) -> None:
        """Take it."""


@pytest.mark.slow
async def test_an_assignment_that_cannot_be_read_ends_the_worker(installation: Make) -> None:
    """Another program leads the group: the worker exits, not with 0, instead of idling for ever."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    assert worker.stop() == 0
    async with AIOKafkaConsumer(
        place.names.actions,
        bootstrap_servers=place.bootstrap_servers,
        group_id=place.group,
        partition_assignment_strategy=[Stranger],
        enable_auto_commit=False,
    ):
        worker.start()
        assert await asyncio.to_thread(worker.wait, 45) != 0
        assert "Unexpected error during coordination" in reason_of(worker)
