"""The disk of the only broker is full while transactions are open: what mailers read, and what they send."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.kafka.errors import BrokerFailed
from tests.chaos.reading import ends
from tests.clients import happens, make_topics
from tests.faults.kafka_proxy import Api, HoldRequest, KafkaProxy
from tests.faults.promises import act, mailing, supporter_in
from tests.integration.steps import Make, Probes, settled
from tests.integration.topics import action, keyed, producing, read, send
from tests.mailer.processes import Mailbox, MailerProcess
from tests.small_disk import fill, mount, unmount

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]
PARTITIONS = 4
DISK = 64  # MiB
TIMEOUT = 10  # seconds, of transactions
BALLAST, UNCOMMITTED = "ballast", "read_uncommitted"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a disk of its own."""
    folder = tmp_path / "kafka"
    folder.mkdir()
    if not mount(folder, DISK):
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    unmount(folder)


async def halts(cluster: EmbeddedKafka) -> None:
    """Write to the full disk until the broker has ended by itself."""

    async def write() -> None:
        # More than what is free on the pages that the segments have already.
        with suppress(KafkaError):
            async with producing(cluster.bootstrap_servers, request_timeout_ms=1_000) as producer:
                await producer.send_and_wait(BALLAST, bytes(200_000))

    def ended() -> bool:
        try:
            cluster.check()
        except BrokerFailed:
            return True
        return False

    writing = asyncio.create_task(write())
    await happens(ended, 60)
    await writing


async def uncommitted(servers: str, topic: str) -> list[Any]:
    """Read all that is on a topic whose partitions all end with a record."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    last = {place.partition: end - 1 for place, end in (await ends(servers, places, UNCOMMITTED)).items()}
    return await read(
        servers,
        topic,
        lambda found: {record.partition: record.offset for record in found} == last,
        isolation_level=UNCOMMITTED,
    )


def numbers(records: list[Any]) -> Counter[int]:
    return Counter(orjson.loads(record.value)["actionId"] for record in records)


async def test_what_comes_twice_has_one_id_and_gets_one_letter(
    installation: Make, small_disk: Path, tmp_path: Path
) -> None:
    """None is missing; twice come at most the emails of the transactions that were open at the halt."""
    with EmbeddedKafka(folder=small_disk) as cluster, KafkaProxy(cluster.bootstrap_servers) as proxy:
        servers = cluster.bootstrap_servers
        place = installation(
            cluster,
            kafka_bootstrap_servers=proxy.bootstrap_servers,
            transaction_timeout=TIMEOUT,
            topic_partitions=PARTITIONS,
        )
        emails = place.names.emails
        worker, sent = await mailing(place, range(20))
        await make_topics(servers, 1, BALLAST)

        # In each partition a transaction is open, with all its emails on the disk.
        ending = proxy.add(Api.END_TXN, HoldRequest(), times=None)
        burst = range(20, 120)
        await send(servers, place.names.actions, [keyed(action(number)) for number in burst])
        sent += burst
        await happens(lambda: ending.hits == PARTITIONS)
        in_open = set(numbers(await uncommitted(servers, emails))) & set(burst)
        assert len(in_open) >= PARTITIONS

        ballast = fill(small_disk)
        await halts(cluster)
        probes = Probes()
        await probes.watch(worker, TIMEOUT + 1)
        assert probes.livez == {200}
        ballast.unlink()
        proxy.clear()
        await asyncio.to_thread(cluster.restart)
        sent += await act(place, range(120, 140))
        await settled(place, lambda: worker.get("/readyz")[0] == 200, 60)

        records = await read(servers, emails, lambda found: set(numbers(found)) >= set(sent))
        found = numbers(records)
        assert set(found) == set(sent), set(sent) - set(found)
        twice = {number for number, count in found.items() if count > 1}
        assert max(found.values()) <= 2
        assert twice <= in_open
        ids: defaultdict[int, set[bytes]] = defaultdict(set)
        for record in records:
            ids[orjson.loads(record.value)["actionId"]].add(dict(record.headers)["ce_id"])
        assert all(len(each) == 1 for each in ids.values())
        assert len(set.union(*ids.values())) == len(sent)

        # Kafka may mend this one day: the mailer is shown a record of each partition twice in any case.
        async with producing(servers) as producer:
            for record in {record.partition: record for record in records}.values():
                again = {"key": record.key, "partition": record.partition, "headers": list(record.headers)}
                await producer.send_and_wait(emails, record.value, **again)
        for partition in range(PARTITIONS):  # a mailer that has sent these has read all before them
            sent += await act(place, [1_000 + partition], partition=partition)
        with Mailbox() as mailbox, MailerProcess(servers, emails, mailbox.port, tmp_path) as mailer:
            last = {f"s{supporter_in(partition, PARTITIONS)}@example.org" for partition in range(PARTITIONS)}
            await asyncio.to_thread(mailer.until, lambda: last <= set(mailbox.received()))
            assert mailer.end(signal.SIGTERM) == 0
            assert mailbox.received().total() == len(sent)
            assert set(mailbox.received().values()) == {1}
        assert worker.stop() == 0, worker.tail()
