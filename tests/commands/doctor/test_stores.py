"""What ``streams doctor`` says of the folder of the stores; real databases, and a changelog that is told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from streams.commands.doctor.findings import Finding, Severity
from streams.commands.doctor.stores import check_room, check_stores
from streams.settings.load import load_settings
from streams.settings.store_folder import lock, make_private
from streams.statuses.store_owner import FILE, SetAside, write_owner
from streams.statuses.store_trouble import FULL, RESTORED, WHY
from tests.small_disk import fill, mount, unmount
from tests.statuses.test_rocksdb import OURS, Told, closed, filled, opened, spoil_blocks

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of the stores, whose files are made as a worker makes them."""
    before = os.umask(0o077)
    made = tmp_path / "state"
    made.mkdir()
    make_private(made)
    yield made
    os.umask(before)


async def looked(folder: Path, end: int = 100, **environ: str) -> list[Finding]:
    """What is found of it, for the owner of these stores, with a changelog that ends at `end`."""

    async def ends(partitions: list[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, end)

    settings = load_settings({"STREAMS_STORE_FOLDER": str(folder), **environ})
    return await check_stores(settings, OURS, ends)


def problems(findings: list[Finding]) -> list[str]:
    assert {each.check for each in findings} <= {"stores"}
    assert all(each.remedy for each in findings if each.level in (Severity.PROBLEM, Severity.WARNING))
    return [each.text for each in findings if each.level is Severity.PROBLEM]


async def test_stores_that_are_not_here_are_a_note(tmp_path: Path) -> None:
    """On another machine than the worker's there is no folder, and in memory there is none at all."""
    (elsewhere,) = await looked(tmp_path / "none")
    assert (elsewhere.level, "is not on this machine" in elsewhere.text) == (Severity.NOTE, True)
    (memory,) = await looked(tmp_path / "none", STREAMS_STORE="memory")
    assert (memory.level, memory.text) == (Severity.NOTE, "STREAMS_STORE=memory: the table is on no disk")


async def test_an_empty_folder_is_no_fault_whatever_its_rights(tmp_path: Path) -> None:
    """There is nothing in it that somebody could read; a worker that starts makes it its own."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o755)
    assert problems(await looked(folder)) == []


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


async def test_looking_does_not_disturb_the_worker(folder: Path) -> None:
    """While it has the folder, its stores are read, rows in memory too, and nothing in the folder changes."""
    descriptor = lock(folder)
    made = filled(folder, Told())
    made.rows.put(0, {b"later": b"not in a table file yet"}, 42)
    before = files(folder)
    findings = await looked(folder)
    assert files(folder) == before
    assert problems(findings) == []
    (found,) = [each.text for each in findings if each.level is Severity.OK]
    assert found == f"{folder}: the process {os.getpid()} uses it; 2 of 2 stores sound, 4,001 rows read"
    made.rows.put(0, {b"last": b"still writes"}, 43)
    assert made.rows.get(0, b"last") == b"still writes"
    closed(made)
    os.close(descriptor)


async def test_a_file_that_goes_while_it_is_read_is_no_damage(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker removes files when it has merged them: what is missing then is looked for once more."""
    made = filled(folder, Told())
    descriptor = lock(folder)
    iterdir, calls = Path.iterdir, 0

    def with_one_that_has_gone(path: Path) -> Iterator[Path]:
        nonlocal calls
        calls += 1
        found = list(iterdir(path))
        return iter([each for each in found if calls > 1 or each.suffix != ".sst"])

    monkeypatch.setattr(Path, "iterdir", with_one_that_has_gone)
    assert problems(await looked(folder)) == []
    assert calls == 3
    closed(made)
    os.close(descriptor)


def truncate(pattern: str) -> Callable[[Path], None]:
    def change(store: Path) -> None:
        for path in store.glob(pattern):
            path.write_bytes(b"")

    return change


def made_for_another(field: str) -> Callable[[Path], None]:
    return lambda store: write_owner(store, OURS._replace(**{field: "another"}))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (spoil_blocks, SetAside.DAMAGED),
        (truncate("CURRENT"), SetAside.DAMAGED),
        (truncate("MANIFEST-*"), SetAside.DAMAGED),
        (truncate("*.sst"), SetAside.DAMAGED),
        (made_for_another("group"), SetAside.FOREIGN),
        (made_for_another("cluster"), SetAside.FOREIGN),
        (made_for_another("changelog_id"), SetAside.FOREIGN),
        (truncate(FILE), SetAside.UNMARKED),
    ],
    ids=["a block", "CURRENT", "MANIFEST", "a table file", "group", "cluster", "topic", "no mark"],
)
async def test_a_store_that_a_worker_would_set_aside_is_a_problem(
    folder: Path, harm: Callable[[Path], None], reason: SetAside
) -> None:
    """Its folder and the worker's own words are told, and what helps; the other store is sound."""
    made = filled(folder, Told())
    closed(made)
    harm(made.partition_path(0))
    findings = await looked(folder)
    path = made.partition_path(0)
    assert problems(findings) == [f"the store in {path} cannot be trusted, because {WHY[reason]}"]
    assert any(RESTORED in each.remedy for each in findings)
    assert any("1 of 2 stores sound" in each.text for each in findings)


@pytest.mark.parametrize(("end", "ahead"), [(41, True), (42, False)])
async def test_a_store_ahead_of_its_changelog_is_a_problem(folder: Path, end: int, ahead: bool) -> None:
    """It contains offset 41, so a changelog that ends there was cut or made anew."""
    closed(filled(folder, Told()))
    found = problems(await looked(folder, end))
    assert len(found) == (2 if ahead else 0)
    assert all(WHY[SetAside.AHEAD] in each for each in found)


async def test_a_store_that_was_set_aside_is_a_warning(folder: Path) -> None:
    """With its folder and time, as long as nobody removes it; the one in its place is sound."""
    made = filled(folder, Told())
    closed(made)
    spoil_blocks(made.partition_path(0))
    made = opened(folder, Told())
    for number in range(2_000):
        made.rows.get(0, b"%d" % number)
    made.open(0)
    closed(made)
    findings = await looked(folder)
    assert problems(findings) == []
    (found,) = [each.text for each in findings if each.level is Severity.WARNING]
    assert f"{made.partition_path(0)}.set-aside-" in found
    assert f"was set aside at {time.strftime('%Y-', time.gmtime())}" in found


async def test_rights_of_others_are_a_problem(folder: Path) -> None:
    """A file and a folder that others may read; the first is named, and how many there are."""
    made = filled(folder, Told())
    closed(made)
    store = made.partition_path(0)
    store.chmod(0o755)
    (store / "CURRENT").chmod(0o640)
    assert problems(await looked(folder)) == [f"others than the worker's user may use {store} and 1 more"]


async def test_files_that_the_worker_cannot_write_are_a_problem(folder: Path) -> None:
    """Files without the right to write for their own user."""
    made = filled(folder, Told())
    closed(made)
    (made.partition_path(1) / "CURRENT").chmod(0o400)
    (found,) = problems(await looked(folder))
    assert "the disk or its rights (Permission denied)" in found
    assert str(made.partition_path(1) / "CURRENT") in found


@pytest.mark.parametrize(
    ("free", "size", "level", "says"),
    [
        (0, 0, Severity.PROBLEM, FULL),
        (4 * MIB - 1, 0, Severity.PROBLEM, FULL),
        (8 * MIB - 1, 0, Severity.PROBLEM, "nearly full"),
        (8 * MIB, 9 * MIB, Severity.WARNING, "set aside and restored"),
        (9 * MIB, 9 * MIB, None, ""),
    ],
)
def test_room_is_compared_with_what_two_stores_need(
    free: int, size: int, level: Severity | None, says: str
) -> None:
    """A write buffer each to go on at all, and all of them once more to restore them."""
    found = list(check_room(Path("state"), free, 2, size))
    assert [each.level for each in found] == ([] if level is None else [level])
    assert all(says in each.text for each in found)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """The folder on a disk of 64 MB of its own."""
    if not mount(folder, 64):
        pytest.skip("this user may not mount a tmpfs")
    folder.chmod(0o700)
    yield folder
    unmount(folder)


async def test_a_full_disk_and_one_that_is_read_only_are_problems(small_disk: Path) -> None:
    """In the words of the worker; from a disk that nobody may write to, the stores are still read."""
    closed(filled(small_disk, Told()))
    assert problems(await looked(small_disk)) == []
    ballast = fill(small_disk)
    (full,) = problems(await looked(small_disk))
    assert full.startswith(FULL)
    ballast.unlink()
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", small_disk], check=True)
    (read_only,) = problems(await looked(small_disk))
    assert "the disk or its rights (Read-only file system)" in read_only


async def test_what_could_not_be_read_in_time_is_said(folder: Path) -> None:
    """A million rows take seconds: doctor reads what its patience allows."""
    closed(filled(folder, Told()))
    settings = load_settings({"STREAMS_STORE_FOLDER": str(folder)})
    findings = await check_stores(settings, OURS, None, patience=0.0)
    (note,) = [each for each in findings if each.level is Severity.NOTE]
    assert "not every row was read in 0 s" in note.text


async def test_without_kafka_the_stores_are_looked_at_all_the_same(folder: Path) -> None:
    """Damage is told; for whom a store was made cannot be compared."""
    made: Any = filled(folder, Told())
    closed(made)
    made_for_another("group")(made.partition_path(1))
    spoil_blocks(made.partition_path(0))
    settings = load_settings({"STREAMS_STORE_FOLDER": str(folder)})
    (found,) = problems(await check_stores(settings, None, None))
    assert str(made.partition_path(0)) in found
