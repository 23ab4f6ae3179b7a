"""Feeding actions and statuses into a real Kafka."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

import orjson
import pytest
from aiokafka import ConsumerRecord
from aiokafka.partitioner import DefaultPartitioner

from streams.commands import feeder as feeding
from streams.commands.feed_report import FeedReport
from streams.commands.feeder import FeedError, feed, feed_actions, feed_statuses
from streams.commands.keyed_lines import action_message
from streams.commands.lines import read_blocks
from streams.kafka.topics import DEFAULT_MAX_MESSAGE_BYTES
from streams.sandbox.kafka import EmbeddedKafka
from tests.chaos.reading import read_all
from tests.clients import administering, make_topics

pytestmark = pytest.mark.kafka
PARTITIONS = 8
Lines = AsyncIterable[bytes] | Iterable[bytes]
Note = Callable[[FeedReport], None]


def action(number: int, **more: object) -> bytes:
    return orjson.dumps(
        {
            "stage": "supporter_confirm",
            "actionId": number,
            "orgId": 310,
            "contact": {"contactRef": f"ref-{number}", "email": "a@b.test"},
            **more,
        }
    )


class Target:
    """A topic, and the ways in which lines come there."""

    def __init__(self, kafka: EmbeddedKafka, topic: str) -> None:
        self.kafka = kafka
        self.topic = topic
        self.connection = {"bootstrap_servers": kafka.bootstrap_servers}

    async def make(self, **config: str) -> None:
        await make_topics(self.kafka.bootstrap_servers, PARTITIONS, self.topic, **config)

    async def make_statuses(self) -> None:
        """Make the topic to which `streams status` sends."""
        servers, topic = self.kafka.bootstrap_servers, f"{self.topic}-status"
        await make_topics(servers, PARTITIONS, topic, cleanup_policy="compact")

    async def records(self, suffix: str = "") -> list[ConsumerRecord]:
        """Everything that is in the topic now, partition by partition."""
        found: list[ConsumerRecord] = []
        await read_all(self.kafka.bootstrap_servers, self.topic + suffix, PARTITIONS, found.append)
        return sorted(found, key=lambda record: (record.partition, record.offset))

    async def feed(self, lines: Lines, note: Note | None = None, rate: float | None = None) -> FeedReport:
        """Feed lines of actions."""
        return await feed_actions(self.connection, self.topic, lines, note, rate=rate)

    def command(self, *arguments: str) -> list[str]:
        environ = [
            f"STREAMS_KAFKA_BOOTSTRAP_SERVERS={self.kafka.bootstrap_servers}",
            f"STREAMS_ACTIONS_TOPIC={self.topic}",
            f"STREAMS_STATUS_TOPIC={self.topic}-status",
        ]
        return ["env", *environ, sys.executable, "-m", "streams", *arguments]

    async def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Type a command, and wait for its end."""
        command = self.command(*arguments)
        return await asyncio.to_thread(
            subprocess.run, command, input=stdin, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def target(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> Target:
    """A topic of the test's own, which it makes itself."""
    return Target(kafka, unique_name("actions"))


# Into Kafka


async def test_actions_arrive_byte_for_byte_where_java_would_put_them(target: Target) -> None:
    """A line is one record, unchanged, in the partition of its key, and lines of one key keep their order."""
    await target.make()
    lines = [action(number % 50, n=number).replace(b",", b" , ") for number in range(2000)]
    blocks = read_blocks(io.BytesIO(b"\r\n\n".join(lines)))
    report = await feed(target.connection, target.topic, blocks, action_message)
    assert (report.sent, report.blank, report.without_key, report.not_sent) == (2000, 1999, 0, 0)
    found = await target.records()
    assert sorted(record.value for record in found) == sorted(lines)
    partition_of = DefaultPartitioner()
    every = list(range(PARTITIONS))
    for record in found:
        assert record.key == f"310:ref-{orjson.loads(record.value)['actionId']}".encode()
        assert record.partition == partition_of(record.key, every, every)
    seen: dict[bytes, int] = {}
    for record in found:
        number = orjson.loads(record.value)["n"]
        assert seen.get(record.key, -1) < number
        seen[record.key] = number


async def test_lines_without_a_key_are_sent_and_counted(target: Target) -> None:
    """What has no readable key goes out without one, spread over the partitions."""
    await target.make()
    report = await target.feed([b"garbage %d" % n for n in range(16)])
    assert (report.sent, report.without_key) == (16, 16)
    found = await target.records()
    assert {record.key for record in found} == {None}
    assert set(Counter(record.partition for record in found).values()) == {2}


async def test_a_line_that_is_too_long_is_left_out_and_named(target: Target) -> None:
    """A line above the topic's max.message.bytes is not sent, its number is told, and all others arrive."""
    await target.make(max_message_bytes="2000")
    lines = [action(number, pad="x" * (1900 if number in {7, 8} else 100)) for number in range(40)]
    lines[20] = b"y" * 1960  # shorter than the limit, and with the batch's own bytes longer
    report = await target.feed(lines)
    assert (report.sent, report.not_sent, report.without_key) == (37, 3, 0)
    assert [number for number, _ in report.reasons] == [8, 9, 21]
    assert {reason for _, reason in report.reasons} == {
        "longer than 2000 bytes, the topic's max.message.bytes"
    }
    assert len(await target.records()) == 37


async def test_a_line_that_just_fits_is_taken(target: Target) -> None:
    """Lines far above the batch size, up to Kafka's own limit of a mebibyte, are sent."""
    await target.make()
    report = await target.feed([action(1, pad="x" * 1_048_370), action(2), action(3, pad="x" * 300_000)])
    assert (report.sent, report.not_sent) == (3, 0)


async def test_a_refused_batch_stops_the_feed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a broker refuses lines that looked sendable, the feed says so and how far it had come."""
    await target.make(max_message_bytes="2000")

    async def out_of_date(*_: object) -> int:  # the topic's limit was lowered just after it was asked for
        return DEFAULT_MAX_MESSAGE_BYTES

    monkeypatch.setattr(feeding, "largest_message", out_of_date)
    with pytest.raises(
        FeedError, match=r"Kafka refused 1 lines .* the first of them line 3 \(MessageSizeTooL"
    ):
        await target.feed(paused([action(1)], [action(2)], [action(3, pad="x" * 3000)]))
    assert len(await target.records()) == 2


async def paused(*blocks: Sequence[bytes]) -> AsyncIterator[bytes]:
    """The blocks' lines, with a pause between blocks that is long enough to send what has come."""
    for block in blocks:
        for line in block:
            yield line
        await asyncio.sleep(4 * feeding.LINGER)


async def test_a_pausing_source_does_not_hold_back_lines(target: Target) -> None:
    """Lines that have come are acknowledged while the source is still open and silent."""
    await target.make()
    more = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield action(1)
        await more.wait()
        yield action(2)

    running = asyncio.ensure_future(target.feed(source()))
    async with asyncio.timeout(20):
        while not await target.records():
            assert not running.done()
    more.set()
    assert (await running).sent == 2


async def test_statuses_and_tombstones(target: Target) -> None:
    """Statuses go out under their key, a forget as a tombstone, and a line without key stays here."""
    await target.make(cleanup_policy="compact")
    line = b'{"orgId":310,"contactRef":"abc","subscribed":true,"asOf":"2026-11-24T10:00:00Z"}'
    forget = b'{"orgId":310,"contactRef":"abc","forget":true}'
    report = await feed_statuses(target.connection, target.topic, [line, b"{}", forget])
    assert (report.sent, report.not_sent, report.without_key) == (2, 1, 0)
    assert report.reasons[0][0] == 2
    assert [(record.key, record.value) for record in await target.records()] == [
        (b"310:abc", line),
        (b"310:abc", None),
    ]


async def test_a_missing_topic_is_not_created(target: Target) -> None:
    """A mistyped topic is an error, even on brokers that create topics on demand."""
    with pytest.raises(FeedError, match=f"there is no topic '{target.topic}'"):
        await target.feed([action(1)])
    async with administering(target.kafka.bootstrap_servers) as admin:
        assert target.topic not in await admin.list_topics()


async def test_progress_is_told(target: Target) -> None:
    """The callback hears of growing counts, and at the end of all lines acknowledged."""
    await target.make()
    told: list[tuple[int, int]] = []

    def note(report: FeedReport) -> None:
        told.append((report.lines, report.sent))

    report = await target.feed((action(n) for n in range(3000)), note, rate=6000)
    assert told == sorted(told)
    assert told[-1] == (3000, 3000)
    assert len(told) > 5
    assert 0.45 <= report.seconds < 10
    assert report.rate == pytest.approx(3000 / report.seconds)


async def test_a_broker_that_falls_silent_ends_the_feed(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When nothing is acknowledged any more, the feed ends in bounded time and tells how far it had come."""
    monkeypatch.setattr(feeding, "STALLED_AFTER", 0.5)
    await target.make()
    reports: list[FeedReport] = []

    async def source() -> AsyncIterator[bytes]:
        yield action(1)
        async with asyncio.timeout(20):
            while not (reports and reports[-1].sent):
                await target.records()
        await asyncio.to_thread(target.kafka.pause, 1)
        yield action(2)

    try:
        async with asyncio.timeout(20):
            with pytest.raises(
                FeedError, match=r"acknowledged nothing for 0\.5 s; stopped, with 1 lines ack"
            ):
                await target.feed(source(), reports.append)
    finally:
        await asyncio.to_thread(target.kafka.resume, 1)


async def test_a_silent_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that accepts connections and never answers ends the feed with a sentence, in bounded time."""
    monkeypatch.setattr(feeding, "ANSWER_WITHIN", 0.3)
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        async with asyncio.timeout(5):
            with pytest.raises(FeedError, match=rf"Kafka does not answer at 127\.0\.0\.1:{port}"):
                await feed_actions({"bootstrap_servers": f"127.0.0.1:{port}"}, "actions", [action(1)])
    finally:
        for writer in connections:
            writer.close()
        server.close()
        await server.wait_closed()


# The commands


async def test_the_feed_command(target: Target, tmp_path: Path) -> None:
    """It says what it does, what came of it, and what was special."""
    await target.make()
    path = tmp_path / "actions.jsonl"
    path.write_bytes(action(1) + b"\n\n" + b"garbage\n" + action(2))
    result = await target.run("feed", str(path), "--as-is")
    assert result.returncode == 0
    assert (
        result.stderr
        == f"sending actions from {path} to {target.topic} at {target.kafka.bootstrap_servers}\n"
    )
    first, *others = result.stdout.splitlines()
    assert first.startswith(f"sent 3 actions to {target.topic} in ")
    assert others == ["1 of them without a readable key, which the worker sets aside", "1 blank line skipped"]
    assert len(await target.records()) == 3


async def test_a_file_with_a_line_that_would_be_a_dead_letter_is_not_sent(
    target: Target, tmp_path: Path
) -> None:
    """Nothing of it is sent; each such line is named with its number and field, and never quoted."""
    await target.make()
    path = tmp_path / "actions.jsonl"
    bad = orjson.dumps({"stage": "supporter_confirm", "actionId": 1, "orgId": "310", "email": "ana@b.test"})
    path.write_bytes(action(1) + b"\n\n" + b"\n".join([bad] * 1_200) + b"\n" + action(2))
    result = await target.run("feed", str(path))
    assert (result.returncode, result.stdout) == (1, "")
    first, *others = result.stderr.splitlines()
    assert first == (
        "line 3 not sent: $.orgId has another type; allowed is a whole number (a dead letter: field_type)"
    )
    assert others[9:] == [
        "and 1,190 more lines not sent",
        "Error: 1,200 lines refused, nothing sent; --as-is sends also what becomes a dead letter",
    ]
    assert "ana@b.test" not in result.stderr
    assert not await target.records()


async def test_statuses_fed_as_actions_and_half_statuses_are_refused(target: Target, tmp_path: Path) -> None:
    """The wrong file, or a status that says nothing reliable, ends with exit code 1 and an empty topic."""
    await target.make()
    await target.make_statuses()
    path = tmp_path / "statuses.jsonl.gz"
    status = {"orgId": 310, "contactRef": "abc", "subscribed": True, "asOf": "2026-11-24T10:00:00Z"}
    path.write_bytes(gzip.compress(orjson.dumps(status) + b"\n"))
    result = await target.run("feed", str(path))
    assert result.returncode == 1
    assert result.stderr.startswith("line 1 not sent: $.stage is missing")
    halves = [{**status, "subscribed": "true"}, {**status, "asOf": None}]
    path.write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in halves))
    result = await target.run("status", str(path))
    assert result.returncode == 1
    first, second, _ = result.stderr.splitlines()
    assert first.startswith("line 1 not sent: $.subscribed has another type; allowed is true or false")
    assert second.startswith("line 2 not sent: $.asOf has another type; allowed is a date and time")
    assert not await target.records() + await target.records("-status")


async def test_a_packed_file_is_sent(target: Target, tmp_path: Path) -> None:
    """What gzip has packed is sent as what is in it; a packed file that is cut off is refused before."""
    await target.make()
    path = tmp_path / "actions.jsonl.gz"
    packed = gzip.compress(b"\n".join(action(number) for number in range(500)))
    path.write_bytes(packed[:-20])
    result = await target.run("feed", str(path))
    assert result.returncode == 1
    assert result.stderr == f"Error: cannot read {path}: its gzip format ends too early\n"
    path.write_bytes(packed)
    result = await target.run("feed", str(path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("sent 500 actions")
    assert len(await target.records()) == 500


@pytest.mark.parametrize("indented", [json.dumps, lambda one, indent: json.dumps([one, one], indent=indent)])
async def test_json_that_is_written_on_many_lines_gets_a_hint(
    target: Target, tmp_path: Path, indented: Callable[..., str]
) -> None:
    """Its lines are no objects; from a file or a pipe nothing is sent, and it is said what is expected."""
    await target.make()
    path = tmp_path / "actions.json"
    path.write_text(indented(orjson.loads(action(1)), indent=2))
    for result in (
        await target.run("feed", str(path)),
        await target.run("feed", "-", stdin=path.read_text()),
    ):
        assert result.returncode == 1
        assert "Each line must be one JSON object: `jq -c .` writes it so" in result.stderr
    assert not await target.records()


async def test_of_a_pipe_the_good_lines_are_sent(target: Target) -> None:
    """A pipe cannot be read twice: the lines that would be dead letters are left out and named."""
    await target.make()
    content = b"\n".join([action(1), b"garbage", action(2)]).decode()
    result = await target.run("feed", "-", stdin=content)
    assert result.returncode == 1
    assert result.stdout.startswith("sent 2 actions")
    assert result.stderr.splitlines()[1:] == [
        "line 2 not sent: the line is not JSON (a dead letter: not_json)",
        "Error: 1 line could not be sent; all others were",
    ]
    assert len(await target.records()) == 2


async def test_the_status_command_fails_when_a_line_cannot_be_sent(target: Target) -> None:
    """Lines that were not sent are named by number on standard error, and the exit code is 1."""
    await target.make_statuses()
    content = (
        '{"orgId":1,"contactRef":"secret-ref","forget":"yes"}\n{"orgId":1,"contactRef":"b","forget":true}\n'
    )
    result = await target.run("status", "-", stdin=content)
    assert result.returncode == 1
    assert result.stdout.startswith("sent 1 status")
    assert "line 1 not sent: no JSON object" in result.stderr
    assert result.stderr.endswith("Error: 1 line could not be sent; all others were\n")
    assert "secret-ref" not in result.stdout + result.stderr


async def test_an_interrupt_ends_a_feed_that_waits_for_input(target: Target) -> None:
    """Ctrl-C ends the command although standard input stays open and silent; what had come was sent."""
    await target.make()
    process = await asyncio.create_subprocess_exec(
        *target.command("feed", "-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(action(1) + b"\n")
    async with asyncio.timeout(30):
        while not await target.records():
            assert process.returncode is None
        os.kill(process.pid, signal.SIGINT)
        errors = (await process.stderr.read()).decode()
        assert await process.wait() == 130
    assert errors.splitlines()[1:] == ["interrupted, with 1 actions acknowledged"]
    process.stdin.close()
