"""The table is restored from its changelog row by row, whatever lies in there and whatever happens."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from faust.stores.rocksdb import RocksDBOptions, Store

from streams.sandbox.errors import ProcessFailed
from streams.sandbox.worker import Installation, WorkerProcess
from streams.statuses.row import Row, encode_row
from tests.clients import administering, happens, make_topics
from tests.integration.steps import Make, act, learn, ready, reasons, started
from tests.integration.topics import action, send, status

pytestmark = pytest.mark.kafka

ROWS, PARTITIONS, ACTIONS = 20_000, 4, 200


async def read_changelog(servers: str, topic: str) -> list[Any]:
    """All that is committed in the changelog, up to its high watermarks, in the order of each partition."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    # Two readers: the ends that a read_committed one is told stop short of an open transaction.
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed")
    everything = AIOKafkaConsumer(bootstrap_servers=servers)
    async with consumer, everything:
        ends = await everything.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        found: list[Any] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found += records
        return found


def folded(changelog: list[Any], partition: int, contained: int) -> dict[bytes, bytes]:
    """The rows that a changelog's partition comes to, up to and with an offset."""
    rows = {r.key: r.value for r in changelog if r.partition == partition and r.offset <= contained}
    return {key: value for key, value in rows.items() if value is not None}


def stores(folder: Path, worker: WorkerProcess) -> dict[int, tuple[int, dict[bytes, bytes]]]:
    """By partition what a stopped worker has on its disk: the offset it contains, and its rows."""
    found = {}
    for path in (folder / worker.log.stem).rglob("supporter-status-*.db"):
        rows = dict(RocksDBOptions(use_rocksdict=True, block_cache_size=1 << 20).open(path).items())
        offset = rows.pop(Store.offset_key, None)
        found[int(path.stem.rpartition("-")[2])] = (-1 if offset is None else int(offset), rows)
    return found


async def as_the_changelog_has_it(
    place: Installation, folder: Path, *workers: WorkerProcess
) -> list[set[int]]:
    """Compare each store with the changelog row by row; return each worker's partitions that are complete."""
    changelog = await read_changelog(place.bootstrap_servers, place.names.changelog)
    last = dict.fromkeys(range(PARTITIONS), -1)
    for record in changelog:
        last[record.partition] = max(last[record.partition], record.offset)
    complete = []
    for worker in workers:
        found = stores(folder, worker)
        for partition, (contained, rows) in found.items():
            assert rows == folded(changelog, partition, contained), (partition, contained)
        complete.append({partition for partition, (at, _) in found.items() if at >= last[partition]})
    return complete


async def restoring(worker: WorkerProcess, times: int = 1) -> None:
    """Wait until the worker has begun so many recoveries that have something to restore."""
    message = '"message":"restoring the table'
    await happens(lambda: worker.log.read_text(errors="replace").count(message) >= times, 60)


async def filled(place: Installation) -> WorkerProcess:
    """Let a worker learn 20,000 statuses and forget 4,000 of them; stop it."""
    worker = await ready(place)
    known = [status(number, number % 2 == 0) for number in range(ROWS)]
    gone = [(key, None) for key, _ in known[::5]]
    newer = [status(number, number % 3 == 0, as_of="2026-11-24T11:00:00Z") for number in range(1, ROWS, 7)]
    await learn(place, [*known, *gone, *newer])
    assert worker.stop() == 0, worker.tail()
    return worker


async def test_what_is_restored_is_what_the_changelog_comes_to(installation: Make, tmp_path: Path) -> None:
    """Warm and cold, with tombstones, gaps, markers at the ends and a lost beginning: every row is right."""
    place = installation(store="rocksdb")
    worker = await filled(place)
    servers, changelog = place.bootstrap_servers, place.names.changelog
    assert await as_the_changelog_has_it(place, tmp_path, worker) == [{0, 1, 2, 3}]

    yes, no = encode_row(Row(True, 1.0)), encode_row(Row(False, 1.0))
    producer = AIOKafkaProducer(bootstrap_servers=servers, transactional_id=f"{place.group}-stranger")
    async with producer:
        for number in range(3):
            async with (
                producer.transaction()
            ):  # three markers among the rows of partition 0, the last one at its end
                await producer.send(changelog, yes, b"310:committed-%d" % number, partition=0)
        await producer.begin_transaction()
        await producer.send(changelog, yes, b"310:aborted", partition=1)
        await producer.flush()
        await producer.abort_transaction()
        await started(worker)
        assert worker.stop() == 0, worker.tail()
        warm = stores(tmp_path, worker)
        assert warm[0][1][b"310:committed-2"] == yes
        assert b"310:aborted" not in warm[1][1]
        assert await as_the_changelog_has_it(place, tmp_path, worker) == [{0, 1, 2, 3}]

        await lose_the_beginning(servers, changelog, 3)
        await producer.begin_transaction()
        await producer.send_and_wait(changelog, no, b"310:open", partition=2)
        await send_plain(servers, changelog, 2, b"310:behind-it", no)
        cold = place.worker()
        cold.start()
        await restoring(cold)
        with pytest.raises(ProcessFailed, match="not ready"):  # the transaction holds it up
            cold.wait_ready(1.0)
        await producer.commit_transaction()
    cold.wait_ready()
    assert cold.stop() == 0, cold.tail()
    assert await as_the_changelog_has_it(place, tmp_path, cold) == [{0, 1, 2, 3}]
    found = stores(tmp_path, cold)
    assert {b"310:open", b"310:behind-it"} <= found[2][1].keys()
    assert sum(len(rows) for _, rows in found.values()) > ROWS / 2


async def lose_the_beginning(servers: str, topic: str, partition: int) -> None:
    """Delete the first 1,000 records of a partition, as a topic's retention does that was once set."""
    async with administering(servers) as admin:
        for policy in ("delete", "compact"):
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": policy})
            await admin.alter_configs([resource])
            if policy == "delete":
                place = TopicPartition(topic, partition)
                await admin.delete_records({place: RecordsToDelete(before_offset=1_000)})


async def send_plain(servers: str, topic: str, partition: int, key: bytes, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(topic, value, key, partition=partition)


@pytest.mark.slow
async def test_neither_a_kill_nor_rebalances_in_a_recovery_lose_a_row(
    installation: Make, tmp_path: Path
) -> None:
    """A worker is killed, another joins, while they restore: each store is the changelog up to its offset."""
    place = installation(store="rocksdb", chunk_records=50)
    await with_changelog(place)
    victim, other = place.worker(), place.worker()
    victim.start()
    await restoring(victim)
    victim.kill()
    await as_the_changelog_has_it(place, tmp_path, victim)
    other.start()
    victim.start()  # the group changes again while they restore
    other.wait_ready()
    victim.wait_ready()
    assert other.stop() == 0, other.tail()
    complete = await as_the_changelog_has_it(place, tmp_path, other)
    assert len(complete[0]) >= PARTITIONS // 2
    await until_it_has_all(victim)
    assert victim.stop() == 0, victim.tail()
    assert await as_the_changelog_has_it(place, tmp_path, victim) == [{0, 1, 2, 3}]


async def test_members_that_join_and_leave_during_a_recovery_harm_nobody(
    installation: Make, tmp_path: Path
) -> None:
    """Each time the first worker begins its recovery anew; in the end every action has its email, once."""
    place = installation(store="rocksdb", chunk_records=50)
    await with_changelog(place)
    first, guest, second = place.worker(), place.worker(), place.worker()
    producer = AIOKafkaProducer(
        bootstrap_servers=place.bootstrap_servers,
        transactional_id=f"{place.group}-stranger",
        transaction_timeout_ms=600_000,
    )
    async with producer, producer.transaction():
        # Nobody restores what is behind an open transaction: all that follows happens during a recovery.
        for partition in range(PARTITIONS):
            await producer.send(place.names.changelog, None, b"310:nobody", partition=partition)
        await producer.flush()
        first.start()
        await restoring(first)
        await act(place, *map(action, range(ACTIONS)))
        guest.start()
        await restoring(guest)
        await restoring(first, 2)
        assert await asyncio.to_thread(guest.stop) == 0, guest.tail()
        await restoring(first, 3)
        second.start()
        await restoring(second)
        await restoring(first, 4)
    assert set(await reasons(place, ACTIONS)) == set(range(ACTIONS))
    for worker in (first, second):
        worker.wait_ready()
        assert worker.stop() == 0, worker.tail()
    await as_the_changelog_has_it(place, tmp_path, first, guest, second)


async def until_it_has_all(worker: WorkerProcess) -> None:
    """Wait until the worker has the lanes of all partitions and is ready."""
    lane = "\nconfirmation_lane_unsettled_actions{"
    await happens(lambda: worker.get("/metrics")[1].count(lane) == 2 * PARTITIONS)
    await asyncio.to_thread(worker.wait_ready)


async def with_changelog(place: Installation) -> None:
    """Make the changelog of a group that never ran, of 20,000 rows, a fifth of them forgotten."""
    await make_topics(place.bootstrap_servers, PARTITIONS, place.names.changelog, cleanup_policy="compact")
    rows = [(b"310:ref%08d" % number, encode_row(Row(number % 2 == 0, 1.0))) for number in range(ROWS)]
    await send(
        place.bootstrap_servers, place.names.changelog, [*rows, *((key, None) for key, _ in rows[::5])]
    )
