"""``streams top``: all workers on one screen."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from click.testing import CliRunner

from streams.__main__ import main
from streams.commands.command_line import FAILED, NO_ANSWER
from streams.commands.top.table import COLUMNS, duration, lines_of
from streams.kafka.members import Published
from streams.lookup.breaker import State
from streams.observability import group_overview
from streams.observability.group_overview import GroupView
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS
from streams.observability.worker_summary import WorkerSummary, totals_of
from streams.sandbox.worker import Installation
from tests.commands.conftest import Make, streams
from tests.commands.output import document as fitting
from tests.commands.topics import Topics
from tests.observability.group_members import answering, document, joined
from tests.observability.page.test_overview import FakeLookup, FakeWorker, lane

ROOT = Path(__file__).parents[3]


# -- eight workers -----------------------------------------------------------------------------------------


def at_work(number: int) -> FakeWorker:
    """A worker amid a campaign: one has a dead letter, one is not ready, for all a lookup is down."""
    worker = FakeWorker()
    worker.lanes.append(lane(number))
    worker.organisations.append(FakeLookup(2, State.OPEN))
    worker.statistics.state_changed(2, State.OPEN)
    worker.now += 3 * 3600
    worker.overview.note()
    if number == 3:
        worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 1
    for second in range(12):
        worker.ends["actions", number] = (100 + second * (20 + number), 100)
        worker.totals[EMAILS.name]["one_button", "known_subscribed"] += 6 + number
        worker.totals[EMAILS.name]["two_button", "lookup_not_subscribed"] += 11
        worker.totals[EMAILS.name]["two_button", "lookup_failed"] += number % 3
        worker.second()
    worker.ends["actions", number] = (100 + 3 * number, 100)
    if number:
        worker.lanes[0].oldest_timestamp_ms = (worker.now - 0.2 * number) * 1000
    if number == 5:
        worker.unready.append(f"actions: partition {number} cannot commit: NotEnoughReplicas")
    return worker


async def eight(stack: AsyncExitStack, live: Topics) -> list[Published]:
    """Let eight members join, each with a web port, which one of them has closed."""

    def answer(name: str, worker: FakeWorker) -> Callable[[web.Request], object]:
        async def live(_: web.Request) -> web.Response:
            return web.Response(body=orjson.dumps(document(Published(name, "", name), worker)))

        return live

    members = []
    for number in range(8):
        name = f"worker-{number}"
        web_port = AsyncExitStack()
        port = await web_port.enter_async_context(answering(answer(name, at_work(number))))
        if number == 6:
            await web_port.aclose()
        stack.push_async_exit(web_port)
        members.append(Published(name, f"127.0.0.1:{port}", name))
    group = live.installation.group
    await stack.enter_async_context(joined(live.servers, group, live.names.actions, members))
    return members


@pytest.mark.kafka
async def test_eight_workers_are_shown_on_one_screen(topics: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals first, those in trouble before the others, and why: as docs/operations.md shows it."""
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)  # nobody hangs here, but this machine may be busy
    live = await topics(partitions=8)
    async with AsyncExitStack() as stack:
        members = await eight(stack, live)
        text, found = await streams(live, "top", "--once"), await streams(live, "top", "--once", "--json")
    assert (text.exit_code, found.exit_code, text.stderr) == (1, 1, "")
    screen = text.stdout.replace(live.installation.group, "confirmation-streams")
    for number, member in enumerate(members):
        screen = screen.replace(f" {member.address:15} ", f" 10.1.20.1{number}:6066 ")
    assert f"```text\n{screen.rstrip()}\n```" in (ROOT / "docs/operations.md").read_text(), screen
    view = fitting("top", found.stdout)
    totals = view["totals"]
    assert (totals["workers"], totals["ready"], totals["silent"]) == (8, 6, 1)
    assert totals["partitions"] == 7
    assert totals["dead_letters"] == 1
    assert [each["worker"] for each in view["workers"]][:3] == ["worker-5", "worker-6", "worker-0"]
    assert view["workers"][2]["lookups_down"] == ["Second (2)"]


@pytest.mark.kafka
async def test_a_group_without_workers_is_said_to_have_none(topics: Make) -> None:
    """No worker is as bad as one that is not ready: exit code 1."""
    live = await topics()
    result = await streams(live, "top", "--once")
    assert result.exit_code == 1
    assert "has no members: no worker is running" in result.stdout
    found = fitting("top", (await streams(live, "top", "--once", "--json")).stdout)
    assert (found["workers"], found["state"]) == ([], "Dead")


def test_without_kafka_there_is_one_sentence() -> None:
    """Exit code 3, and no traceback."""
    environ = {"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    result = CliRunner().invoke(main, ["top", "--once"], env=environ)
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1


# -- real workers ------------------------------------------------------------------------------------------


@pytest.mark.kafka
async def test_real_workers_ask_each_other(installation: Callable[..., Installation]) -> None:
    """Both answer, after a restart too; one stands still: the command and the other's page say so."""
    # A member that stands still is in the group until its session ends, and must be in it when it is asked.
    place = installation(session_timeout=60)
    first, second = place.worker(group_instance_id="w-1"), place.worker(group_instance_id="w-2")
    for worker in (first, second):
        worker.start()
    for worker in (first, second):
        await asyncio.to_thread(worker.wait_ready, 120)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": first.environ["PYTHONPATH"], **place.environ}

    def by_page() -> str:
        status, body = first.get("/workers")
        return body if status == 200 else ""

    def by_command() -> str:
        command = [sys.executable, "-m", "streams", "top", "--once", "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode in (0, FAILED, NO_ANSWER), done.stderr
        return done.stdout

    async def both(second_is_ready: bool | None, partitions: list[int | None]) -> list[str | None]:
        """Wait until page and command say this of the two; return the problems of the second."""
        problems = []
        for ask in (by_page, by_command):
            said: list[Any] = []
            while said != [("w-1", True, partitions[0]), ("w-2", second_is_ready, partitions[1])]:
                text = await asyncio.to_thread(ask)  # nothing, where this machine is too busy for an answer
                workers = fitting("top", text)["workers"] if text else []
                workers.sort(key=lambda each: str(each["worker"]))
                said = [(each["worker"], each["ready"], each["partitions"]) for each in workers]
            assert [each["address"] for each in workers] == [
                f"127.0.0.1:{each.port}" for each in (first, second)
            ]
            problems.append(workers[1]["problem"])
        return problems

    assert await both(True, [2, 2]) == [None, None]
    # Its successor keeps its membership, without a rebalance, and publishes a run of its own.
    assert await asyncio.to_thread(first.stop) == 0
    first.start()
    await asyncio.to_thread(first.wait_ready, 120)
    await both(True, [2, 2])
    second.send(signal.SIGSTOP)
    try:
        assert await both(None, [2, None]) == ["does not answer within 1 s"] * 2
    finally:
        second.send(signal.SIGCONT)


# -- on a terminal -----------------------------------------------------------------------------------------


@pytest.mark.kafka
async def test_on_a_terminal_it_goes_on_until_ctrl_c(topics: Make) -> None:
    """It draws over what it drew before, and Ctrl-C ends it with exit code 130 and no traceback."""
    live = await topics()
    ours, theirs = pty.openpty()
    environ = {**os.environ, **live.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", "top"), env=environ, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = ""
    while seen.count("no worker is running") < 2:
        seen += (await asyncio.to_thread(os.read, ours, 65_536)).decode()
    process.send_signal(signal.SIGINT)
    while True:
        try:
            part = await asyncio.to_thread(os.read, ours, 65_536)
        except OSError:  # the process has ended
            break
        seen += part.decode()
    os.close(ours)
    assert await process.wait() == 130
    assert "\x1b[" in seen
    assert "Traceback" not in seen


def view(*workers: WorkerSummary) -> GroupView:
    return GroupView("g", 0.0, "Stable", None, totals_of(workers), workers)


LONG = WorkerSummary(worker="confirmation-streams-0", address="10.1.20.10:6066", ready=True, version="0.1.0")


@pytest.mark.parametrize("width", [60, 80, 100, 120, None])
def test_columns_that_do_not_fit_are_left_out(width: int | None) -> None:
    """The least important ones first; who it is, whether it is ready and what waits always stay."""
    found = list(lines_of(view(LONG), width))
    _, head, *_ = [line.text for line in found]
    if width is None:
        assert head.split() == [column.head for column in COLUMNS]
    elif width >= 80:
        assert max(len(line.text) for line in found) <= width
    assert {"WORKER", "READY", "WAIT", "OLDEST", "DEAD"} <= set(head.split())


def test_what_is_not_known_is_a_dash_and_never_0() -> None:
    """Of a silent worker only its name is known; where no action waits, none is the oldest."""
    silent = WorkerSummary(worker="w", address="h:1", problem="does not answer")
    texts = [line.text for line in lines_of(view(silent))]
    assert texts[0] == "group g: 1 worker, 0 ready, 1 silent"
    assert set(re.sub(r"w|h:1|silent", "", texts[3]).split()) == {"–"}
    idle = replace(LONG, waiting=0)
    assert " none " in next(line.text for line in lines_of(view(idle)) if line.text.startswith("conf"))


def test_durations_are_those_of_a_person() -> None:
    """A fraction below ten seconds, then the largest whole unit."""
    seconds = (None, 0.04, 9.96, 59, 60, 3_600, 90_000)
    assert [duration(each) for each in seconds] == ["–", "0.0 s", "10 s", "59 s", "1 min", "1 h", "1 d"]
