"""Batches that nobody can read: they stop their own partition, until a person goes on without them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer

from streams.actions.dead_letter import read_dead_letter_headers
from streams.actions.rekeying import REKEYED_FROM
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import happens, make_topics
from tests.integration.steps import Make, command, emails_of, ready
from tests.integration.topics import action, keyed, producing, read_count, send, status
from tests.segments import damage, flip_last, no_length, segment, wrong_length

pytestmark = pytest.mark.kafka


async def put(
    place: Installation,
    topic: str,
    rows: list[tuple[bytes, bytes]],
    partition: int = 0,
    headers: list[tuple[str, bytes]] | None = None,
) -> None:
    """Write rows to one partition, as one batch."""
    async with producing(place.bootstrap_servers) as producer:
        batch = producer.create_batch()
        for key, value in rows:
            batch.append(timestamp=None, key=key, value=value, headers=headers or [])
        batch.close()
        await (await producer.send_batch(batch, topic, partition=partition))


def actions(*numbers: int) -> list[tuple[bytes, bytes]]:
    return [keyed(action(number)) for number in numbers]


async def stopped(worker: WorkerProcess, partition: int) -> str:
    """Wait until a partition has stopped; return the reason, as /readyz says it."""

    def reason() -> str | None:
        return next((why for why in worker.problems() if f"partition {partition} stopped: " in why), None)

    return str(await happens(lambda: asyncio.to_thread(reason), 60))


async def letters(place: Installation, count: int) -> list[dict[str, str]]:
    """Read the dead letters' headers."""
    records = await read_count(place.bootstrap_servers, place.names.dead_letters, count)
    for record in records:
        assert (record.key, record.value) == (None, None)
        assert read_dead_letter_headers(record.headers).error_class == "unreadable"
    return [{name: value.decode() for name, value in record.headers} for record in records]


async def numbers(place: Installation, count: int) -> list[int]:
    return sorted(email["actionId"] for email in await emails_of(place, count))


async def test_a_damaged_batch_stops_its_partition_alone_until_a_person_passes_over_it(
    installation: Make, kafka: EmbeddedKafka
) -> None:
    """Others go on; page, doctor and audit name the place; one dead letter stands for it; no restart."""
    place = installation(topic_partitions=2, dead_letter_ceiling=1)
    topic = place.names.actions
    await make_topics(place.bootstrap_servers, 2, topic)
    for batch in (actions(0, 1), actions(2, 3, 4), actions(5, 6)):
        await put(place, topic, batch)
    assert damage(segment(kafka, topic), 1, flip_last)[:2] == (2, 4)
    worker = place.worker(actions_start="earliest")
    worker.start()
    why = "its checksum (CRC-32C) is wrong"
    sentence = f"the records at offsets 2 to 4 of {topic}/0 cannot be read: {why}"
    said = await stopped(worker, 0)
    assert sentence in said
    assert f"`streams dead-letters accept {topic} 0 5`" in said
    await put(place, topic, actions(7, 8), partition=1)
    assert await numbers(place, 4) == [0, 1, 7, 8]
    assert worker.get("/livez")[0] == 200
    assert sentence in worker.get("/live")[1]
    doctor = await command(place, "doctor")
    assert doctor.exit_code > 0
    assert sentence in doctor.stdout
    audit = await command(place, "audit")
    assert audit.exit_code == 1, audit.output
    assert f"unreadable: {sentence}" in audit.stdout
    assert "6 actions, 4 emails, 0 missing, 0 doubled" in audit.stdout
    done = await command(place, "dead-letters", "accept", topic, "0", "5")
    assert done.exit_code == 0, done.output
    assert await numbers(place, 6) == [0, 1, 5, 6, 7, 8]
    (letter,) = await letters(place, 1)
    assert letter == {
        "__streams.errors.topic": topic,
        "__streams.errors.partition": "0",
        "__streams.errors.offset": "2",
        "__streams.errors.exception": "unreadable",
        "errors.json-path": "$",
        "errors.last-offset": "4",
        "errors.reason": why,
    }
    await asyncio.to_thread(worker.wait_ready)
    assert worker.counter("confirmation_dead_letters_total", error_class="unreadable") == 1
    audit = await command(place, "audit")
    assert audit.exit_code == 0, audit.output
    assert sentence not in (await command(place, "doctor")).stdout
    retry = await command(place, "dead-letters", "retry")
    assert "cannot be retried: 0/0: nobody could read its records" in retry.output


@pytest.mark.parametrize("how", [wrong_length, pytest.param(no_length, marks=pytest.mark.slow)])
async def test_a_decision_survives_a_restart(
    installation: Make, kafka: EmbeddedKafka, how: Callable[[bytearray], None]
) -> None:
    """Who begins at a damaged batch stops there, even if the broker does not send it; then goes on."""
    place = installation(topic_partitions=1)
    topic = place.names.actions
    await ready(place)
    assert await asyncio.to_thread(place.workers[0].stop) == 0
    await put(place, topic, actions(0, 1, 2, 3))
    worker = await ready(place)
    assert await numbers(place, 4) == [0, 1, 2, 3]
    assert await asyncio.to_thread(worker.stop) == 0
    await put(place, topic, actions(4, 5))
    await put(place, topic, actions(6))
    assert damage(segment(kafka, topic), 1, how)[:2] == (4, 5)
    worker = place.worker()
    worker.start()
    assert "offsets 4 to 5" in await stopped(worker, 0)
    assert "offsets 4 to 5" in (await command(place, "doctor")).stdout
    assert await asyncio.to_thread(worker.stop) == 0
    assert (await command(place, "dead-letters", "accept", topic, "0", "6")).exit_code == 0
    await ready(place)
    assert await numbers(place, 5) == [0, 1, 2, 3, 6]
    assert len(await letters(place, 1)) == 1


async def test_a_batch_that_would_fill_the_memory_stops_its_partition_alone(installation: Make) -> None:
    """300 MiB of blanks in a batch of 306 kB: the worker stays small, and its other emails leave."""
    place = installation(topic_partitions=2, dead_letter_ceiling=1)
    topic = place.names.actions
    worker = await ready(place)
    small = peak_mib(worker)
    key, value = keyed(action(1))
    await send_bomb(place, topic, key, b" " * (300 << 20) + value)
    assert "cannot be read: it does not inflate to at most 64 MiB" in await stopped(worker, 0)
    assert peak_mib(worker) - small < 150
    await put(place, topic, actions(2), partition=1)
    await put(place, topic, actions(3))
    assert await numbers(place, 1) == [2]
    assert (await command(place, "dead-letters", "accept", topic, "0", "1")).exit_code == 0
    assert await numbers(place, 2) == [2, 3]
    (letter,) = await letters(place, 1)
    assert letter["errors.reason"] == "it does not inflate to at most 64 MiB"


async def send_bomb(place: Installation, topic: str, key: bytes, value: bytes) -> None:
    """Write one record to partition 0, compressed."""
    async with AIOKafkaProducer(
        bootstrap_servers=place.bootstrap_servers,
        compression_type="gzip",
        max_request_size=len(value) + (1 << 20),
        max_batch_size=len(value) + (1 << 20),
        request_timeout_ms=120_000,
    ) as producer:
        await producer.send_and_wait(topic, value, key=key, partition=0)


def peak_mib(worker: WorkerProcess) -> float:
    """The most memory that a process has had, in MiB."""
    with open(f"/proc/{worker.pid}/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


@pytest.mark.slow
async def test_a_batch_of_re_keyed_actions_stops_their_partition(
    installation: Make, kafka: EmbeddedKafka
) -> None:
    """The actions of the partition of the same number go on."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    topic = place.names.rekeyed
    assert await asyncio.to_thread(worker.stop) == 0
    for number in range(2):
        await put(place, topic, actions(number), headers=[(REKEYED_FROM, b"0/%d" % (100 + number))])
    damage(segment(kafka, topic), 0, flip_last)
    await put(place, place.names.actions, actions(7))
    worker.start()
    said = await stopped(worker, 0)
    assert f"the record at offset 0 of {topic}/0 cannot be read" in said
    assert await numbers(place, 1) == [7]
    assert (await command(place, "doctor")).exit_code > 0
    assert (await command(place, "dead-letters", "accept", topic, "0", "1")).exit_code == 0
    assert await numbers(place, 2) == [1, 7]
    assert [letter["__streams.errors.topic"] for letter in await letters(place, 1)] == [topic]


async def test_a_damaged_batch_of_statuses_is_a_dead_letter_and_reading_goes_on(
    installation: Make, kafka: EmbeddedKafka
) -> None:
    """One bad batch stops no email: what comes behind it is known, what was in it is asked for."""
    place = installation(topic_partitions=1)
    topic = place.names.statuses
    await make_topics(place.bootstrap_servers, 1, topic, cleanup_policy="compact")
    for number in range(3):
        await put(place, topic, [status(number, True)])
    damage(segment(kafka, topic), 1, flip_last)
    await ready(place)
    await send(place.bootstrap_servers, place.names.actions, actions(0, 1, 2))
    found = {email["actionId"]: email["reason"] for email in await emails_of(place, 3)}
    assert found == {0: "known_subscribed", 1: "no_lookup", 2: "known_subscribed"}
    (letter,) = await letters(place, 1)
    assert (letter["__streams.errors.topic"], letter["__streams.errors.offset"]) == (topic, "1")


async def test_a_damaged_batch_of_the_changelog_makes_no_wrong_letter(
    installation: Make, kafka: EmbeddedKafka
) -> None:
    """It has replaced a row: the older one does not hold any more, and the supporter gets two buttons."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    topic = place.names.changelog
    for as_of, subscribed in (("2026-11-20T10:00:00Z", True), ("2026-11-21T10:00:00Z", False)):
        await send(place.bootstrap_servers, place.names.statuses, [status(1, subscribed, as_of=as_of)])
        await read_count(place.bootstrap_servers, topic, 1 if subscribed else 2)
    await send(place.bootstrap_servers, place.names.statuses, [status(2, True)])
    await read_count(place.bootstrap_servers, topic, 3)
    assert await asyncio.to_thread(worker.stop) == 0
    damage(segment(kafka, topic), 1, flip_last)
    worker.start()
    await asyncio.to_thread(worker.wait_ready)
    await send(place.bootstrap_servers, place.names.actions, actions(1, 2))
    found = {email["actionId"]: email["reason"] for email in await emails_of(place, 2)}
    assert found == {1: "no_lookup", 2: "known_subscribed"}
    assert "unreadable_batch" in worker.tail(10_000)


@pytest.mark.slow
async def test_an_email_that_nobody_can_read_is_not_missing(installation: Make, kafka: EmbeddedKafka) -> None:
    """The audit says that it cannot know, and `streams resend` writes no second one."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    for number in range(3):
        await send(place.bootstrap_servers, place.names.actions, actions(number))
        await numbers(place, number + 1)
    assert await asyncio.to_thread(worker.stop) == 0
    topic = place.names.emails
    damage(segment(kafka, topic), 2, flip_last)
    audit = await command(place, "audit")
    assert audit.exit_code == 1
    assert f"of {topic}/0 cannot be read" in audit.stdout
    assert "3 actions, 2 emails, 0 missing, 0 doubled" in audit.stdout
    assert "nothing to resend" in (await command(place, "resend", "--yes")).stdout
