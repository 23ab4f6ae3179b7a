"""What the log of the actions has lost is said, and what only a person can decide waits for a person."""

from __future__ import annotations

import asyncio
import json

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from streams.messages.keys import partition_of
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import administering, commit, forget_group
from tests.integration.steps import Make, command, emails_of, ready, settled
from tests.integration.topics import action, keyed, producing, read_count

pytestmark = pytest.mark.kafka


async def act_in(place: Installation, partition: int, *numbers: int) -> None:
    """Put actions on a partition, whatever their keys say: of a topic with one partition, or misplaced."""
    async with producing(place.bootstrap_servers) as producer:
        for number in numbers:
            key, value = keyed(action(number))
            await producer.send_and_wait(place.names.actions, value, key=key, partition=partition)


async def commit_offset(place: Installation, partition: int, offset: int) -> None:
    where = TopicPartition(place.names.actions, partition)
    await commit(place.bootstrap_servers, place.group, {where: OffsetAndMetadata(offset, "")})


async def mailed(place: Installation, count: int) -> list[int]:
    return sorted(email["actionId"] for email in await emails_of(place, count))


async def problems_of(place: Installation) -> str:
    result = await command(place, "doctor", "--json")
    found = [each for each in json.loads(result.stdout) if each["level"] == "problem"]
    assert (result.exit_code > 0) is bool(found)
    return "\n".join(each["text"] + each["remedy"] for each in found)


async def waiting(place: Installation, worker: WorkerProcess, words: str) -> None:
    """Wait until /readyz says that a partition waits for a decision."""
    await settled(place, lambda: any(words in each for each in worker.problems()), 60)


async def test_records_that_were_deleted_unread_are_an_error_and_counted(installation: Make) -> None:
    """The rest is mailed; the log names partition and offsets, and doctor does until a worker goes on."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    await act_in(place, 0, *range(5))
    assert await mailed(place, 5) == [*range(5)]
    assert worker.stop() == 0
    await act_in(place, 0, *range(5, 25))
    where = TopicPartition(place.names.actions, 0)
    async with administering(place.bootstrap_servers) as admin:
        await admin.delete_records({where: RecordsToDelete(15)})
    assert "up to 10 records were deleted" in await problems_of(place)
    worker = await ready(place)
    assert await mailed(place, 15) == [*range(5), *range(15, 25)]
    assert worker.counter("confirmation_actions_lost_total", topic=where.topic, partition="0") == 10
    (line,) = [each for each in worker.log.read_text().splitlines() if '"event":"actions_lost"' in each]
    assert '"level":"error"' in line
    assert "from offset 5 to 14 were deleted" in line
    assert "were deleted" not in await problems_of(place)
    assert worker.stop() == 0


async def test_an_offset_beyond_the_end_of_the_log_waits_for_a_person(installation: Make) -> None:
    """The other partition goes on; /readyz and doctor say why; a command lets it go on, without a restart."""
    place = installation(topic_partitions=2)
    worker = await ready(place)
    own = [n for n in range(60) if _partition(n) == 0][:10]
    others = [n for n in range(60) if _partition(n) == 1][:5]
    await act_in(place, 0, *own[:5])
    assert await mailed(place, 5) == own[:5]
    assert worker.stop() == 0
    await commit_offset(place, 0, 1_000)
    dead_letters = TopicPartition(place.names.dead_letters, 0)
    accepted = json.dumps({"accepted_before": {place.names.actions: 1_000}})
    await commit(place.bootstrap_servers, place.group, {dead_letters: OffsetAndMetadata(0, accepted)})
    await act_in(place, 0, *own[5:])
    await act_in(place, 1, *others)
    worker.start()
    await waiting(place, worker, "committed offset 1,000")
    assert await mailed(place, 10) == sorted(own[:5] + others)
    assert "committed offset 1,000" in (problems := await problems_of(place))
    assert "start-at" in problems
    refused = await command(place, "start-at", place.names.actions, "1", "latest")
    assert refused.exit_code == 2
    assert "does not wait" in refused.stderr
    for wrong in ("now", "11"):
        assert (await command(place, "start-at", place.names.actions, "0", wrong)).exit_code == 2
    done = await command(place, "start-at", place.names.actions, "0", "5")
    assert done.exit_code == 0, done.output
    await asyncio.to_thread(worker.wait_ready)
    assert await mailed(place, 15) == sorted(own + others)
    assert "decision" not in await problems_of(place)
    async with administering(place.bootstrap_servers) as admin:
        decided = await admin.list_consumer_group_offsets(place.group, partitions=[dead_letters])
    assert json.loads(decided[dead_letters].metadata) == {"accepted_before": {place.names.actions: 5}}
    # Offsets from 5 on are in a new epoch: records that were cut off may have had them before.
    records = await read_count(place.bootstrap_servers, place.names.emails, 15)
    of_epoch_1 = {
        orjson.loads(each.value)["actionId"]
        for each in records
        if dict(each.headers)["ce_source"] == f"/{place.names.actions}/0?epoch=1".encode()
    }
    assert of_epoch_1 == set(own[5:])
    audit = await command(place, "audit")
    assert "15 actions, 15 emails, 0 missing, 0 doubled" in audit.output
    assert worker.stop() == 0, worker.tail()


async def test_a_lost_offset_is_not_taken_for_a_new_partition(installation: Make) -> None:
    """Nobody gets a second letter; the partition waits, and goes on at the end when a person says so."""
    place = installation(topic_partitions=2)
    worker = await ready(place)
    own = [n for n in range(60) if _partition(n) == 1][:10]
    await act_in(place, 1, *own[:9])
    assert await mailed(place, 9) == own[:9]
    assert worker.stop() == 0
    await forget_group(place.bootstrap_servers, place.group)
    await commit_offset(place, 0, 0)
    worker.start()
    await waiting(place, worker, f"{place.names.actions}/1 is missing")
    assert "is missing" in await problems_of(place)
    done = await command(place, "start-at", place.names.actions, "1", "latest")
    assert done.exit_code == 0, done.output
    await asyncio.to_thread(worker.wait_ready)
    await act_in(place, 1, own[9])
    assert await mailed(place, 10) == own
    assert worker.stop() == 0, worker.tail()


def _partition(number: int) -> int:
    """The partition that an action belongs to: there it is not moved."""
    return partition_of(keyed(action(number))[0], 2)
