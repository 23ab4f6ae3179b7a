"""The end of a log of actions is cut off under a running worker: a person decides, and ids differ."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation, WorkerProcess
from tests.contract.stored import placed
from tests.faults.promises import act, mailing
from tests.integration.steps import Make, command, emails_of, settled
from tests.integration.topics import read_count
from tests.segments import segment

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]
CUT, READ = 6, 10  # offsets of partition 0: where its log ends then, and how far it was read


async def waits(place: Installation, worker: WorkerProcess) -> None:
    """Partition 0 waits for a decision; worker and doctor name it with its offsets and the command."""
    words = f"committed offset {READ} of {place.names.actions}/0 is beyond the end of its log, {CUT}"
    await settled(place, lambda: any(words in each for each in worker.problems()), 60)
    doctor = await command(place, "doctor", "--json")
    assert doctor.exit_code > 0
    assert words in doctor.output
    assert f"streams start-at {place.names.actions} 0 " in doctor.output


async def mailed(place: Installation, count: int) -> list[int]:
    return sorted(email["actionId"] for email in await emails_of(place, count))


async def test_each_action_in_the_place_of_another_gets_a_letter_with_an_id_of_its_own(
    installation: Make,
) -> None:
    """It waits, also when the log is as long as before and after a restart; the other partition goes on."""
    with EmbeddedKafka() as cluster:
        place = installation(cluster, topic_partitions=2)
        actions = place.names.actions
        worker, others = await mailing(place, [])
        lost = await act(place, range(READ), partition=0)
        others += await act(place, range(100, 105), partition=1)
        assert await mailed(place, READ + 5) == sorted(lost + others)

        cluster.kill(1)
        log = segment(cluster, actions)
        batches = [each for _, each in placed(log)]
        assert batches[CUT].first == CUT
        with log.open("r+b") as file:
            file.truncate(batches[CUT].begin)
        await asyncio.to_thread(cluster.restart)
        await waits(place, worker)

        # Others come to the places of those that were cut off, and beyond the committed offset.
        new = await act(place, range(200, 220), partition=0)
        others += await act(place, range(105, 110), partition=1)
        assert await mailed(place, READ + 10) == sorted(lost + others)
        await waits(place, worker)
        assert worker.stop() == 0, worker.tail()
        worker.start()
        await waits(place, worker)
        assert await mailed(place, READ + 10) == sorted(lost + others)

        done = await command(place, "start-at", actions, "0", str(CUT))
        assert done.exit_code == 0, done.output
        assert "in epoch 1" in done.output
        await asyncio.to_thread(worker.wait_ready)
        expected = sorted(lost + others + new)
        assert await mailed(place, len(expected)) == expected
        records = await read_count(place.bootstrap_servers, place.names.emails, len(expected))
        headers = {orjson.loads(each.value)["actionId"]: dict(each.headers) for each in records}
        assert len({each["ce_id"] for each in headers.values()}) == len(expected)
        of_epoch_1 = {n for n, each in headers.items() if each["ce_source"].endswith(b"/0?epoch=1")}
        assert of_epoch_1 == set(new)
        assert worker.stop() == 0, worker.tail()
