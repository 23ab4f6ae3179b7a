"""When a worker should be restarted, and when it does its work."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from streams.observability.health import WorkerHealth
from streams.sandbox.worker import Installation
from tests.observability.fakes import FakeLane, FakeLanes


@dataclass
class FakeWorker:
    """The parts of a worker that Health looks at, all well."""

    waiting_for: str | None = None
    restoring: bool = False
    behind: set[int] = field(default_factory=set)
    coordinated: bool = True
    group_fault: str | None = None
    token_fault: str | None = None
    ending: bool = False
    silent_for: float = 0.0
    lanes: FakeLanes = field(default_factory=lambda: FakeLanes([FakeLane(0), FakeLane(1)]))
    rekeyed: FakeLanes = field(default_factory=FakeLanes)
    agents: list[Any] = field(default_factory=list)

    def health(self) -> WorkerHealth:
        parts: dict[str, Any] = dict.fromkeys(("startup", "catch_up"), self)
        return WorkerHealth(
            **parts,
            lanes={"actions": self.lanes, "rekeyed-actions": self.rekeyed},
            agents=lambda: self.agents,
            coordinated=lambda: self.coordinated,
            group_fault=lambda: self.group_fault,
            ending=lambda: self.ending,
            silent_for=lambda: self.silent_for,
            stuck_after=30.0,  # type: ignore[arg-type]  # fakes
        )


def test_a_worker_at_work_is_alive_and_ready() -> None:
    """Nothing to say against it."""
    health = FakeWorker().health()
    assert (health.not_alive(), health.not_ready()) == ([], [])


def test_a_spare_worker_without_partitions_is_ready() -> None:
    """A member that the group gave nothing does all that it has to do."""
    health = FakeWorker(lanes=FakeLanes()).health()
    assert (health.not_alive(), health.not_ready()) == ([], [])


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        (
            FakeWorker(waiting_for="Kafka (KafkaConnectionError)", lanes=FakeLanes(joined=False)),
            "waiting for Kafka",
        ),
        (FakeWorker(lanes=FakeLanes(joined=False)), "no partitions assigned yet"),
        (FakeWorker(restoring=True), "restored from its changelog"),
        (FakeWorker(behind={7, 2}), "partitions 2, 7"),
        (FakeWorker(coordinated=False), "Kafka does not answer"),
        (FakeWorker(group_fault="not allowed Read on group g"), "not allowed Read on group g"),
        (FakeWorker(group_fault="a stranger", lanes=FakeLanes(joined=False)), "a stranger"),
        (FakeWorker(token_fault="the token server is away"), "the token server is away"),
        (FakeWorker(ending=True), "this worker is ending"),
        (
            FakeWorker(lanes=FakeLanes(opening={4: "KafkaTimeoutError"})),
            "actions: lane of partition 4: KafkaTimeoutError",
        ),
        (
            FakeWorker(rekeyed=FakeLanes(opening={4: "opening"})),
            "rekeyed-actions: lane of partition 4: opening",
        ),
        (
            FakeWorker(lanes=FakeLanes([FakeLane(5, commit_failure="Fenced")])),
            "actions: partition 5 cannot commit: Fenced",
        ),
        (
            FakeWorker(rekeyed=FakeLanes([FakeLane(5, commit_failure="Fenced")])),
            "rekeyed-actions: partition 5 cannot commit: Fenced",
        ),
        (
            FakeWorker(lanes=FakeLanes([FakeLane(6, halted="too many")])),
            "actions: partition 6 stopped: too many",
        ),
    ],
)
def test_what_keeps_a_worker_from_its_work_is_named_and_no_reason_to_restart(
    worker: FakeWorker, words: str
) -> None:
    """Not ready, in a sentence that names what and where; still alive, since a restart would not help."""
    health = worker.health()
    assert words in "; ".join(health.not_ready())
    assert health.not_alive() == []


def test_everything_that_is_wrong_is_named() -> None:
    """Several problems are several sentences."""
    worker = FakeWorker(
        restoring=True, lanes=FakeLanes([FakeLane(1, commit_failure="Fenced")], {2: "opening"})
    )
    assert len(worker.health().not_ready()) == 3


def test_while_kafka_is_awaited_nothing_else_is_said() -> None:
    """Before the start is done, the rest is not started: it would only distract."""
    worker = FakeWorker(waiting_for="Kafka", lanes=FakeLanes(joined=False), restoring=True, behind={1})
    assert worker.health().not_ready() == ["waiting for Kafka"]


@pytest.mark.parametrize(("seconds", "alive"), [(0.0, True), (30.0, True), (30.1, False), (1e6, False)])
def test_a_lane_with_work_and_no_progress_is_stuck(seconds: float, alive: bool) -> None:
    """Beyond the patience the worker should be restarted, and the partition is named."""
    for worker, topic in (
        (FakeWorker(lanes=FakeLanes([FakeLane(3, stalled_for=seconds)])), "actions"),
        (FakeWorker(rekeyed=FakeLanes([FakeLane(3, stalled_for=seconds)])), "rekeyed-actions"),
    ):
        problems = worker.health().not_alive()
        assert (problems == []) is alive
        assert alive or problems[0].startswith(f"{topic}: partition 3 has work")


@pytest.mark.parametrize(("seconds", "stuck"), [(0.0, False), (30.0, False), (30.1, True), (1e6, True)])
def test_a_silent_consumer_thread_is_a_reason_to_restart(seconds: float, stuck: bool) -> None:
    """No record is fetched while its event loop stands still: neither alive nor ready, and it is named."""
    health = FakeWorker(silent_for=seconds).health()
    for problems in (health.not_alive(), health.not_ready()):
        assert (problems != []) is stuck
        assert not stuck or problems[0].startswith("the thread of the Kafka consumer")


async def test_an_agent_that_has_ended_is_a_reason_to_restart() -> None:
    """An agent whose task returned or failed consumes no more; others are fine."""

    async def returns() -> None:
        pass

    async def fails() -> None:
        raise ZeroDivisionError

    async def runs() -> None:
        await asyncio.Event().wait()

    tasks = {work.__name__: asyncio.create_task(work()) for work in (returns, fails, runs)}
    cancelled = asyncio.create_task(runs())
    cancelled.cancel()
    await asyncio.wait({tasks["returns"], tasks["fails"], cancelled})
    worker = FakeWorker(
        agents=[
            SimpleNamespace(name=name, _actors=[SimpleNamespace(actor_task=task)])
            for name, task in {**tasks, "cancelled": cancelled, "unstarted": None}.items()
        ]
    )
    assert worker.health().not_alive() == ["agent returns has ended", "agent fails has ended"]
    assert isinstance(tasks["fails"].exception(), ZeroDivisionError)
    tasks["runs"].cancel()


@pytest.mark.kafka
def test_of_two_workers_for_one_partition_both_are_ready(installation: Callable[..., Installation]) -> None:
    """A spare replica passes its readiness probe, or a roll-out would never end."""
    place = installation(topic_partitions=1)
    workers = [place.worker(), place.worker()]
    for worker in workers:
        worker.start()
    for worker in workers * 2:  # the one that was ready first was not, while the other one joined its group
        worker.wait_ready()
    assert [worker.get("/readyz")[0] for worker in workers] == [200, 200]
    assert [worker.get("/livez")[0] for worker in workers] == [200, 200]
