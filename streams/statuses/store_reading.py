"""Reads a store through while a worker may be using it, and writes nothing into its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import rocksdict
from faust.stores.rocksdb import Store

#: What a database is not read from: its lock, its log, and what rocksdict writes at every opening.
_LEFT_OUT = ("LOCK", "LOG", "rocksdict-config.json")
_LOOK_AT_CLOCK = 1_000  # rows between two looks


class Content(NamedTuple):
    """What was read of a store."""

    contained: int | None  # the offset up to and with which it contains its changelog
    rows: int
    whole: bool  # whether every row was read


def read_through(folder: Path, goes_on: Callable[[], bool]) -> Content:
    """Read the rows of the store in `folder`, and so every block of its files, as long as `goes_on` says so.

    RocksDB opens it for reading only, and so without its lock. Even then rocksdict writes a file of its own
    beside the database: it is given a folder of links instead.

    Raises:
        Exception: RocksDB cannot read it (rocksdict has no other class); see
            :func:`streams.statuses.store_trouble.is_passing`. While a worker writes, a file may also have
            gone since it was linked.
        OSError: the folder cannot be read, or no links can be made.
    """
    with tempfile.TemporaryDirectory() as links:
        for path in folder.absolute().iterdir():
            if path.name not in _LEFT_OUT:
                (Path(links) / path.name).symlink_to(path)
        db = rocksdict.Rdict(
            links, options=rocksdict.Options(raw_mode=True), access_type=rocksdict.AccessType.read_only()
        )
        try:
            options = rocksdict.ReadOptions()
            options.fill_cache(False)  # type: ignore[call-arg]  # its stub lacks the argument
            rows = db.iter(options)
            rows.seek_to_first()
            count, whole = 0, True
            while rows.valid():
                count += 1
                if count % _LOOK_AT_CLOCK == 0 and not goes_on():
                    whole = False
                    break
                rows.next()
            rows.status()  # a row that cannot be read ends the walk without a word
            del rows
            raw = db.get(Store.offset_key)
            return Content(None if raw is None else int(raw), count - (raw is not None), whole)
        finally:
            db.close()
