"""A rolling upgrade from an older version, and the roll-back, while actions flow."""

import asyncio
import io
import os
import random
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from streams.sandbox.lookup_service import LookupService, subscribed
from streams.sandbox.worker import SOURCE, Installation, WorkerProcess
from tests.integration.steps import Make, command, settled, started
from tests.integration.topics import action, keyed, read_count, send, status

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

#: The version that is upgraded, as it was once installed.
OLD = "8305916"
#: A counter that the older version does not have.
_NEW_COUNTER = "confirmation_store_set_aside_total"
KNOWN = 2_000
RATE = 400  # actions a second
ACTIONS = 40_000


@pytest.fixture(scope="module")
def old_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The older version's package, in a folder of its own. Its dependencies are the same as ours."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", OLD, "streams"], cwd=SOURCE, capture_output=True, check=False
    )
    if archive.returncode != 0:
        pytest.skip(f"commit {OLD} is not in this clone: git fetch --unshallow")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return folder


async def answer_out_of_order(question: dict[str, Any]) -> web.StreamResponse:
    """Answer within 0.9 s, so that many offsets are settled beyond one that is not."""
    await asyncio.sleep(0.9 * random.Random(question["contactRef"]).random())
    return await subscribed(question)


async def run_from(source: Path, worker: WorkerProcess) -> None:
    """Start a worker of another version in its old folder."""
    elsewhere = [path for path in worker.environ["PYTHONPATH"].split(os.pathsep)[1:] if path]
    worker.environ = {**worker.environ, "PYTHONPATH": os.pathsep.join([str(source), *elsewhere])}
    await started(worker)
    assert (_NEW_COUNTER in worker.get("/metrics")[1]) is (source == SOURCE), (
        "it is the version that is meant"
    )


async def test_upgrade_and_roll_back_under_load_lose_and_double_nothing(
    installation: Make, admin: AIOKafkaAdminClient, old_source: Path
) -> None:
    """Each action has one email, and each known supporter's status is found in the folder or restored."""
    with LookupService(answer_out_of_order) as lookup:
        place = installation(store="rocksdb", lookup_url=lookup.url, lookup_deadline=2)
        workers = [place.worker(), place.worker()]
        for worker in workers:
            await run_from(old_source, worker)
        servers, names = place.bootstrap_servers, place.names
        await send(servers, names.statuses, [status(n, n % 2 == 0) for n in range(KNOWN)])
        applied = "confirmation_statuses_total"
        await settled(
            place, lambda: sum(each.counter(applied, result="applied") for each in workers) == KNOWN, 60
        )
        # Nine of ten are of known supporters; every tenth has to be looked up.
        feeding = asyncio.create_task(
            send(
                servers,
                names.actions,
                [keyed(action(n, supporter=n % KNOWN if n % 10 else 1_000_000 + n)) for n in range(ACTIONS)],
                rate=RATE,
            )
        )
        found_runs = []
        for source in (SOURCE, old_source):
            first, second = workers
            assert await asyncio.to_thread(first.stop) == 0, first.tail()
            await run_from(source, first)
            second.kill()
            found_runs.append(await runs(admin, place))
            await run_from(source, second)
            assert not feeding.done(), "actions must flow meanwhile"
        await feeding
        records = await read_count(servers, names.emails, ACTIONS, seconds=120)
        emails = [orjson.loads(record.value) for record in records]
        counts = Counter(email["actionId"] for email in emails)
        missing = [number for number in range(ACTIONS) if number not in counts]
        doubled = [number for number, count in counts.items() if count > 1]
        assert (missing, doubled) == ([], [])
        assert all(found_runs), "the other version finds offsets that are settled out of order"
        unknown = [email["actionId"] for email in emails if email["actionId"] % 10 and email["lookup"]]
        assert unknown == []
        for worker in workers:
            assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    audited = await command(place, "audit")
    assert audited.exit_code == 0, audited.output


async def runs(admin: AIOKafkaAdminClient, place: Installation) -> int:
    """In how many partitions the group's commit lists settled offsets beyond the committed one."""
    partitions = [TopicPartition(place.names.actions, number) for number in range(4)]
    found = await admin.list_consumer_group_offsets(place.group, partitions=partitions)
    return sum(bool(offset.metadata) for offset in found.values())
