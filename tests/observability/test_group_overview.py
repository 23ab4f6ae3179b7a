"""All workers of a group: found through real Kafka, asked over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiokafka import AIOKafkaConsumer

from streams.kafka.members import Published
from streams.observability import group_overview
from streams.observability.group_overview import ASK_WITHIN, EVERY, MOST_BYTES, GroupOverview
from streams.sandbox.kafka import EmbeddedKafka
from tests.clients import make_topics
from tests.observability.group_members import Answer, answering, document, joined

pytestmark = pytest.mark.kafka


@pytest.fixture
async def group(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> str:
    """A group's name, and a topic of that name with eight partitions."""
    name = unique_name("workers")
    await make_topics(kafka.bootstrap_servers, 8, name)
    return name


def no_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


async def test_every_member_is_a_line_whatever_it_answers(
    kafka: EmbeddedKafka, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members are asked at once; one that is silent, strange, huge or an impostor costs no other its line."""
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)  # nobody hangs here, but this machine may be busy
    asked: list[str] = []

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(0, 4 * MOST_BYTES, 1 << 16):
            await response.write(b" " * (1 << 16))
        return response

    async def elsewhere(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"http://127.0.0.1:{other}/live")

    async def never(_: web.Request) -> web.Response:
        asked.append("by a redirect")
        return web.json_response({})

    def says(body: bytes, status: int = 200) -> Answer:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(body=body, status=status, content_type="application/json")

        return answer

    good = Published("good", "", "run-good")
    bombs = {"Content-Encoding": "gzip"}

    async def bomb(_: web.Request) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers=bombs)

    answers: dict[str, tuple[Answer, str | None]] = {
        "good": (says(orjson.dumps(document(good))), None),
        "huge": (endless, f"its answer has more than {MOST_BYTES >> 10} KiB"),
        "impostor": (says(orjson.dumps(document(good))), "another process answers at its address"),
        "list": (says(b"[]"), "its answer cannot be read (AttributeError)"),
        "moved": (elsewhere, "answers with status 302"),
        "newer": (says(b'{"run": "run-newer"}'), "its answer cannot be read (KeyError)"),
        "no-json": (bomb, "its answer cannot be read (JSONDecodeError)"),
        "refused": (says(b"", 421), "answers with status 421"),
    }
    async with AsyncExitStack() as stack:
        other = await stack.enter_async_context(answering(never))
        published: list[Published | None] = [
            Published(name, f"127.0.0.1:{await stack.enter_async_context(answering(answer))}", f"run-{name}")
            for name, (answer, _) in answers.items()
        ]
        published += [
            Published("gone", f"127.0.0.1:{no_port()}", "r"),
            Published("lost", "no.invalid:1", "r"),
        ]
        published += [None]
        await stack.enter_async_context(joined(kafka.bootstrap_servers, group, group, published))
        overview = GroupOverview(group, {"bootstrap_servers": kafka.bootstrap_servers})
        view = await overview.look()
    found = {each.worker: each.problem for each in view.workers}
    assert found == {
        **{name: problem for name, (_, problem) in answers.items()},
        "gone": "does not answer: Connection refused",
        "lost": "does not answer: its host name is not known here",
        None: "cannot be asked: it publishes no address, as older versions do",
    }
    assert (view.state, view.problem, view.ready, view.silent) == ("Stable", None, 1, len(published) - 1)
    assert view.workers[-1].worker == "good"  # those in trouble first
    assert asked == []


async def test_a_worker_that_hangs_is_silent(
    kafka: EmbeddedKafka, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a second, for its whole answer: what comes drop by drop is no answer either."""
    assert ASK_WITHIN == 1.0
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 0.3)

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.05)

    async with answering(drip) as port:
        published = Published("w", f"127.0.0.1:{port}", "r")
        async with joined(kafka.bootstrap_servers, group, group, [published]):
            view = await GroupOverview(group, {"bootstrap_servers": kafka.bootstrap_servers}).look()
    assert [each.problem for each in view.workers] == ["does not answer within 0.3 s"]


async def test_who_has_left_the_group_is_asked_no_more(kafka: EmbeddedKafka, group: str) -> None:
    """Only members are asked; a group without any is said to have none."""
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({})

    overview = GroupOverview(group, {"bootstrap_servers": kafka.bootstrap_servers})
    async with answering(answer) as port:
        async with joined(kafka.bootstrap_servers, group, group, [Published("w", f"127.0.0.1:{port}", "r")]):
            before = asked
            assert len((await overview.look()).workers) == 1
            assert asked == before + 1
        view = await overview.look()
        assert asked == before + 1
    assert view.workers == []
    assert view.problem == f"group {group} has no members: no worker is running"


async def test_another_kind_of_client_is_not_asked(kafka: EmbeddedKafka, group: str) -> None:
    """A stranger in the group is named, and nothing else is said."""
    async with AIOKafkaConsumer(group, bootstrap_servers=kafka.bootstrap_servers, group_id=group):
        overview = GroupOverview(group, {"bootstrap_servers": kafka.bootstrap_servers})
        while (view := await overview.look()).state != "Stable":
            pass
    assert view.workers == []
    assert view.problem is not None
    assert view.problem.startswith(f"another kind of client is in group {group}")


async def test_without_kafka_the_workers_known_last_are_asked(
    kafka: EmbeddedKafka, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage of Kafka is when one looks: the workers say so themselves."""
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)
    mine = Published("w", "", "r")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(document(mine)))

    connection: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap_servers}
    overview = GroupOverview(group, connection)
    async with answering(answer) as port:
        published = Published("w", f"127.0.0.1:{port}", "r")
        async with joined(kafka.bootstrap_servers, group, group, [published]):
            await overview.find()
            connection["bootstrap_servers"] = f"127.0.0.1:{no_port()}"
            view = await overview.look()
    assert (view.state, view.ready) == (None, 1)
    assert view.problem is not None
    assert view.problem.startswith("Kafka does not answer")
    assert json.loads(orjson.dumps(view.document()))["state"] is None


async def test_all_who_look_share_one_round(kafka: EmbeddedKafka, group: str) -> None:
    """However many look, members are asked once in a while; who goes away takes nothing from the others."""
    now = 0.0
    overview = GroupOverview(group, {"bootstrap_servers": kafka.bootstrap_servers}, clock=lambda: now)
    impatient, one, two = (asyncio.ensure_future(overview.latest()) for _ in range(3))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await one is await two
    assert await overview.latest() is await one
    now = EVERY
    assert await overview.latest() is not await one
