"""What is done to stores and logs: files that are spoiled, a disk without room, records that are deleted."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete

from streams.sandbox.worker import WorkerProcess
from tests.chaos.faults import Scene
from tests.chaos.reading import read_all
from tests.chaos.roles import Unbitten, until
from tests.clients import administering
from tests.small_disk import fill, mount, unmount

_HEALS_WITHIN = 60.0  # seconds
_DISK = 64  # MiB
_LEAST = 100  # offsets


async def spoiled_store(scene: Scene, pick: float) -> str:
    """SIGTERM a worker, empty the file that each of its stores begins with, and start it again."""
    worker = scene.picked(pick)
    await scene.fleet.terminate(worker)
    stores = list(_folder(worker).rglob("supporter-status-*.db"))
    for store in stores:
        (store / "CURRENT").write_bytes(b"")
    await _start_again(scene, worker)
    aside = await _counted(worker, "confirmation_store_set_aside_total", reason="damaged")
    if not aside:
        raise Unbitten(f"none of {len(stores)} stores was set aside")
    return f"{aside:g} stores set aside and restored"


async def deleted_records(scene: Scene, pick: float) -> str:
    """SIGTERM a worker, delete every action that is committed, and start it again."""
    fleet, servers = scene.fleet, scene.kafka.bootstrap_servers
    topic, partitions = fleet.names.actions, fleet.partitions

    async def enough() -> bool:
        committed = await scene.roles.committed(fleet.group, topic, partitions)
        return min(committed.values()) > _LEAST

    await until(f"{_LEAST} actions of each partition are committed", enough, _HEALS_WITHIN)
    worker = scene.picked(pick)
    await fleet.terminate(worker)
    before = await scene.roles.committed(fleet.group, topic, partitions)
    await read_all(
        servers,
        topic,
        partitions,
        lambda record: scene.note_action(record.partition, record.offset, record.value),
        before=before,
    )
    places = {TopicPartition(topic, partition): offset for partition, offset in before.items()}
    async with administering(servers) as admin:
        await admin.delete_records({place: RecordsToDelete(offset) for place, offset in places.items()})
    await _start_again(scene, worker)
    async with AIOKafkaConsumer(bootstrap_servers=servers) as consumer:
        begins = await consumer.beginning_offsets(list(places))
    if begins != places:
        raise Unbitten(f"the log begins at {begins}, not at {places}")
    return f"{sum(places.values())} offsets before the committed ones are gone"


async def full_store(scene: Scene, pick: float) -> str:
    """Give a worker a small disk for its stores, fill it, and make room again up to 8 s later."""
    fleet, worker = scene.fleet, scene.picked(pick)
    folder = _folder(worker)
    await fleet.terminate(worker)
    if not mount(folder, _DISK):
        fleet.start_again(worker)
        raise Unbitten("this user may not mount a tmpfs")
    try:
        await _start_again(scene, worker)
        ballast = fill(folder)

        async def away() -> bool:
            return await _counted(worker, "confirmation_stores_away") > 0

        async def back() -> bool:
            code, _ = await asyncio.to_thread(worker.get, "/readyz")
            return code == 200 and not await away()

        noticed = await until("a store is away", away, _HEALS_WITHIN)
        await asyncio.sleep(8 * pick)
        ballast.unlink()
        healed = await until("every store is back", back, _HEALS_WITHIN)
    finally:
        try:
            if worker in fleet.running:
                await fleet.terminate(worker)
        finally:
            unmount(folder)
            fleet.start_again(worker)
    await fleet.ready(worker)
    return f"away after {noticed:.0f} s, back {healed:.0f} s after there was room"


DAMAGE: dict[str, Callable[[Scene, float], Awaitable[str]]] = {
    each.__name__: each for each in (spoiled_store, deleted_records, full_store)
}


def may_mount() -> bool:
    """Whether this user may mount a small disk."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        if not mount(Path(folder), _DISK):
            return False
        unmount(Path(folder))
        return True


async def _start_again(scene: Scene, worker: WorkerProcess) -> None:
    """Start it in its old folder, and wait until the group has given it its partitions."""
    scene.fleet.start_again(worker)
    await scene.grouped(len(scene.fleet.running))
    await scene.fleet.ready(worker)


async def _counted(worker: WorkerProcess, name: str, **labels: str) -> float:
    return await asyncio.to_thread(lambda: worker.counter(name, **labels))


def _folder(worker: WorkerProcess) -> Path:
    return worker.log.with_suffix("")
