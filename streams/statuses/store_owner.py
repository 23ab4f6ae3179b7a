"""For whom a store was made, kept in a small file beside its rows.

The same folder may be given to another group, or the changelog topic may be made anew. The rows of another
changelog would choose wrong letters, and nothing in them tells the difference.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

#: RocksDB leaves files alone whose names are none of its own.
FILE = "owner.json"


class SetAside(StrEnum):
    """Why a store was set aside."""

    DAMAGED = "damaged"  # RocksDB cannot open it, or cannot read a row
    AHEAD = "ahead"  # it contains more than its changelog: it is the copy of another topic
    FOREIGN = "foreign"  # made for another group, cluster or changelog
    UNMARKED = "unmarked"  # nothing says for whom it was made
    UNREADABLE = "unreadable"  # a batch of its changelog cannot be read: an older row may not hold any more


class StoreOwner(NamedTuple):
    """What a store belongs to."""

    group: str
    changelog: str  # the topic's name
    cluster: str  # the cluster's id; "" where the brokers have none
    changelog_id: str  # the topic's id, hexadecimal; "" where the brokers have none (before Kafka 2.8)


def belongs_to(folder: Path, owner: StoreOwner) -> bool | None:
    """Return whether the store in `folder` was made for `owner`; None: nothing that can be read says so.

    Raises:
        OSError: the file is there and cannot be opened.
    """
    try:
        found = StoreOwner(**json.loads((folder / FILE).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return found == owner


def write_owner(folder: Path, owner: StoreOwner) -> None:
    """Note in `folder` that its store is made for `owner`. Raises OSError."""
    text = json.dumps(owner._asdict())
    path = folder / FILE
    if path.exists() and path.read_text() == text:
        return
    new = folder / f"{FILE}.new"
    new.write_text(text)
    new.replace(path)
