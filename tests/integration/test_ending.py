"""How a worker ends: when it is told to, and when a part of it has failed."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService, hanging, subscribed
from streams.sandbox.ports import free_port
from streams.sandbox.worker import Installation, WorkerProcess
from tests.clients import make_topics
from tests.faults.kafka_proxy import Api, HoldRequest, KafkaProxy, LoseRequest
from tests.integration.steps import Make, act, ready, reasons, settled
from tests.integration.topics import action, send, status

pytestmark = pytest.mark.kafka


async def broken(place: Installation, way: str) -> WorkerProcess:
    """Start a worker, wait until it is ready, and break it in this way."""
    worker = place.worker()
    worker.start([sys.executable, "-m", "tests.integration.broken_worker", way])
    await asyncio.to_thread(worker.wait_ready)
    await send(place.bootstrap_servers, place.names.statuses, [status(1, True)])
    return worker


def end(worker: WorkerProcess, within: float) -> None:
    """Send SIGTERM; the worker has to end, with exit code 0, before a process that waits so many seconds."""
    with subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({within})"]) as waiting:
        worker.send(signal.SIGTERM)
        while worker.running:
            assert waiting.poll() is None, worker.last_lines()
            time.sleep(0.02)
        waiting.kill()
    assert worker.wait() == 0, worker.last_lines()


async def joins(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker whose request to join its group is not answered."""
    held = proxy.add(Api.JOIN_GROUP, HoldRequest(), times=None)
    worker = place.worker()
    worker.start()
    await asyncio.to_thread(held.wait)
    return worker


async def starts(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker whose Kafka accepts connections, and never answered."""
    proxy.pause()
    worker = place.worker()
    worker.start()
    await settled(place, lambda: worker.get("/readyz")[0] == 503)
    return worker


async def works(place: Installation) -> WorkerProcess:
    """A worker with three lookups under way."""
    worker = await ready(place)
    await act(place, *map(action, range(3)))
    await settled(place, lambda: worker.counter("confirmation_lane_pending_lookups") == 3)
    return worker


async def falls_mute(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker whose Kafka keeps its connections and does not answer any more."""
    worker = await works(place)
    proxy.pause()
    return worker


async def away_for_long(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker whose Kafka has been away for longer than its session's time-out."""
    worker = await works(place)
    proxy.cut()
    await asyncio.sleep(25)
    return worker


async def half_connected(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker that lost its connections, and whose brokers never say who coordinates."""
    worker = await works(place)
    lost = proxy.add(Api.FIND_COORDINATOR, LoseRequest(), times=None)
    proxy.cut()
    await settled(place, lambda: "Kafka does not answer" in worker.get("/readyz")[1])
    proxy.heal()
    await asyncio.to_thread(lost.wait)
    return worker


async def recovers(proxy: KafkaProxy, place: Installation) -> WorkerProcess:
    """A worker whose table cannot be restored: a record of its changelog is never fetched."""
    await make_topics(place.bootstrap_servers, 4, place.names.changelog, cleanup_policy="compact")
    await send(place.bootstrap_servers, place.names.changelog, [(b"310:x", b"x")])
    proxy.add(Api.FETCH, LoseRequest(), times=None)
    worker = place.worker()
    worker.start()
    await settled(place, lambda: "restored from its changelog" in worker.get("/readyz")[1])
    return worker


@pytest.mark.parametrize(
    "state",
    [
        falls_mute,
        pytest.param(joins, marks=pytest.mark.slow),
        pytest.param(starts, marks=pytest.mark.slow),
        pytest.param(away_for_long, marks=pytest.mark.slow),
        pytest.param(half_connected, marks=pytest.mark.slow),
        pytest.param(recovers, marks=pytest.mark.slow),
    ],
)
async def test_a_worker_ends_in_time_whatever_kafka_does(
    kafka: EmbeddedKafka,
    installation: Make,
    state: Callable[[KafkaProxy, Installation], Awaitable[WorkerProcess]],
) -> None:
    """Within the drain grace and five seconds, exit code 0; the log counts what is left to the successor."""
    with KafkaProxy(kafka.bootstrap_servers) as proxy, LookupService(hanging) as lookup:
        place = installation(lookup_url=lookup.url, lookup_deadline=20, drain_grace=1)
        place.settings["KAFKA_BOOTSTRAP_SERVERS"] = proxy.bootstrap_servers
        worker = await state(proxy, place)
        taken = int(worker.counter("confirmation_actions_in_flight"))
        await asyncio.to_thread(end, worker, 1 + 5)
        lines = [orjson.loads(line) for line in worker.tail(1_000).splitlines()]
        (left,) = [line["message"] for line in lines if line["event"] == "left_to_successor"]
        assert f" {taken} are left " in left


@pytest.mark.parametrize("seconds", [0.0, 0.2, 0.6, 1.2])
def test_a_worker_that_is_process_1_ends_in_its_first_seconds(installation: Make, seconds: float) -> None:
    """Linux drops a signal to process 1 that it does not handle: it is handled as soon as Python runs."""
    place = installation(drain_grace=0, kafka_bootstrap_servers=f"127.0.0.1:{free_port()}")
    worker = place.worker()
    as_process_1 = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    worker.start([*as_process_1, sys.executable, "-m", "streams", "worker"])
    child = process_1(worker.pid)
    while not is_handled(child, signal.SIGTERM):
        assert worker.running, worker.last_lines()
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(child, signal.SIGTERM)
    assert worker.wait(60) == 0, worker.last_lines()


def process_1(parent: int) -> int:
    """Return the process that `unshare` has started, when it has."""
    while not (children := Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
        time.sleep(0.001)
    return int(children[0])


def is_handled(pid: int, number: int) -> bool:
    """Whether a process handles a signal."""
    (caught,) = re.findall(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(int(caught, 16) >> (number - 1) & 1)


async def test_a_worker_is_not_ready_from_the_signal_on(installation: Make) -> None:
    """/readyz is 503 and says why while the last lookups are under way; their emails still leave."""
    answers = threading.Event()

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        await asyncio.to_thread(answers.wait)
        return await subscribed(question)

    with LookupService(answer) as lookup:
        place = installation(lookup_url=lookup.url, lookup_deadline=20, drain_grace=20)
        worker = await ready(place)
        await act(place, *map(action, range(3)))
        await settled(place, lambda: worker.counter("confirmation_lane_pending_lookups") == 3)
        try:
            worker.send(signal.SIGTERM)
            await settled(place, lambda: worker.get("/readyz")[0] != 200, 5)
            assert worker.problems() == ["this worker is ending"]
            assert worker.counter("confirmation_actions_in_flight") == 3
            assert worker.get("/livez")[0] == 200
        finally:
            answers.set()
        assert await asyncio.to_thread(worker.wait) == 0
        assert await reasons(place, 3) == dict.fromkeys(range(3), "lookup_subscribed")


@pytest.mark.parametrize(
    ("way", "reason"),
    [("fails", "LookupError, raised in __main__"), ("ends", "AgentEnded: agent ingest_statuses has ended")],
)
async def test_an_agent_that_fails_or_ends_ends_the_worker(installation: Make, way: str, reason: str) -> None:
    """Its exit code is not 0, and the last line of its log says why: nobody reads that topic any more."""
    worker = await broken(installation(), way)
    assert await asyncio.to_thread(worker.wait) not in {0, -signal.SIGKILL}
    line = orjson.loads(worker.tail(1))
    assert line["event"] == "crashed"
    assert reason in line["message"]


@pytest.mark.slow
async def test_a_consumer_thread_that_stands_still_is_a_reason_to_restart(installation: Make) -> None:
    """/livez and /readyz are 503 and name it, though no partition has work."""
    place = installation(stuck_after=5, lookup_deadline=3, transaction_timeout=3)
    worker = await broken(place, "blocks")
    await settled(place, lambda: worker.get("/livez")[0] == 503)
    for page in ("/livez", "/readyz"):
        assert "the thread of the Kafka consumer has not answered" in worker.get(page)[1]
