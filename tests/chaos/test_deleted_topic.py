"""Somebody deletes the emails topic under a running worker, and makes it again."""

import asyncio
from collections import Counter

import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.sandbox.worker import problems
from tests.chaos.roles import Roles, until
from tests.integration.steps import Make, ready
from tests.integration.topics import action, keyed, read_count, send

pytestmark = pytest.mark.kafka

PARTITIONS = 4
TIMEOUT = 2  # seconds, of transactions


async def test_a_deleted_emails_topic_lets_no_commit_pass_and_loses_nothing(
    admin: AIOKafkaAdminClient, installation: Make
) -> None:
    """While it is gone nothing is acknowledged, and the worker says why; made again, each gets one email."""
    place = installation(transaction_timeout=TIMEOUT, lookup_deadline=0.25)
    worker = await ready(place)
    servers, names, roles = place.bootstrap_servers, place.names, Roles(place.bootstrap_servers)
    await send(servers, names.actions, [keyed(action(number)) for number in range(100)])
    assert len(await read_count(servers, names.emails, 100)) == 100

    async def all_committed(count: int) -> bool:
        return sum((await roles.committed(place.group, names.actions, PARTITIONS)).values()) == count

    await until("the first emails are committed", lambda: all_committed(100), 10)
    await admin.delete_topics([names.emails])
    later = range(100, 200)
    await send(servers, names.actions, [keyed(action(number)) for number in later])

    async def says_why() -> bool:
        if not worker.running:
            return worker.wait() != 0
        code, body = await asyncio.to_thread(worker.get, "/readyz")
        return code == 503 and any("cannot commit" in each for each in problems(body))

    await until("the worker says why, or ends", says_why, 10 * TIMEOUT)
    assert await all_committed(100)
    response = await admin.create_topics([NewTopic(names.emails, PARTITIONS, 1)])
    assert response.topic_errors[0][1] == 0
    if not worker.running:
        worker.start()
    found = await read_count(servers, names.emails, len(later))
    assert Counter(orjson.loads(each.value)["actionId"] for each in found) == Counter(later)
    await until("the rest is committed", lambda: all_committed(200), 20)
