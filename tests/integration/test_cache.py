"""Answers of the lookup are kept for their lifetime, in the table; failures never are."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from streams.sandbox.lookup_service import LookupService, not_subscribed, subscribed
from tests.integration.steps import Make, act, kept, learn, ready, reasons, started, table
from tests.integration.topics import action, status

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("store", [pytest.param("memory", marks=pytest.mark.slow), "rocksdb"])
async def test_an_answer_is_asked_for_once_also_across_a_restart(installation: Make, store: str) -> None:
    """What was answered is known from then on, to the next worker as well: one question a person."""

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        return await (subscribed if question["email"] == "s1@example.org" else not_subscribed)(question)

    with LookupService(answer) as crm:
        place = installation(lookup_url=crm.url, store=store)
        worker = await ready(place)
        await act(place, action(1, supporter=1), action(2, supporter=2))
        assert await reasons(place, 2) == {1: "lookup_subscribed", 2: "lookup_not_subscribed"}
        await kept(place, lambda rows: len(rows) >= 2)
        await act(place, action(11, supporter=1), action(12, supporter=2))
        found = await reasons(place, 4)
        assert (found[11], found[12]) == ("known_subscribed", "known_not_subscribed")
        assert worker.stop() == 0
        await started(worker)
        await act(place, action(21, supporter=1), action(22, supporter=2))
        found = await reasons(place, 6)
        assert (found[21], found[22]) == ("known_subscribed", "known_not_subscribed")
        assert len(crm.questions) == 2


@pytest.mark.parametrize("store", [pytest.param("memory", marks=pytest.mark.slow), "rocksdb"])
async def test_an_expired_answer_leaves_the_table_and_is_asked_for_again(
    installation: Make, store: str
) -> None:
    """The changelog gets a tombstone for it, and the next action is a question again."""
    with LookupService(subscribed) as crm:
        place = installation(lookup_url=crm.url, lookup_keep_subscribed=2, store=store)
        await ready(place)
        await act(place, action(1, supporter=1))
        row, tombstone = await kept(place, lambda rows: len(rows) >= 2)
        assert row.value is not None
        assert (tombstone.key, tombstone.value) == (row.key, None)
        assert tombstone.timestamp - row.timestamp >= 1_700, "not before it has expired"
        await act(place, action(2, supporter=1))
        assert await reasons(place, 2) == {1: "lookup_subscribed", 2: "lookup_subscribed"}
        assert len(crm.questions) == 2


@pytest.mark.slow
async def test_an_answer_that_expires_while_no_worker_runs_is_asked_for_again(installation: Make) -> None:
    """Expiry goes by the clock on the wall, not by how long a worker has run."""
    with LookupService(subscribed) as crm:
        place = installation(lookup_url=crm.url, lookup_keep_subscribed=3)
        worker = await ready(place)
        await act(place, action(1, supporter=1))
        await kept(place, lambda rows: len(rows) >= 1)
        worker.kill()
        await asyncio.sleep(3)
        await act(place, action(2, supporter=1))
        await started(worker)
        assert await reasons(place, 2) == {1: "lookup_subscribed", 2: "lookup_subscribed"}
        assert len(crm.questions) == 2


async def test_the_crm_s_row_beats_an_answer_whichever_comes_first(
    installation: Make, tmp_path: Path
) -> None:
    """A status from the CRM replaces a kept answer, and an answer that comes later does not replace it."""
    asked, go_on = threading.Event(), threading.Event()

    async def answer(question: dict[str, Any]) -> web.StreamResponse:
        if question["email"] == "s2@example.org":
            asked.set()
            assert await asyncio.to_thread(go_on.wait, 25)
        return await subscribed(question)

    with LookupService(answer) as crm:
        file = tmp_path / "organisations.toml"
        file.write_text(table(310, [f'url = "{crm.url}"', "deadline = 20"]))
        place = installation(organisations_file=file)
        await ready(place)
        await act(place, action(1, supporter=1))
        await kept(place, lambda rows: len(rows) >= 1)
        await act(place, action(2, supporter=2))
        assert await asyncio.to_thread(asked.wait, 20)
        await learn(place, [status(supporter, False) for supporter in (1, 2)])
        go_on.set()
        assert await reasons(place, 2) == {1: "lookup_subscribed", 2: "lookup_subscribed"}
        await act(place, action(3, supporter=3))  # once its answer is kept, so would the one before it be
        await kept(place, lambda rows: any(row.key == b"310:ref00000003" for row in rows))
        await act(place, action(11, supporter=1), action(12, supporter=2))
        found = await reasons(place, 5)
        assert (found[11], found[12]) == ("known_not_subscribed", "known_not_subscribed")
        assert len(crm.questions) == 3
