"""``streams breaker``: what each worker says of an organisation's circuit breaker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from click.testing import CliRunner

from streams.__main__ import main
from streams.commands.breaker.view import breakers_of, lines_of, not_listed
from streams.commands.command_line import NO_ANSWER
from streams.kafka.members import Published
from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability import group_overview
from streams.observability.group_overview import GroupView
from streams.observability.page.overview import ROWS
from streams.observability.worker_summary import WorkerSummary, summary_of, totals_of
from streams.sandbox.lookup_service import Behaviour, LookupService, subscribed
from tests.commands.conftest import Make, streams
from tests.commands.output import document as fitting
from tests.integration.steps import Make as MakeWorkers
from tests.integration.steps import act, command, started, table
from tests.integration.topics import action
from tests.observability.group_members import answering, joined
from tests.observability.page.test_overview import FakeLookup, FakeWorker

FAILED = LookupOutcome(Outcome.ERROR, Cause.CONNECT)


def down(worker: FakeWorker, *org_ids: int | None) -> FakeWorker:
    """Let the lookups of these organisations be down for a minute."""
    for org_id in org_ids:
        worker.organisations.append(FakeLookup(org_id, State.OPEN))
        worker.statistics.state_changed(org_id, State.OPEN)
    worker.now += 60
    for org_id in org_ids:
        worker.statistics.answered(org_id, FAILED, 0.1)
    return worker


def view(*workers: WorkerSummary) -> GroupView:
    return GroupView("g", 0.0, "Stable", None, totals_of(workers), workers)


# -- real workers, a real fault ----------------------------------------------------------------------------


@pytest.mark.kafka
@pytest.mark.timeout(300)
async def test_each_worker_s_breaker_is_shown_from_the_fault_to_its_end(
    installation: MakeWorkers, tmp_path: Path
) -> None:
    """Open at both while the service fails, with the pause; closed at both once it is tried again."""
    file = tmp_path / "organisations.toml"
    with LookupService(subscribed) as service:
        service.behave(Behaviour.ERRORS)
        entry = ['name = "Example"', f'url = "{service.url}"', "breaker_minimum_calls = 3"]
        entry += ["breaker_window = 600", "breaker_first_pause = 600", "breaker_longest_pause = 600"]
        file.write_text(table(310, entry))
        # One that stands still is in the group until its session ends, and must be in it when it is asked.
        place = installation(organisations_file=file, topic_partitions=2, session_timeout=60)
        workers = [place.worker(group_instance_id=name) for name in ("w-1", "w-2")]
        await asyncio.gather(*map(started, workers))

        async def said(code: int, *options: str) -> Any:
            """What the command prints once all workers answer it, which a busy machine may delay."""
            while True:
                done = await command(place, "breaker", *options, "--json")
                assert done.exit_code in (0, 1, NO_ANSWER), done.output
                if done.exit_code == code and not (found := fitting("breaker", done.stdout))["silent"]:
                    return found

        assert (await said(0))["organisations"] == []
        (before,) = (await said(0, "--org", "310"))["organisations"]
        assert [each["breaker"] for each in before["workers"]] == [None, None]

        numbers = iter(range(1_000))
        states: list[str] = []
        while states != ["open", "open"]:
            await act(place, *[action(next(numbers), org_id=310) for _ in range(8)])
            found = (await said(1))["organisations"]
            states = [each["breaker"] for one in found for each in one["workers"]]
        ((example,),) = (found,)
        assert (example["organisation"], example["label"]) == (310, "Example (310)")
        assert {each["worker"] for each in example["workers"]} == {"w-1", "w-2"}
        for each in example["workers"]:
            assert each["since_seconds"] < 400 < each["next_probe_seconds"] <= 600
            assert each["failed"] == each["asked"] >= 3
        text = (await command(place, "breaker")).stdout
        assert "Example (310): not closed at 2 of 2 workers" in text
        assert service.url not in text

        service.behave(Behaviour.HEALTHY)
        assert (await command(place, "breaker", "retry", "310")).exit_code == 0
        while states != ["closed", "closed"]:
            await act(place, *[action(next(numbers), org_id=310) for _ in range(8)])
            done = await command(place, "breaker", "--org", "310", "--json")
            (example,) = fitting("breaker", done.stdout)["organisations"]
            states = [each["breaker"] for each in example["workers"]]
        assert done.exit_code == 0
        assert (await said(0))["organisations"] == []

        workers[1].send(signal.SIGSTOP)
        try:
            done = await command(place, "breaker", "--org", "310", "--json")
        finally:
            workers[1].send(signal.SIGCONT)
        found = fitting("breaker", done.stdout)
        assert done.exit_code == 1
        assert ("w-2", "does not answer within 1 s") in [
            (each["worker"], each["problem"]) for each in found["silent"]
        ]


# -- many organisations ------------------------------------------------------------------------------------


@pytest.mark.kafka
async def test_one_of_hundreds_that_are_down_is_asked_for_by_its_org_id(
    topics: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker lists those that are down, as many as its page shows; the one in the question comes first."""
    monkeypatch.setattr(group_overview, "ASK_WITHIN", 30.0)  # nobody hangs here, but this machine may be busy
    live = await topics()

    def answer(published: Published, worker: FakeWorker) -> Callable[[web.Request], object]:
        async def live(request: web.Request) -> web.Response:
            whose = request.query.get("organisation")
            described = worker.overview.describe(None if whose is None else int(whose))
            named = {"worker": published.worker, "run": published.run}
            return web.Response(body=orjson.dumps({**described, **named}))

        return live

    async with AsyncExitStack() as stack:
        members = []
        for name, worker in (
            ("w-1", down(FakeWorker(), *range(1, 301))),
            ("w-2", down(FakeWorker(), *range(1, 5))),
        ):
            published = Published(name, "", name)
            port = await stack.enter_async_context(answering(answer(published, worker)))
            members.append(Published(name, f"127.0.0.1:{port}", name))
        group = live.installation.group
        await stack.enter_async_context(joined(live.servers, group, live.names.actions, members))
        all_of_them = await streams(live, "breaker")
        one = await streams(live, "breaker", "--org", "300", "--json")
    assert (all_of_them.exit_code, one.exit_code) == (1, 1)
    assert f"{300 - ROWS} more may not be closed: --org ORG_ID asks about one" in all_of_them.stdout
    assert all_of_them.stdout.index("organisation 1:") < all_of_them.stdout.index("organisation 5:")
    (found,) = fitting("breaker", one.stdout)["organisations"]
    assert (found["organisation"], found["label"]) == (300, "organisation 300")
    by_worker = {each["worker"]: (each["breaker"], each["failed"]) for each in found["workers"]}
    assert by_worker == {"w-1": ("open", 1), "w-2": (None, None)}


# -- the text ----------------------------------------------------------------------------------------------


def summary(name: str, worker: FakeWorker, organisation: int | None = None) -> WorkerSummary:
    described = orjson.loads(orjson.dumps(worker.overview.describe(organisation)))
    return summary_of({**described, "worker": name}, "h:1")


def test_the_text_says_when_each_worker_tries_again() -> None:
    """In so long, with the next action, or right now; a worker that does not answer is a line."""
    paused, due, probing = (down(FakeWorker(), 2) for _ in range(3))
    due.organisations[0].probe_due_in = -3.0
    probing.organisations[0].state, probing.organisations[0].probe_due_in = State.HALF_OPEN, None
    silent = WorkerSummary(worker="w-4", address="h:1", problem="does not answer within 1 s")
    workers = [summary(f"w-{number}", each) for number, each in enumerate((paused, due, probing), 1)]
    assert "\n".join(lines_of(view(*workers, silent), None)) == (
        "group g: 4 workers, 1 silent\n"
        "\n"
        "Second (2): not closed at 3 of 3 workers\n"
        "WORKER  BREAKER    SINCE  NEXT PROBE       FAILED  ASKED\n"
        "w-1     open       1 min  in 5.0 s              1      1\n"
        "w-2     open       1 min  the next action       1      1\n"
        "w-3     half-open  1 min  under way             1      1\n"
        "w-4: does not answer within 1 s"
    )


def test_closed_breakers_are_shown_of_an_organisation_that_is_asked_for_alone() -> None:
    """Otherwise one sentence says that all are closed; a lookup that was never asked is no closed breaker."""
    asked = FakeWorker()
    asked.organisations.append(FakeLookup(2))
    workers = summary("w-1", asked, 2), summary("w-2", FakeWorker(), 2)
    *_, last = lines_of(view(*workers), None)
    assert last == "the circuit breaker of each lookup is closed"
    *_, title, _, first, second = lines_of(view(*workers), 2)
    assert title == "Second (2): open at no worker"
    assert first.split() == ["w-1", "closed", "–", "–", "0", "0"]
    assert second.split() == ["w-2", "not", "asked", "yet", "–", "–", "–", "–"]


def test_an_organisation_without_a_lookup_of_its_own_has_the_shared_one_s_breaker() -> None:
    """As its actions have."""
    worker = down(FakeWorker(), None)
    (found,) = breakers_of(view(summary("w-1", worker, 7)), 7)
    assert (found.label, found.not_closed) == ("the other organisations", 1)


def test_a_list_that_ends_with_a_closed_breaker_leaves_none_out() -> None:
    """Those that are down come first."""
    worker = down(FakeWorker(), *range(1, ROWS))
    worker.organisations += [FakeLookup(number) for number in range(ROWS, 100)]
    assert not_listed(view(summary("w-1", worker))) == 0
    assert not_listed(view(summary("w-1", down(worker, 100)))) == 100 - ROWS


def test_options_are_of_the_view() -> None:
    """They say nothing to a decision: exit code 2, and nothing is decided."""
    result = CliRunner().invoke(main, ["breaker", "--org", "310", "retry", "310"])
    assert result.exit_code == 2
    assert "without a command" in result.stderr


def test_without_kafka_there_is_one_sentence() -> None:
    """Exit code 3, and no traceback."""
    environ = {"STREAMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    result = CliRunner().invoke(main, ["breaker"], env=environ)
    assert (result.exit_code, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
