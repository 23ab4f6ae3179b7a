"""When a worker should be restarted, and when it does its work.

They are different questions. A lookup that is down, a broker that is away, a rebalance or a long recovery is
no reason to restart: it would only add to the trouble. And with every lookup dead the worker is ready: the
two-button letter is normal service.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from streams.delivery.lane import Lane
from streams.delivery.lanes import Lanes
from streams.startup import Startup
from streams.statuses.catch_up import CatchUp


class WorkerHealth:
    """Answers both, in sentences."""

    def __init__(
        self,
        *,
        startup: Startup,
        lanes: Mapping[str, Lanes],
        catch_up: CatchUp,
        agents: Callable[[], Iterable[Any]],
        coordinated: Callable[[], bool],
        group_fault: Callable[[], str | None],
        ending: Callable[[], bool],
        silent_for: Callable[[], float],
        stuck_after: float,
        clock_fault: Callable[[], str | None] = lambda: None,
        missing_topics: Callable[[], list[str]] = list,
    ) -> None:
        """Look at these parts of a worker.

        Args:
            startup: says what the worker waits for before its first record.
            lanes: by topic.
            catch_up: says which partitions' statuses are not read yet.
            agents: gives Faust's agents.
            coordinated: whether the consumer knows a broker that coordinates its group.
            group_fault: what keeps the worker out of its consumer group, or None.
            ending: whether the worker was told to end, or has crashed.
            silent_for: seconds since the event loop of the consumer's thread turned.
            stuck_after: seconds. A lane with work that makes no progress for longer is stuck, and so is the
                consumer's thread if it is silent for longer.
            clock_fault: what is wrong with the machine's clock, or None.
            missing_topics: says which topics that lanes read are not there.
        """
        self._startup = startup
        self._lanes = dict(lanes)
        self._catch_up = catch_up
        self._agents = agents
        self._coordinated = coordinated
        self._group_fault = group_fault
        self._ending = ending
        self._silent_for = silent_for
        self._stuck_after = stuck_after
        self._clock_fault = clock_fault
        self._missing_topics = missing_topics

    def _by_topic(self) -> Iterator[tuple[str, Lane]]:
        for topic, lanes in self._lanes.items():
            for lane in lanes:
                yield topic, lane

    def kafka_answers(self) -> bool:
        """Return whether what is known of Kafka is of now.

        That is so while the broker that coordinates the consumer group is known, and the thread that asks it
        is not stuck.
        """
        return self._coordinated() and not self._consumer_stuck()

    def not_alive(self) -> list[str]:
        """Return why this process should be restarted. (That it answers shows that its event loop turns.)"""
        problems = [
            f"{topic}: partition {lane.partition} has work and made no progress for {lane.stalled_for:.0f} s"
            for topic, lane in self._by_topic()
            if lane.stalled_for > self._stuck_after
        ]
        problems += self._consumer_stuck()
        for agent in self._agents():
            for actor in agent._actors:
                task = actor.actor_task
                if task is not None and task.done() and not task.cancelled():
                    problems.append(f"agent {agent.name} has ended")
        return problems

    def _consumer_stuck(self) -> list[str]:
        seconds = self._silent_for()
        if seconds <= self._stuck_after:
            return []
        return [f"the thread of the Kafka consumer has not answered for {seconds:.0f} s"]

    def _apart(self) -> list[str]:
        if (fault := self._group_fault()) is not None:
            return [fault]
        if all(lanes.joined for lanes in self._lanes.values()) and not self._coordinated():
            return ["Kafka does not answer: the group's coordinator is not known"]
        return []

    def not_ready(self) -> list[str]:
        """Return why this worker does not do its work now."""
        if self._ending():  # its last lookups may still be under way, but it takes no more records
            return ["this worker is ending"]
        if self._startup.waiting_for is not None:
            return [f"waiting for {self._startup.waiting_for}"]
        if not all(lanes.joined for lanes in self._lanes.values()):
            return [*self._consumer_stuck(), *(self._apart() or ["no partitions assigned yet"])]
        problems = self._consumer_stuck() + self._apart() + self._missing_topics()
        problems += [
            f"{topic}: lane of partition {number}: {why}"
            for topic, lanes in self._lanes.items()
            for number, why in lanes.opening.items()
        ]
        problems += [
            f"{topic}: partition {lane.partition} stopped: {lane.halted}"
            for topic, lane in self._by_topic()
            if lane.halted is not None
        ]
        if self._catch_up.restoring:
            problems.append("the table is being restored from its changelog")
        elif self._catch_up.behind:
            behind = ", ".join(map(str, sorted(self._catch_up.behind)))
            problems.append(f"statuses are being read, partitions {behind}")
        problems += [fault for fault in (self._clock_fault(), self._startup.token_fault) if fault is not None]
        return problems + [
            f"{topic}: partition {lane.partition} cannot commit: {lane.commit_failure}"
            for topic, lane in self._by_topic()
            if lane.commit_failure is not None
        ]
