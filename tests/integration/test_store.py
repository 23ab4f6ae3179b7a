"""The store is a copy of the changelog: whatever becomes of it, emails leave and statuses come back."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from streams.sandbox.worker import Installation, WorkerProcess
from tests.integration.steps import Make, act, learn, ready, reasons, settled, started
from tests.integration.topics import action, send, status
from tests.small_disk import fill, mount, unmount

pytestmark = pytest.mark.kafka

KNOWN = 8_000


def store_of(worker: WorkerProcess, partition: int) -> Path:
    (found,) = worker.log.with_suffix("").rglob(f"supporter-status-{partition}.db")
    return found


async def knowing(place: Installation, count: int = KNOWN, **settings: object) -> WorkerProcess:
    """A worker that is ready and has learnt `count` statuses, every one subscribed."""
    worker = await ready(place, **settings)
    await learn(place, [status(n, True) for n in range(count)])
    return worker


def spoil(folder: Path) -> None:
    """Overwrite four bytes in each 4 KiB of its table files, but for the end, without which none opens."""
    for path in folder.rglob("*.sst"):
        size = path.stat().st_size
        with path.open("r+b") as file:
            for at in range(100, max(size - 8_000, 101), 4096):
                file.seek(at)
                file.write(b"\x00\xff\x00\xff")


def lines(worker: WorkerProcess, event: str) -> list[dict[str, object]]:
    """The lines of a worker's log with this event."""
    log = worker.log.read_text(errors="replace").splitlines()
    return [orjson.loads(line) for line in log if f'"event":"{event}"' in line]


async def known(place: Installation, first: int, count: int = 30) -> dict[int, str]:
    """Send actions of known supporters; return the reasons of all emails so far from `first` on."""
    await act(place, *(action(n, supporter=n % KNOWN) for n in range(first, first + count)))
    return await reasons(place, first + count)


async def test_damaged_rows_count_as_missing_and_come_back(installation: Make) -> None:
    """Each action has its email, never a dead letter; the stores are named, counted and restored."""
    place = installation(store="rocksdb")
    worker = await knowing(place)
    assert worker.stop() == 0, worker.tail()
    spoil(worker.log.with_suffix(""))
    await started(worker)
    found = await known(place, 0)
    assert set(found.values()) <= {"known_subscribed", "no_lookup"}
    assert worker.counter("confirmation_dead_letters_total") == 0
    await settled(place, lambda: worker.counter("confirmation_stores_away") == 0)
    again = await known(place, 30)
    damaged = worker.counter("confirmation_store_set_aside_total", reason="damaged")
    assert damaged == len(lines(worker, "store_set_aside")) >= 1
    assert all("supporter-status-" in str(line["message"]) for line in lines(worker, "store_set_aside"))
    assert {again[number] for number in range(30, 60)} == {"known_subscribed"}
    assert worker.stop() == 0, worker.tail()


@pytest.mark.slow
async def test_a_truncated_file_does_not_keep_the_worker_from_starting(installation: Make) -> None:
    """One partition's CURRENT is empty, another one's MANIFEST: both are restored from the changelog."""
    place = installation(store="rocksdb")
    worker = await knowing(place)
    assert worker.stop() == 0, worker.tail()
    (store_of(worker, 0) / "CURRENT").write_bytes(b"")
    for path in store_of(worker, 1).glob("MANIFEST-*"):
        path.write_bytes(b"")
    await started(worker)
    assert set((await known(place, 0)).values()) == {"known_subscribed"}
    assert worker.counter("confirmation_store_set_aside_total", reason="damaged") == 2
    assert worker.stop() == 0, worker.tail()


async def test_another_group_believes_nothing_in_the_folder(installation: Make) -> None:
    """Its topic says who is no subscriber; the folder of the first group said they were."""
    first = installation(store="rocksdb")
    worker = await knowing(first, 200)
    folder = worker.log.with_suffix("")
    assert worker.stop() == 0, worker.tail()
    second = installation(store="rocksdb")
    other = await ready(second, store_folder=folder)
    await act(second, *map(action, range(30)))
    assert set((await reasons(second, 30)).values()) == {"no_lookup"}
    assert other.counter("confirmation_store_set_aside_total", reason="foreign") == 4
    assert other.stop() == 0, other.tail()


async def test_a_second_worker_in_the_folder_is_refused_at_once(installation: Make) -> None:
    """One sentence, exit code 2, and the first worker goes on; its files are for its user alone."""
    place = installation(store="rocksdb")
    worker = await knowing(place, 10)
    folder = worker.log.with_suffix("")
    second = place.worker(store_folder=folder)
    second.start()
    assert await asyncio.to_thread(second.wait, 30) == 2, second.tail()
    assert f"STREAMS_STORE_FOLDER={folder} is in use by another worker" in second.tail()
    assert "Traceback" not in second.tail()
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in [folder, *folder.rglob("*")]}
    assert modes == {(True, 0o700), (False, 0o600)}
    assert set((await known(place, 0, 5)).values()) == {"known_subscribed"}
    worker.kill()
    await started(second)
    assert second.stop() == 0, second.tail()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of the first worker, on a disk of 8 MB of its own."""
    folder = tmp_path / "worker-0"
    folder.mkdir()
    if not mount(folder, 8):
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    unmount(folder)


async def test_a_full_disk_of_the_store_stops_no_email_and_heals(
    installation: Make, small_disk: Path
) -> None:
    """Also with a restart in between. The log says space; with room again, every status is in the table."""
    place = installation(store="rocksdb")
    worker = await knowing(place, 100)
    ballast = fill(small_disk)
    count = 2_000
    await send(place.bootstrap_servers, place.names.statuses, [status(n, True) for n in range(count)])
    await settled(place, lambda: worker.counter("confirmation_stores_away") == 4, 60)
    assert any("no space left" in str(line["message"]) for line in lines(worker, "store_away"))
    await act(place, *map(action, range(20)))
    assert set((await reasons(place, 20)).values()) == {"no_lookup"}
    assert worker.get("/livez")[0] == 200
    worker.kill()
    worker.start()
    await act(place, *map(action, range(20, 40)))
    assert set((await reasons(place, 40)).values()) == {"no_lookup"}
    assert worker.running
    ballast.unlink()
    await settled(place, lambda: worker.counter("confirmation_stores_away") == 0, 60)
    await asyncio.to_thread(worker.wait_ready)
    await act(place, *(action(n, supporter=1_900 + n) for n in range(40, 60)))
    found = await reasons(place, 60)
    assert {found[number] for number in range(40, 60)} == {"known_subscribed"}
    assert worker.stop() == 0, worker.tail()
