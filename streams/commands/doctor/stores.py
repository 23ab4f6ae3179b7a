"""The folder of the stores, where it is on this machine: looked at, and never written to.

An operator runs the doctor beside the worker, in its pod for example. The stores may be in use.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from streams.commands.doctor.findings import Finding, note, ok, problem, warning
from streams.kafka.topics import TABLE
from streams.settings import store_folder
from streams.settings.table import Settings
from streams.statuses.store_owner import SetAside, StoreOwner, belongs_to
from streams.statuses.store_reading import Content, read_through
from streams.statuses.store_trouble import (
    AWAY,
    FULL,
    RESTORED,
    WHY,
    WRITE_BUFFER,
    is_passing,
    reason_of,
    surroundings,
)

CHECK = "stores"
#: A partition's database, or one that was set aside, at a time in nanoseconds.
_NAME = re.compile(rf"{TABLE}-(\d+)\.db(?:\.set-aside-(\d+))?")
_PATIENCE = 10.0  # seconds to read all stores
_ATTEMPTS = 3  # to read a store that a worker is writing
_WRONG_RIGHTS = 0o077  # for group and others
_MIB = 1 << 20

#: Asks for the end of each of these partitions of the changelog.
Ends = Callable[[list[int]], Awaitable[Mapping[int, int]]]


class Looked(NamedTuple):
    """What the machine tells, without Kafka."""

    findings: list[Finding]
    contained: Mapping[
        int, tuple[Path, int]
    ]  # by partition: its store, and the changelog's last offset in it


async def check_stores(
    settings: Settings, owner: StoreOwner | None, ends: Ends | None, patience: float = _PATIENCE
) -> list[Finding]:
    """Look at the folder of the stores.

    Args:
        settings: of the worker.
        owner: for whom a worker would make stores; None: Kafka does not tell.
        ends: asks for the changelog's ends; None: Kafka does not tell.
        patience: seconds to read all stores.

    Raises:
        KafkaError: the changelog's ends cannot be told.
    """
    if settings.store != "rocksdb":
        return [note(CHECK, f"STREAMS_STORE={settings.store}: the table is on no disk")]
    named = f"STREAMS_STORE_FOLDER={settings.store_folder}"
    try:
        folder = settings.store_folder.expanduser()  # as Faust does
        if not folder.is_dir():
            return [_not_here(named)]
        looked = await asyncio.to_thread(look, folder, owner, patience)
    except RuntimeError:
        return [_not_here(named)]  # a user without home
    except OSError as error:
        return [
            problem(CHECK, f"{named} cannot be looked at ({error.strerror})", "run this as the worker's user")
        ]
    findings = list(looked.findings)
    if ends is not None and looked.contained:
        # After the stores: a worker that writes is never ahead of what is asked for later.
        found = await ends(list(looked.contained))
        findings += check_ahead(looked.contained, found)
    return findings


def _not_here(named: str) -> Finding:
    return note(
        CHECK,
        f"{named} is not on this machine",
        "to have a worker's stores looked at, run this where the worker runs, in its pod for example",
    )


def look(folder: Path, owner: StoreOwner | None, patience: float) -> Looked:
    """Look at all that the machine tells. Raises OSError."""
    holder = store_folder.holder(folder)
    stores: dict[int, Path] = {}
    asides: dict[Path, int] = {}
    for path in sorted(folder.glob(f"*/tables/{TABLE}-*")):
        if (found := _NAME.fullmatch(path.name)) is not None:
            if found[2] is None:
                stores[int(found[1])] = path
            else:
                asides[path] = int(found[2])
    # In an empty folder there is nothing to protect yet: a worker that starts makes it its own.
    rights = check_rights(folder) if any(folder.iterdir()) else ()
    findings = [*rights, *_room(folder, stores), *_asides(asides)]
    contained = {}
    until = time.monotonic() + patience
    rows, whole, sound = 0, True, 0
    for partition, path in sorted(stores.items()):
        content, wrong = _store(path, owner, until, holder)
        findings += wrong
        sound += not wrong
        if content is not None:
            rows += content.rows
            whole = whole and content.whole
            if content.contained is not None:
                contained[partition] = (path, content.contained)
    user = "no worker is seen to use it" if holder is None else f"the process {holder} uses it"
    findings.append(ok(CHECK, f"{folder}: {user}; {sound} of {len(stores)} stores sound, {rows:,} rows read"))
    if not whole:
        findings.append(note(CHECK, f"not every row was read in {patience:g} s: the others may be damaged"))
    return Looked(findings, contained)


def _store(
    path: Path, owner: StoreOwner | None, until: float, holder: int | None
) -> tuple[Content | None, list[Finding]]:
    """Read one store; while a worker uses it, what looks like damage must be so more than once."""
    try:
        if owner is not None and (found := belongs_to(path, owner)) is not True:
            return None, [_set_aside(path, SetAside.UNMARKED if found is None else SetAside.FOREIGN)]
        for _ in range(1 if holder is None else _ATTEMPTS):
            try:
                return read_through(path, lambda: time.monotonic() < until), []
            except Exception as error:  # rocksdict has no other class
                last = error
    except OSError as error:
        last = error
    if not path.exists():
        return None, []  # the worker has set it aside meanwhile
    if is_passing(last):
        reason = surroundings(last.strerror or "") if isinstance(last, OSError) else reason_of(last)
        return None, [problem(CHECK, f"the store in {path} cannot be used now: {reason}", AWAY)]
    if holder is not None and "No such file" in str(last):
        return None, [note(CHECK, f"the store in {path} changes faster than it can be read", "try again")]
    return None, [_set_aside(path, SetAside.DAMAGED)]


def _set_aside(path: Path, reason: SetAside) -> Finding:
    return problem(
        CHECK,
        f"the store in {path} cannot be trusted, because {WHY[reason]}",
        f"a worker sets it aside when it opens it, or meets the damage, and goes on: {RESTORED}",
    )


def check_ahead(contained: Mapping[int, tuple[Path, int]], ends: Mapping[int, int]) -> Iterator[Finding]:
    """Tell which stores contain more than their changelog. Pure.

    Args:
        contained: by partition: its store, and the changelog's last offset in it.
        ends: of the changelog, by partition.
    """
    for partition, (path, offset) in contained.items():
        if partition in ends and offset >= ends[partition]:
            yield _set_aside(path, SetAside.AHEAD)


def check_rights(folder: Path) -> Iterator[Finding]:
    """Tell of what others than the worker's user may read, and of what that user may not write.

    The folder itself may belong to another user, as the root of a mounted volume does. Raises OSError.
    """
    lock = folder / store_folder.LOCK
    user = lock.stat().st_uid if lock.exists() else os.geteuid()
    wide: list[Path] = []
    shut: list[Path] = []
    for each, _, files in os.walk(folder):
        for path in (Path(each), *(Path(each) / name for name in files)):
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue  # the worker has removed it meanwhile
            if path == folder and found.st_uid != user:
                continue
            if found.st_mode & _WRONG_RIGHTS:
                wide.append(path)
            needed = stat.S_IRWXU if stat.S_ISDIR(found.st_mode) else stat.S_IRUSR | stat.S_IWUSR
            if found.st_uid != user or found.st_mode & needed != needed:
                shut.append(path)
    if wide:
        yield problem(
            CHECK,
            f"others than the worker's user may use {_listed(wide)}",
            f"a worker takes these rights away when it starts; now: chmod -R go= {folder}",
        )
    if shut:
        yield problem(
            CHECK,
            f"{surroundings('Permission denied')}: the worker's user, {user}, may not read and write"
            f" {_listed(shut)}",
            f"chown -R {user} {folder} && chmod -R u=rwX {folder}; {AWAY}",
        )


def _listed(paths: list[Path]) -> str:
    return f"{paths[0]}{f' and {len(paths) - 1:,} more' if len(paths) > 1 else ''}"


def _room(folder: Path, stores: Mapping[int, Path]) -> Iterator[Finding]:
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        reason = surroundings(os.strerror(errno.EROFS))
        yield problem(CHECK, f"the stores in {folder} cannot be used now: {reason}", AWAY)
    size = sum(_size(path) for path in stores.values())
    yield from check_room(folder, shutil.disk_usage(folder).free, max(1, len(stores)), size)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # the worker has removed it meanwhile
    return total


def check_room(folder: Path, free: int, stores: int, size: int) -> Iterator[Finding]:
    """Compare the room on the disk with what the stores need. Pure.

    Args:
        folder: of the stores.
        free: bytes that this user may still write.
        stores: how many there are.
        size: bytes of all of them.
    """
    at_once = stores * WRITE_BUFFER
    room = f"{folder} has room for {free / _MIB:,.1f} MiB"
    if free < at_once:
        yield problem(
            CHECK,
            f"{FULL if free < WRITE_BUFFER else 'its disk is nearly full'}: {room}, and its {stores} stores"
            f" write up to {at_once / _MIB:,.0f} MiB at once",
            f"make room, for example by removing what was set aside; {AWAY}",
        )
    elif free < size:
        yield warning(
            CHECK,
            f"{room}, and its {stores} stores have {size / _MIB:,.1f} MiB: one that is set aside and restored"
            " is there twice",
            "make room",
        )


def _asides(asides: Mapping[Path, int]) -> Iterator[Finding]:
    for path, at in sorted(asides.items(), key=lambda each: each[1]):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1e9))
        yield warning(
            CHECK,
            f"{path} was set aside at {when} UTC ({_size(path) / _MIB:,.1f} MiB)",
            "the worker's log says why (event store_set_aside); look at it or remove it:"
            f" of each partition the last one is kept, and {RESTORED}",
        )
