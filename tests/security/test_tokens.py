"""Proving by a token who one is: sessions that end, tokens that end, a token server that fails."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams.sandbox.worker import Installation
from tests.integration.steps import ready
from tests.integration.topics import action, keyed, producing, read_count
from tests.security.broker import SecureBroker
from tests.security.token_server import SECRET

pytestmark = pytest.mark.kafka


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


async def test_sessions_and_tokens_that_end_cost_no_email(broker: SecureBroker, place: Installation) -> None:
    """Under load, with sessions of 2 s and tokens of 3 s: one email an action, no warning, and no error."""
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
        assert log.count("Authenticated via OAUTHBEARER") > 12
        assert [each for each in lines(log) if each["level"] in ("warning", "error", "critical")] == []
        assert SECRET not in log
        assert "eyJ" not in log, "a token begins like this"
