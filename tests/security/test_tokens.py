"""Proving by a token who one is: sessions that end, tokens that end, a token server that fails."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.connection_check import access_problem, no_access
from streams.sandbox.worker import Installation, WorkerProcess, problems
from streams.settings.connection import client_options
from streams.settings.load import load_settings
from tests.integration.steps import command, ready
from tests.integration.topics import action, keyed, producing, read_count, send
from tests.security.broker import SecureBroker
from tests.security.token_server import SECRET

pytestmark = pytest.mark.kafka

CLOSED = "http://127.0.0.1:1/token"


@pytest.fixture
def place(broker: SecureBroker, unique_name: Callable[[str], str], tmp_path: Path) -> Any:
    """An installation whose tokens last 3 s, and whose sessions last 2 s at most."""
    settings = broker.settings("OAUTH", OAUTH_SCOPE="lifetime=3", OAUTH_CLIENT_SECRET=None)
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    settings |= {"KAFKA_OAUTH_CLIENT_SECRET_FILE": str(secret)}
    address = settings.pop("KAFKA_BOOTSTRAP_SERVERS")
    with Installation(address, unique_name("t"), tmp_path, **settings) as made:
        yield made


def lines(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


@pytest.mark.slow  # its sessions of 2 s want a machine that is not too busy
async def test_sessions_and_tokens_that_end_cost_no_email(broker: SecureBroker, place: Installation) -> None:
    """Under load, with sessions of 2 s and tokens of 3 s: one email an action, and hardly a cut session."""
    workers = await asyncio.gather(ready(place), ready(place))
    began, sent = broker.tokens.given["lifetime=3"], 0
    async with producing(broker.internal) as producer:
        while broker.tokens.given["lifetime=3"] < began + 8:  # four of each worker
            for _ in range(10):
                key, value = keyed(action(sent))
                await producer.send(place.names.actions, value, key=key)
                sent += 1
            await asyncio.sleep(0.05)
    emails = await read_count(broker.internal, place.names.emails, sent)
    assert len(emails) == len({each.key for each in emails}) == sent
    for worker in workers:
        assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
        log = worker.log.read_text()
        sessions = log.count("Authenticated via OAUTHBEARER")
        assert sessions > 12
        loud = [each for each in lines(log) if each["level"] in ("warning", "error", "critical")]
        # Two workers that start share the partitions again: that has nothing to do with sessions. The broker
        # cuts a session of 2 s where a busy machine holds up a request for longer than what is left of it.
        assert {each["level"] for each in loud} <= {"warning"}
        cut = [each for each in loud if "rebalancing" not in each["message"]]
        assert len(cut) < sessions, cut
        assert SECRET not in log
        assert "eyJ" not in log, "a token begins like this"


async def test_a_worker_outlives_its_token_server(broker: SecureBroker, place: Installation) -> None:
    """Tokens have ended and none comes: /readyz says why; when the server is back, nothing is missing."""
    worker = await ready(place)
    await send(broker.internal, place.names.actions, [keyed(action(number)) for number in range(20)])
    broker.tokens.failing["lifetime=3"] = 503
    try:
        async with asyncio.timeout(60):
            while not any("answers with status 503" in why for why in await reasons(worker)):  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0.1)
        await send(broker.internal, place.names.actions, [keyed(action(number)) for number in range(20, 40)])
    finally:
        del broker.tokens.failing["lifetime=3"]
    emails = await read_count(broker.internal, place.names.emails, 40)
    assert len(emails) == len({each.key for each in emails}) == 40
    assert await asyncio.to_thread(worker.stop) == 0, worker.tail()
    events = [each.get("event") for each in lines(worker.log.read_text())]
    assert "token_not_renewed" in events
    assert "token_renewed" in events


async def reasons(worker: WorkerProcess) -> list[str]:
    return problems((await asyncio.to_thread(worker.get, "/readyz"))[1])


async def test_commands_say_that_the_token_server_is_away(broker: SecureBroker, place: Installation) -> None:
    """`streams check` ends with exit code 3 and names the token server, and a worker would wait for it."""
    broker.tokens.failing["away"] = 503
    place.settings["KAFKA_OAUTH_SCOPE"] = "away"
    done = await command(place, "check")
    del broker.tokens.failing["away"]
    assert done.exit_code == 3, done.output
    assert "answers with status 503" in " ".join(done.output.split())
    options = client_options(
        load_settings(broker.environ("OAUTH", OAUTH_SCOPE="away", OAUTH_TOKEN_URL=CLOSED))
    )
    assert await access_problem(options) is None
    assert "cannot be reached" in (await no_access(options) or "")
