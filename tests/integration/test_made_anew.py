"""The topic of the actions is made again under a running worker: a person decides, and ids differ."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import happens
from tests.integration.steps import Make, act, command, emails_of, ready, settled, started
from tests.integration.topics import action, read_count
from tests.mailer.processes import Mailbox, MailerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
PARTITIONS = 4
OLD, NEW = range(50), range(50, 130)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    made.start()
    yield made
    made.stop()


async def make(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Make a topic as soon as the one that was deleted is gone."""

    async def made() -> bool:
        response = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        return bool(response.topic_errors[0][1] == 0)

    await happens(made)


async def all_wait(place: Installation, worker: WorkerProcess, *, mailed: int) -> None:
    """Each partition waits for a decision, named with its command, and so long nobody is mailed."""
    commands = [f"streams start-at {place.names.actions} {number} " for number in range(PARTITIONS)]

    def asks() -> bool:
        problems = worker.problems()
        return all(
            any("was deleted and made again" in each and at in each for each in problems) for at in commands
        )

    await settled(place, asks, 30)
    doctor = await command(place, "doctor", "--json")
    assert doctor.exit_code > 0
    assert all(each in doctor.output for each in commands)
    assert len(await emails_of(place, mailed)) == mailed


async def decide(place: Installation, where: str = "earliest") -> None:
    for number in range(PARTITIONS):
        done = await command(place, "start-at", place.names.actions, str(number), where)
        assert done.exit_code == 0, done.output
        assert "in epoch 1" in done.output


async def audit(place: Installation) -> dict[str, Any]:
    found = await command(place, "audit", "--json")
    assert found.exit_code == 0, found.output
    return dict(orjson.loads(found.stdout))


async def test_each_action_of_the_new_topic_gets_a_letter(
    kafka: EmbeddedKafka, admin: AIOKafkaAdminClient, installation: Make, mailbox: Mailbox, tmp_path: Path
) -> None:
    """Not ready while it is gone, nor before a decision; then 80 letters, though offsets come twice."""
    place = installation()
    worker = await ready(place)
    mailer = MailerProcess(kafka.bootstrap_servers, place.names.emails, mailbox.port, tmp_path)
    mailer.start()
    try:
        await act(place, *map(action, OLD))
        await asyncio.to_thread(mailer.until, lambda: len(mailbox.letters) == len(OLD))
        await admin.delete_topics([place.names.actions])
        gone = f"topic {place.names.actions} is not there"
        await settled(place, lambda: any(gone in each for each in worker.problems()), 20)
        await make(admin, place.names.actions)
        await act(place, *map(action, NEW))
        await all_wait(place, worker, mailed=len(OLD))
        await decide(place)
        await asyncio.to_thread(worker.wait_ready)
        emails = await emails_of(place, len(OLD) + len(NEW))
        assert sorted(each["actionId"] for each in emails) == [*OLD, *NEW]
        assert len({each["id"] for each in emails}) == len(emails)
        await asyncio.to_thread(mailer.until, lambda: len(mailbox.letters) >= len(emails))
        found = await audit(place)
        assert [found[each] for each in ("emails", "earlier_log", "foreign", "unattributed")] == [
            80,
            50,
            0,
            0,
        ]
        assert mailer.end(signal.SIGTERM) == 0
        assert len(mailbox.letters) == len(emails)
        assert set(mailbox.received().values()) == {1}
    finally:
        mailer.kill()
    assert worker.stop() == 0, worker.tail()


async def test_made_again_at_once_nobody_is_mailed_before_the_decision(
    admin: AIOKafkaAdminClient, installation: Make
) -> None:
    """The client sees the same topic as before, the worker another id. Restarts keep the epoch."""
    place = installation()
    worker = await ready(place)
    await act(place, *map(action, OLD))
    assert len(await emails_of(place, len(OLD))) == len(OLD)
    await admin.delete_topics([place.names.actions])
    await make(admin, place.names.actions)
    await act(place, *map(action, NEW))
    await all_wait(place, worker, mailed=len(OLD))
    assert worker.stop() == 0, worker.tail()
    await started_and_waiting(place, worker)
    await decide(place)
    await asyncio.to_thread(worker.wait_ready)
    assert len(await emails_of(place, 130)) == 130
    assert worker.stop() == 0, worker.tail()
    await started(worker)
    await act(place, *map(action, range(130, 140)))
    records = await read_count(place.bootstrap_servers, place.names.emails, 140)
    emails = {orjson.loads(record.value)["actionId"]: dict(record.headers) for record in records}
    assert sorted(emails) == [*range(140)]
    assert len({headers["ce_id"] for headers in emails.values()}) == len(records) == 140
    sources = {number: headers["ce_source"].endswith(b"?epoch=1") for number, headers in emails.items()}
    assert sources == {number: number >= 50 for number in range(140)}
    found = await audit(place)
    assert [found[each] for each in ("emails", "earlier_log", "foreign", "unattributed")] == [90, 50, 0, 0]
    assert worker.stop() == 0, worker.tail()


async def started_and_waiting(place: Installation, worker: WorkerProcess) -> None:
    """A worker that starts meanwhile waits for the same decision."""
    worker.start()
    await settled(place, lambda: any("a decision" in each for each in worker.problems()), 60)
