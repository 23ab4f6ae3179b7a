"""The main job of one worker, from topic to topic."""

import asyncio
import signal
import sys
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES
from streams.sandbox.lookup_service import LookupService, subscribed
from tests.integration.steps import Make, act, emails_of, learn, ready, settled, started
from tests.integration.topics import action, keyed, producing, read_count, send, status

pytestmark = pytest.mark.kafka


async def test_every_row_of_the_decision_table_ends_in_its_email(installation: Make) -> None:
    """Known, looked up, failed: each action gets the letter and the reason that the decision table names."""

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        match question["email"]:
            case "s3@example.org":
                return await subscribed(question)
            case "s4@example.org":
                return web.json_response({})
            case _:
                return web.Response(status=500)

    with LookupService(answer) as lookup:
        place = installation(lookup_url=lookup.url)
        worker = await ready(place)
        await learn(place, [status(1, True), status(2, False)])
        await act(place, *map(action, range(1, 6)))
        found = {email["actionId"]: email for email in await emails_of(place, 5)}
        assert {number: (email["variant"], email["reason"]) for number, email in found.items()} == {
            1: ("one_button", "known_subscribed"),
            2: ("two_button", "known_not_subscribed"),
            3: ("one_button", "lookup_subscribed"),
            4: ("two_button", "lookup_not_subscribed"),
            5: ("two_button", "lookup_failed"),
        }
        assert (found[5]["lookup"]["outcome"], found[5]["lookup"]["cause"]) == ("error", "http_status")
        assert found[3]["lookup"]["customFields"] == {"isSubscribed": True}
        assert found[1]["lookup"] is None
        assert worker.counter("confirmation_lookups_total", outcome="error", cause="http_status") == 1


async def test_actions_of_every_codec_are_read(installation: Make) -> None:
    """However a producer compresses its batches, its actions get their emails."""
    place = installation()
    await ready(place)
    for number, codec in enumerate((None, "gzip", "snappy", "lz4", "zstd"), 1):
        async with producing(place.bootstrap_servers, compression_type=codec) as producer:
            key, value = keyed(action(number))
            await producer.send_and_wait(place.names.actions, value, key=key)
    assert {email["actionId"] for email in await emails_of(place, 5)} == {1, 2, 3, 4, 5}


async def test_the_same_act_twice_is_two_emails_and_two_acts_are_two(installation: Make) -> None:
    """An email per record: a repeated actionId is a reminder, also across a restart; ids differ by place."""
    place = installation()
    worker = await ready(place)
    twice = [keyed(action(7)), keyed(action(7)), keyed(action(8, supporter=7))]
    await send(place.bootstrap_servers, place.names.actions, twice)
    await emails_of(place, 3)
    assert worker.stop() == 0
    await ready(place)
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(7))])
    emails = await emails_of(place, 4)
    assert sorted(email["actionId"] for email in emails) == [7, 7, 7, 8]
    assert len({email["id"] for email in emails}) == 4


async def test_the_email_keeps_key_partition_trace_and_every_byte(installation: Make) -> None:
    """The email has its action's key, partition number and trace context, and the action's exact bytes."""
    place = installation()
    await ready(place)
    key, _ = keyed(action(1))
    value = (
        b' {"stage":"supporter_confirm", "actionId":1,"orgId":310,"n":123456789012345678901234567890.10,'
        b'"twice":1,"twice":2,"contact":{"contactRef":"ref00000001","email":"s1@example.org",'
        b'"firstName":"\\ud83d lone \xd0\xb0"}} '
    )
    trace = [("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), ("other", b"x")]
    ((partition, offset),) = await send(
        place.bootstrap_servers, place.names.actions, [(key, value)], headers=trace
    )
    (record,) = await read_count(place.bootstrap_servers, place.names.emails, 1)
    headers = dict(record.headers)
    assert (record.key, record.partition) == (key, partition)
    assert record.value.endswith(b'"action":' + value + b"}")
    assert headers["traceparent"] == trace[0][1]
    assert "other" not in headers
    assert headers["ce_source"] == f"/{place.names.actions}/{partition}".encode()
    assert headers["variant"] == b"two_button"
    assert offset == 0


async def test_poison_is_kept_and_its_neighbours_get_their_emails(installation: Make) -> None:
    """50 records, eight of them bad: 42 emails, eight dead letters with reasons, also after a restart."""
    place = installation()
    worker = await ready(place)
    key, good = keyed(action(1))
    limit = DEFAULT_MAX_MESSAGE_BYTES - 300  # the action fits into its topic, the email does not
    large = orjson.dumps(action(1, comment="x" * (limit - len(good) - 20)))
    bad: dict[str, bytes] = {
        "not_utf8": good.replace(b"Ana", b"\xff\xfe"),
        "not_json": good[:-5],
        "not_an_object": b"[]",
        "field_missing": good.replace(b'"email"', b'"mail"'),
        "field_type": good.replace(b'"actionId":1', b'"actionId":"1"'),
        "field_empty": good.replace(b"s1@example.org", b""),
        "too_deep": good[:-1] + b',"deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "too_large": large,
    }
    messages: list[tuple[bytes | None, bytes | None]] = []
    for error_class, value in bad.items():
        messages += [keyed(action(len(messages) + number, supporter=1)) for number in range(5)]
        messages.append((None if error_class == "not_json" else key, value))
    messages += [keyed(action(1000 + number, supporter=1)) for number in range(2)]
    await send(place.bootstrap_servers, place.names.actions, messages)
    assert len(await emails_of(place, 42)) == 42
    letters = await read_count(place.bootstrap_servers, place.names.dead_letters, 8)
    headers = [dict(letter.headers) for letter in letters]
    assert {header["__streams.errors.exception"].decode() for header in headers} == set(bad)
    assert {header["__streams.errors.topic"].decode() for header in headers} == {place.names.actions}
    values = {
        header["__streams.errors.exception"].decode(): letter.value
        for letter, header in zip(letters, headers, strict=True)
    }
    assert values == bad
    for error_class in bad:
        assert worker.counter("confirmation_dead_letters_total", error_class=error_class) == 1
    assert worker.stop() == 0
    worker = await ready(place)
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(2000))])
    assert len(await emails_of(place, 43)) == 43
    assert len(await read_count(place.bootstrap_servers, place.names.dead_letters, 8)) == 8


async def test_tombstones_and_other_stages_are_counted_and_passed_over(installation: Make) -> None:
    """A null on actions and a message of another stage get no email; what follows them does."""
    place = installation()
    worker = await ready(place)
    key, good = keyed(action(1))
    other = good.replace(b"supporter_confirm", b"deliver")
    await send(place.bootstrap_servers, place.names.actions, [(key, None), (key, other), (key, good)])
    assert len(await emails_of(place, 1)) == 1
    assert worker.counter("confirmation_actions_ignored_total", why="tombstone") == 1
    assert worker.counter("confirmation_actions_ignored_total", why="stage") == 1


async def test_a_tombstone_on_the_status_topic_forgets(installation: Make) -> None:
    """Value, then null: the supporter is missing; newer wins, older does not; a bad row is set aside."""
    place = installation()
    worker = await ready(place)
    key, row = status(1, True)
    null = (key, b"null")
    older = status(2, False, as_of="2026-11-23T10:00:00Z")
    rows: list[tuple[bytes | None, bytes | None]] = [(key, row), (key, None), status(2, True), older]
    await send(
        place.bootstrap_servers, place.names.statuses, [*rows, status(3, True), (status(3, True)[0], b"{}")]
    )
    await send(place.bootstrap_servers, place.names.statuses, [null])
    await settled(place, lambda: worker.counter("confirmation_statuses_total") == 7)
    assert worker.counter("confirmation_statuses_total", result="outdated") == 1
    assert worker.counter("confirmation_statuses_total", result="dead_letter") == 2
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(n)) for n in (1, 2, 3)])
    found = {email["actionId"]: email["reason"] for email in await emails_of(place, 3)}
    assert found == {1: "no_lookup", 2: "known_subscribed", 3: "known_subscribed"}
    letters = await read_count(place.bootstrap_servers, place.names.dead_letters, 2)
    assert {letter.value for letter in letters} == {b"{}", b"null"}


@pytest.mark.parametrize("store", [pytest.param("memory", marks=pytest.mark.slow), "rocksdb"])
async def test_the_table_is_restored_after_a_restart(installation: Make, store: str) -> None:
    """What the status topic taught one worker, its successor knows before its first letter."""
    place = installation(store=store)
    worker = await ready(place)
    rows = [status(number, True) for number in range(200)]
    await learn(place, rows)
    worker.kill()
    await send(place.bootstrap_servers, place.names.statuses, [status(200, True), (rows[0][0], None)])
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(n)) for n in range(201)])
    await started(worker)
    found = {email["actionId"]: email["reason"] for email in await emails_of(place, 201)}
    assert found.pop(0) == "no_lookup"
    assert set(found.values()) == {"known_subscribed"}


async def test_aborted_actions_get_no_email(installation: Make) -> None:
    """An action in a transaction that its producer aborted is not mailed; the committed one is."""
    place = installation()
    await ready(place)
    async with producing(place.bootstrap_servers, transactional_id=f"{place.group}-upstream") as upstream:
        for number, ending in ((1, upstream.abort_transaction), (2, upstream.commit_transaction)):
            await upstream.begin_transaction()
            key, value = keyed(action(number))
            await upstream.send(place.names.actions, value, key=key)
            await upstream.flush()
            await ending()
    emails = await emails_of(place, 1)
    assert [email["actionId"] for email in emails] == [2]


async def test_faust_s_own_command_line_runs_it_too(installation: Make) -> None:
    """Also `faust -A streams.app worker` runs the same worker."""
    place = installation()
    worker = place.worker()
    worker.start((sys.executable, "-m", "faust", "-A", "streams.app", "worker", "-l", "info"))
    await asyncio.to_thread(worker.wait_ready)
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(1))])
    assert len(await emails_of(place, 1)) == 1
    worker.send(signal.SIGTERM)
    assert worker.wait() == 0


async def test_sigterm_lets_a_lookup_under_way_finish(installation: Make) -> None:
    """A worker that is told to stop writes the email of a lookup that answers within the grace period."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        loop.call_soon_threadsafe(asked.set)
        await asyncio.sleep(1.0)
        return await subscribed(question)

    with LookupService(answer) as lookup:
        place = installation(lookup_url=lookup.url)
        worker = await ready(place)
        await send(place.bootstrap_servers, place.names.actions, [keyed(action(1))])
        await asyncio.wait_for(asked.wait(), 20)
        assert await asyncio.to_thread(worker.stop) == 0
        (email,) = await emails_of(place, 1)
        assert email["reason"] == "lookup_subscribed"
        assert len(lookup.questions) == 1
