"""Records that no producer should write: they stop nobody, and each is an email or a dead letter."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.actions.dead_letter import SHORTENED_TO, read_dead_letter_headers
from streams.actions.rekeying import REKEYED_FROM
from streams.commands.topic_reader import TopicReader
from streams.kafka.record_batches import read_any_batch
from streams.messages.keys import partition_of
from streams.sandbox.lookup_service import LookupService
from streams.sandbox.worker import Installation
from tests.clients import make_topics
from tests.integration.steps import Make, emails_of, learn, ready
from tests.integration.topics import action, keyed, producing, read_count, send, status

pytestmark = pytest.mark.kafka

DAY_MS = 24 * 3600 * 1000
ODD_NAME = "n\udce4me"  # the bytes 6e e4 6d 65, as they are read


class _RawName(str):
    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


async def put(
    place: Installation,
    topic: str,
    value: bytes | None,
    *,
    key: bytes | None = None,
    partition: int = 0,
    headers: list[tuple[str, Any]] | None = None,
    timestamp: int | None = None,
) -> int:
    """Write one record, compressed, as any producer may; return its offset."""
    async with producing(
        place.bootstrap_servers, compression_type="gzip", max_batch_size=8 << 20, max_request_size=8 << 20
    ) as producer:
        batch = producer.create_batch()
        batch._builder = slow = _DefaultRecordBatchBuilderPy(2, 1, 0, -1, -1, -1, 8 << 20)
        batch._set_producer_state = slow.set_producer_state
        named = [(_RawName(name), text) for name, text in headers or []]
        batch.append(timestamp=timestamp, key=key, value=value, headers=named)
        batch.close()
        sent = await producer.send_batch(batch, topic, partition=partition)
        return int((await sent).offset)


async def dead_letters(place: Installation, count: int) -> list[Any]:
    read_any_batch()
    return await read_count(place.bootstrap_servers, place.names.dead_letters, count)


def numbers(emails: list[dict[str, Any]]) -> list[int]:
    return sorted(email["actionId"] for email in emails)


async def test_strange_headers_stop_nobody(installation: Make) -> None:
    """Names that are not UTF-8 or empty, null values, thousands of headers: emails and whole dead letters."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    strange: list[list[tuple[str, Any]]] = [
        [(ODD_NAME, b"1"), ("", None), ("\udcff", b"")],
        [("traceparent", None), ("tracestate", None), ("rekeyed-from", None)],
        [("h", b"%d" % number) for number in range(5_000)],
    ]
    actions = place.names.actions
    for number, headers in enumerate(strange):
        key, value = keyed(action(number))
        await put(place, actions, value, key=key, headers=headers)
        await put(place, actions, b"{", key=b"k", headers=headers)
    await send(place.bootstrap_servers, actions, [keyed(action(9))])
    assert numbers(await emails_of(place, 4)) == [0, 1, 2, 9]
    letters = await dead_letters(place, 3)
    for letter, headers in zip(letters, strange, strict=True):
        assert list(letter.headers)[: len(headers)] == headers
        assert (letter.key, letter.value) == (b"k", b"{")
    assert worker.counter("confirmation_dead_letters_total", error_class="not_json") == 3
    async with TopicReader(actions, {"bootstrap_servers": place.bootstrap_servers}) as reader:
        await reader.begin_at_the_start([0])
        assert sum([len(records) async for _, records in reader.chunks()]) == 7


async def test_a_dead_letter_always_fits(installation: Make) -> None:
    """Headers, a key, a value of 3 MiB: dead letters without them, and the others get their emails."""
    place = installation(topic_partitions=1)
    await ready(place)
    large = b"0" * (3 << 20)
    key, value = keyed(action(1))
    await put(place, place.names.actions, value, key=key, headers=[("traceparent", large)])
    await put(place, place.names.actions, b"{", key=large)
    await put(place, place.names.actions, large, key=b"k", headers=[("a", large), (ODD_NAME, b"1")])
    await put(place, place.names.statuses, b'{"orgId":1}', key=large)
    await learn(place, [status(2, True)])
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(2))])
    (email,) = await emails_of(place, 1)
    assert (email["actionId"], email["reason"]) == (2, "known_subscribed")
    letters = await dead_letters(place, 4)
    found = {}
    for letter in letters:
        origin = read_dead_letter_headers(letter.headers)
        assert origin.shortened
        found[origin.topic, origin.offset] = letter
    actions = place.names.actions
    assert found[actions, 0].value == value
    assert found[actions, 1].key == f"{actions}/0/1".encode()
    assert found[actions, 2].value == large[:SHORTENED_TO]
    assert found[place.names.statuses, 0].value == b'{"orgId":1}'


async def test_a_compacted_dead_letter_topic_without_a_key_stops_nobody(installation: Make) -> None:
    """The broker refuses a record without a key there: the dead letters get keys of their own."""
    place = installation(topic_partitions=1)
    await make_topics(place.bootstrap_servers, 1, place.names.dead_letters, cleanup_policy="compact")
    await ready(place)
    await put(place, place.names.actions, b"{")
    await put(place, place.names.statuses, b"{", key=b"k")
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(2))])
    assert numbers(await emails_of(place, 1)) == [2]
    letters = await dead_letters(place, 2)
    assert {letter.key for letter in letters} == {b"k", place.names.actions.encode() + b"/0/0"}


async def test_an_old_misplaced_action_gets_its_email_where_old_timestamps_are_refused(
    installation: Make,
) -> None:
    """The re-keyed record has the time of its writing, and the action's own time in a header."""
    place = installation(topic_partitions=2)
    oldest = {"message_timestamp_before_max_ms": str(DAY_MS)}
    await make_topics(place.bootstrap_servers, 2, place.names.rekeyed, **oldest)
    worker = await ready(place)
    stamped = int(time.time() * 1000) - 2 * DAY_MS
    for number in range(8):
        await put(place, place.names.actions, keyed(action(number))[1], timestamp=stamped)
    assert numbers(await emails_of(place, 8)) == list(range(8))
    moved = [number for number in range(8) if partition_of(keyed(action(number))[0], 2) != 0]
    records = await read_count(place.bootstrap_servers, place.names.rekeyed, len(moved))
    assert len(records) == len(moved) > 0
    for record in records:
        assert record.timestamp > stamped + DAY_MS
        assert dict(record.headers)["rekeyed-timestamp"] == b"%d" % stamped
    await asyncio.to_thread(worker.wait_counter, 8, "confirmation_emails_total")
    assert worker.counter("confirmation_delay_seconds_sum") > 8 * 2 * DAY_MS / 1000 - 60


async def test_strange_records_of_the_internal_topic_are_dead_letters(installation: Make) -> None:
    """Only what a worker has moved is emailed from there; whatever else lies there stops nobody."""
    place = installation(topic_partitions=1)
    await ready(place)
    key, value = keyed(action(1))
    for text in (None, b"-5/-7", b"9" * 4_000, b""):
        await put(place, place.names.rekeyed, value, key=key, headers=[(REKEYED_FROM, text)])
    await put(place, place.names.rekeyed, value, key=key, headers=[(REKEYED_FROM, b"0/77")])
    assert len(await emails_of(place, 1)) == 1
    letters = await dead_letters(place, 4)
    assert [read_dead_letter_headers(letter.headers).json_path for letter in letters] == [
        "$headers.rekeyed-from"
    ] * 4


async def test_timestamps_that_cannot_be_true_are_unknown(installation: Make) -> None:
    """Emails leave, and no delay is counted for them."""
    place = installation(topic_partitions=1)
    newest = {"message_timestamp_after_max_ms": str((1 << 63) - 1)}
    await make_topics(place.bootstrap_servers, 1, place.names.actions, **newest)
    worker = await ready(place)
    now = int(time.time() * 1000)
    for number, stamped in enumerate((-1, 0, 1, now // 1000, now * 1000, now + 30 * 365 * DAY_MS)):
        key, value = keyed(action(number))
        await put(place, place.names.actions, value, key=key, timestamp=stamped)
    assert len(await emails_of(place, 6)) == 6
    await asyncio.to_thread(worker.wait_counter, 6, "confirmation_emails_total")
    assert worker.counter("confirmation_delay_seconds_count") <= 1
    assert worker.counter("confirmation_delay_seconds_sum") < 60


async def test_events_are_ignored_and_counted(installation: Make) -> None:
    """Proca's events on the same topic ask for no confirmation, and are no dead letters."""
    place = installation(topic_partitions=1)
    worker = await ready(place)
    events = [(b"k", orjson.dumps({"schema": "proca:event:2", "eventType": "x", "n": n})) for n in range(400)]
    good = [keyed(action(number)) for number in range(10)]
    await send(place.bootstrap_servers, place.names.actions, [*events, *good])
    assert numbers(await emails_of(place, 10)) == list(range(10))
    assert worker.counter("confirmation_actions_ignored_total", why="event") == 400
    assert worker.counter("confirmation_dead_letters_total") == 0


async def test_a_status_from_the_future_is_refused(installation: Make) -> None:
    """It would hide every later row: it is a dead letter, and the next row counts."""
    place = installation(topic_partitions=1)
    await ready(place)
    await send(place.bootstrap_servers, place.names.statuses, [status(1, True, as_of="2099-01-01T00:00:00Z")])
    await learn(place, [status(1, False)])
    await send(place.bootstrap_servers, place.names.actions, [keyed(action(1))])
    (email,) = await emails_of(place, 1)
    assert email["reason"] == "known_not_subscribed"
    (letter,) = await dead_letters(place, 1)
    assert read_dead_letter_headers(letter.headers).error_class == "in_future"


async def test_an_email_without_room_for_the_lookup_s_custom_fields_leaves_without_them(
    installation: Make,
) -> None:
    """A lookup's answer never costs an email."""

    async def talkative(_: Any) -> web.Response:
        fields = {"isSubscribed": True, "notes": "x" * 60_000}
        return web.json_response({"action": {"customFields": fields, "privacy": {"optIn": True}}})

    with LookupService(talkative) as crm:
        place = installation(topic_partitions=1, lookup_url=crm.url)
        await ready(place)
        large = action(1, action={"customFields": {"comment": "x" * 1_000_000}})
        await send(place.bootstrap_servers, place.names.actions, [keyed(large)])
        (email,) = await emails_of(place, 1)
    assert email["variant"] == "one_button"
    assert email["lookup"] == {
        "outcome": "existing",
        "cause": None,
        "customFields": {},
        "customFieldsOmitted": True,
    }
    assert email["action"] == large
