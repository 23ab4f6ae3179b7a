"""Actions that lie in the wrong partition, and partitions that stop."""

import asyncio
import uuid
from typing import Any

import orjson
import pytest

from streams.messages.email import NAMESPACE
from streams.sandbox.worker import WorkerProcess
from tests.clients import happens
from tests.integration.steps import Make, command, learn, ready, settled
from tests.integration.topics import action, keyed, producing, read_count, send, status

pytestmark = pytest.mark.kafka


async def test_actions_keyed_by_anything_still_meet_their_status(installation: Make) -> None:
    """Keyed by actionId, not at all, put anywhere: the right letter, once, with its first place's id."""
    place = installation()
    worker = await ready(place)
    count = 40
    await learn(place, [status(number, True) for number in range(count)])
    async with producing(place.bootstrap_servers) as producer:
        sent = []
        for number in range(count):
            value = orjson.dumps(action(number))
            key = None if number % 2 else str(number).encode()
            sent.append(await producer.send(place.names.actions, value, key=key, partition=number % 4))
        places = [(each.partition, each.offset) for each in await asyncio.gather(*sent)]
    records = await read_count(place.bootstrap_servers, place.names.emails, count)
    emails: dict[int, Any] = {}
    for record in records:
        email = orjson.loads(record.value)
        assert email["actionId"] not in emails, "doubled"
        emails[email["actionId"]] = email
        assert record.key == keyed(email["action"])[0]
    assert {email["reason"] for email in emails.values()} == {"known_subscribed"}
    for number, (partition, offset) in enumerate(places):
        first = f"{place.names.actions}/{partition}/{offset}"
        assert emails[number]["id"] == str(uuid.uuid5(NAMESPACE, first))
    moved = worker.counter("confirmation_actions_rekeyed_total")
    assert 0 < moved < count
    assert len(await read_count(place.bootstrap_servers, place.names.rekeyed, int(moved))) == moved


async def test_the_dead_letter_ceiling_stops_a_partition_and_lifting_it_resumes(installation: Make) -> None:
    """A topic full of rubbish stays: alive, not ready; all of it is done once the ceiling is lifted."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    rubbish: list[tuple[bytes | None, bytes | None]] = [(b"k", b"rubbish")] * 400
    await send(place.bootstrap_servers, place.names.actions, rubbish)
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(1))])
    await settled(place, lambda: any("DEAD_LETTER_CEILING" in each for each in worker.problems()))
    kept = await read_count(place.bootstrap_servers, place.names.dead_letters, 100)
    assert len(kept) == 100
    assert worker.get("/livez")[0] == 200
    assert await asyncio.to_thread(worker.stop) == 0
    await ready(place, dead_letter_ceiling=1)
    assert len(await read_count(place.bootstrap_servers, place.names.emails, 1)) == 1
    assert len(await read_count(place.bootstrap_servers, place.names.dead_letters, 400)) == 400


async def test_accepted_dead_letters_pass_without_a_restart_and_the_ceiling_holds_behind_them(
    installation: Make,
) -> None:
    """The reason names fault, place and command; the decision survives a restart and ends by itself."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    actions, dead_letters = place.names.actions, place.names.dead_letters
    rubbish: list[tuple[bytes | None, bytes | None]] = [(b"k", b"rubbish")] * 400
    await send(place.bootstrap_servers, actions, [*rubbish, keyed(action(1))])
    why = await stopped(worker)
    assert "(100 not_json; the first at offset 0)" in why
    assert "STREAMS_DEAD_LETTER_CEILING" in why
    assert f"`streams dead-letters accept {actions} 0 latest`" in why
    for wrong in ("50", "100", "402", "now"):  # settled, or beyond the end
        assert (await command(place, "dead-letters", "accept", actions, "0", wrong)).exit_code == 2
    done = await command(place, "dead-letters", "accept", actions, "0", "300")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"the dead letters of {actions}/0 are accepted up to offset 300: 200 offsets\n"
    assert len(await read_count(place.bootstrap_servers, dead_letters, 400)) == 400
    why = await stopped(worker)
    assert "the first at offset 300)" in why
    assert await asyncio.to_thread(worker.stop) == 0
    await send(place.bootstrap_servers, actions, rubbish)
    done = await command(place, "dead-letters", "accept", actions, "0", "latest")
    assert done.exit_code == 0, done.output
    assert (
        f"a person accepts the dead letters of {actions}/0 before offset 801"
        in (await command(place, "doctor")).stdout
    )
    worker.start()
    assert len(await read_count(place.bootstrap_servers, dead_letters, 800)) == 800
    assert len(await read_count(place.bootstrap_servers, place.names.emails, 1)) == 1


async def stopped(worker: WorkerProcess) -> str:
    """Wait until a partition has stopped; return the reason."""

    def reason() -> str | None:
        return next((each for each in worker.problems() if "partition 0 stopped" in each), None)

    return await happens(lambda: asyncio.to_thread(reason), 60)
