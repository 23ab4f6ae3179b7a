"""What is done to workers and brokers. Each fault proves that it bit, and says how."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import WorkerProcess
from tests.chaos.fleet import Child, Fleet
from tests.chaos.roles import Membership, Roles, Unbitten, until

_BROKERS = 3
_REGROUP_SECONDS = 60.0


@dataclass
class Scene:
    """What can be broken."""

    kafka: EmbeddedKafka
    roles: Roles
    fleet: Fleet
    cable: Child
    #: Is told (partition, offset, value) of each action that is deleted, before it is.
    note_action: Callable[[int, int, bytes], None]

    async def grouped(self, members: int, seconds: float = _REGROUP_SECONDS) -> float:
        """Wait until the group is stable with so many members; returns the seconds."""

        async def as_wanted() -> bool:
            return await self.roles.membership(self.fleet.group) == Membership("Stable", members)

        return await until(f"{members} members", as_wanted, seconds)

    def picked(self, pick: float) -> WorkerProcess:
        """Return one of the running workers."""
        return self.fleet.running[int(pick * len(self.fleet.running)) % len(self.fleet.running)]

    def partition(self, pick: float) -> int:
        """Return one of the partitions."""
        return int(pick * self.fleet.partitions) % self.fleet.partitions


# -- workers ---------------------------------------------------------------------------------------------


async def kill(scene: Scene, pick: float) -> str:
    """SIGKILL; a supervisor starts it again at once."""
    worker = scene.picked(pick)
    scene.fleet.forget(worker)
    worker.send(signal.SIGKILL)
    code = await asyncio.to_thread(worker.wait)
    if code != -signal.SIGKILL:
        raise Unbitten(f"it ended with {code}")
    scene.fleet.start_again(worker)
    await scene.fleet.ready(worker)
    return "gone by SIGKILL, started again"


async def term(scene: Scene, pick: float) -> str:
    """SIGTERM, and a start again."""
    worker = scene.picked(pick)
    await scene.fleet.terminate(worker)
    scene.fleet.start_again(worker)
    await scene.fleet.ready(worker)
    return "exit code 0, started again"


async def stop(scene: Scene, pick: float) -> str:
    """SIGSTOP until the group goes on without it, then SIGCONT: a zombie with transactions in hand."""
    worker = scene.picked(pick)
    running = len(scene.fleet.running)
    await scene.grouped(running)
    worker.send(signal.SIGSTOP)
    try:
        lost = await scene.grouped(running - 1)
        await asyncio.sleep(8 * pick)  # the others go on meanwhile
    finally:
        worker.send(signal.SIGCONT)
    back = await scene.grouped(running)
    return f"session lost after {lost:.0f} s, back {back:.0f} s after SIGCONT"


async def cut(scene: Scene, pick: float) -> str:
    """No network between one worker and the brokers until the group goes on without it."""
    fleet = scene.fleet
    if fleet.behind_cable not in fleet.running:  # scaled away: the next to start goes there
        replaced = scene.picked(pick)
        await fleet.ready(await fleet.start())
        await fleet.retire(replaced)
    running = len(fleet.running)
    await scene.grouped(running)
    await asyncio.to_thread(scene.cable.order, "cut")
    try:
        lost = await scene.grouped(running - 1)
        await asyncio.sleep(8 * pick)
    finally:
        await asyncio.to_thread(scene.cable.order, "heal")
    back = await scene.grouped(running)
    return f"session lost after {lost:.0f} s, back {back:.0f} s after the cable was mended"


async def scale(scene: Scene, pick: float) -> str:
    """2 workers, 1, 4, 2."""
    fleet = scene.fleet
    while len(fleet.running) > 1:
        await fleet.retire(scene.picked(pick))
    await scene.grouped(1)
    for _ in range(3):
        await fleet.start()
    await fleet.ready()
    await scene.grouped(4)
    for _ in range(2):
        await fleet.retire(scene.picked(pick))
    await scene.grouped(2)
    return "members 1, 4, 2"


async def deploy(scene: Scene, pick: float) -> str:
    """Replace every worker, one after the other: the new one is ready before the old one is told to go."""
    fleet = scene.fleet
    old = list(fleet.running)
    for worker in old:
        new = await fleet.start()
        await fleet.ready(new)
        await fleet.retire(worker)
    await scene.grouped(len(old))
    if set(old) & set(fleet.running):
        raise Unbitten("an old worker still runs")
    return f"{len(old)} workers replaced"


# -- brokers ---------------------------------------------------------------------------------------------


async def leader(scene: Scene, pick: float) -> str:
    """SIGKILL the leader of a partition of emails."""
    topic, partition = scene.fleet.names.emails, scene.partition(pick)
    return await _kill_role(scene, pick, lambda: scene.roles.leader(topic, partition))


async def group_coordinator(scene: Scene, pick: float) -> str:
    """SIGKILL the coordinator of the workers' group."""
    return await _kill_role(scene, pick, lambda: scene.roles.group_coordinator(scene.fleet.group))


async def transaction_coordinator(scene: Scene, pick: float) -> str:
    """SIGKILL the coordinator of one partition's transactions."""
    transactional_id = f"{scene.fleet.group}-{scene.fleet.names.actions}-{scene.partition(pick)}"
    return await _kill_role(scene, pick, lambda: scene.roles.transaction_coordinator(transactional_id))


async def controller(scene: Scene, pick: float) -> str:
    """SIGKILL the active controller."""
    return await _kill_role(scene, pick, scene.roles.controller)


async def _kill_role(scene: Scene, pick: float, who: Callable[[], Awaitable[int]]) -> str:
    await in_sync(scene)
    victim = await who()
    if victim < 1:
        raise Unbitten("nobody has this role")
    await asyncio.to_thread(scene.kafka.kill, victim)

    async def moved() -> bool:
        return await who() not in (-1, victim)

    try:
        after = await until("the role moves", moved, 30)
        successor = await who()
        await asyncio.sleep(3 * pick)
    finally:
        await asyncio.to_thread(scene.kafka.restart, victim)
    await in_sync(scene)
    return f"broker {victim} killed, broker {successor} has its role after {after:.1f} s"


async def rolling_restart(scene: Scene, pick: float) -> str:
    """Every broker ends in good order and starts again, one after the other."""
    before = {number: broker.pid for number, broker in scene.kafka.brokers.items()}
    for number in before:
        await in_sync(scene)
        await asyncio.to_thread(scene.kafka.restart, number)
    await in_sync(scene)
    if any(broker.pid == before[number] for number, broker in scene.kafka.brokers.items()):
        raise Unbitten("a broker was not restarted")
    return f"brokers {', '.join(map(str, before))} restarted"


async def in_sync(scene: Scene) -> None:
    """Wait until every replica is in sync: the next broker's end must not make a partition unavailable."""
    await until("all replicas in sync", lambda: scene.roles.all_in_sync(_BROKERS), 90)


FAULTS: dict[str, Callable[[Scene, float], Awaitable[str]]] = {
    each.__name__: each
    for each in (
        kill,
        term,
        stop,
        cut,
        leader,
        group_coordinator,
        transaction_coordinator,
        controller,
        rolling_restart,
        scale,
        deploy,
    )
}
