"""What stands in a partition for records that nobody can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class UnreadableRecords:
    """Stands for all records of a batch that is damaged, or that would take too much memory.

    It has what every record has, and nothing in it. Its offset is the last one of the batch, so that whoever
    has taken it goes on behind the batch. A reader that begins in the middle of the batch sees it, too.
    """

    first_offset: int
    offset: int  #: the last one
    reason: str  #: what is wrong with the batch, as the end of a sentence

    key: ClassVar[None] = None
    value: ClassVar[None] = None
    headers: ClassVar[tuple[()]] = ()
    timestamp: ClassVar[int] = -1  # unknown
    timestamp_type: ClassVar[int] = 0

    def place(self, topic: str, partition: int) -> str:
        """Return where the records lie in this partition of a topic, for a sentence."""
        where = f"{topic}/{partition}"
        if self.first_offset == self.offset:
            return f"the record at offset {self.offset:,} of {where}"
        return f"the records at offsets {self.first_offset:,} to {self.offset:,} of {where}"
