"""Which log the group works on, and which epoch its places belong to.

A record is known by its place: topic, partition, offset. After a log was cut, or its topic was deleted and
made again, other records come to places that were used before. A person then decides where to go on, and
with that decision a new epoch begins: its number is part of the email's id, so that no id comes twice.

The id of the log and the epochs are kept in the commit metadata, as *marks*: runs at offset 2^62 and beyond,
which no log reaches. To a lane a mark is a run of settled offsets far ahead, so every commit carries it on.
The same holds for lanes of earlier versions, which know nothing of epochs. Kafka deletes the committed
offsets of a topic with the topic; therefore the marks stand with the offsets of the re-keyed topic, too.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from streams.delivery.commit_metadata import Run, UnreadableMetadata, decode, encode
from streams.delivery.transaction import Position

#: Each mark lies between a multiple of this and the next one: the first is the log's, the others are epochs'.
_BEYOND = 1 << 62
_LOG = 1
#: Starts of epochs that are kept, the last ones: the metadata has room for no more beside all runs.
_STARTS = 6
_CUT = _LOG + _STARTS + 1


class Epochs(NamedTuple):
    """What is known of one partition of the actions."""

    log: int | None = None  #: its topic's id, shortened (:func:`log_of`); None: not known
    starts: tuple[tuple[int, int], ...] = ()  #: first offset and number of each epoch after 0, both ascending
    #: Where the log ended before what was settled, until a person decides where to go on. It stands in the
    #: metadata, since new records soon come to the places of those that were cut off.
    cut: int | None = None

    def epoch_of(self, offset: int) -> int:
        """Return the epoch that the record at this offset belongs to."""
        at = bisect_right(self.starts, offset, key=lambda start: start[0])
        return self.starts[at - 1][1] if at else 0

    @property
    def current(self) -> int:
        """The epoch of the records to come."""
        return self.starts[-1][1] if self.starts else 0

    def begun(self, since: int, log: int | None) -> Epochs:
        """Return this with a new epoch that begins at offset `since` of `log`."""
        kept = tuple(start for start in self.starts if start[0] < since)
        return Epochs(log, (*kept, (since, self.current + 1))[-_STARTS:])

    def in_log(self, log: int | None) -> Epochs:
        """Return what holds in `log`: if it is another log than the known one, all of it is a new epoch."""
        return self.begun(0, log) if self.log is not None and log not in (None, self.log) else self

    def runs(self) -> list[Run]:
        """Return the marks."""
        marks = [] if self.log is None else [(_LOG * _BEYOND + self.log,) * 2]
        for block, (since, epoch) in enumerate(self.starts, _LOG + 1):
            marks.append((block * _BEYOND + epoch, block * _BEYOND + epoch + since))
        if self.cut is not None:
            marks.append((_CUT * _BEYOND, _CUT * _BEYOND + self.cut))
        return marks


UNKNOWN = Epochs()


def log_of(topic_id: str) -> int | None:
    """Return 61 bits of a topic's id in hexadecimal digits; None for "": the broker has no such ids."""
    return int(topic_id[:16], 16) >> 3 if topic_id else None


def epochs_of(position: Position) -> Epochs:
    """Read the marks from a committed position; :data:`UNKNOWN` where none can be read."""
    log, starts, cut = None, [], None
    for first, last in _runs(position):
        block, number = divmod(first, _BEYOND)
        if block == _LOG:
            log = number
        elif block == _CUT:
            cut = last - first
        elif block > _LOG:
            starts.append((last - first, number))
    return Epochs(log, tuple(starts), cut)


def marked(position: Position, epochs: Epochs) -> Position:
    """Return a position with these marks instead of its own; metadata that cannot be read is dropped."""
    assert position.offset is not None, "marks stand beside a committed offset"
    settled = [run for run in _runs(position) if run[0] < _BEYOND]
    return Position(position.offset, encode(position.offset, settled + epochs.runs()))


def cut_at(position: Position, end: int) -> Position:
    """Return a position in a log that ends at `end`: with the mark of a log that was cut, if it was."""
    if position.offset is None or (epochs := epochs_of(position)).cut is not None:
        return position
    reached = [position.offset, *(last + 1 for _, last in _runs(position) if last < _BEYOND)]
    return position if reached[-1] <= end else marked(position, epochs._replace(cut=end))


def is_marked(position: Position) -> bool:
    """Whether a position has marks, or metadata in which nobody can look for them."""
    return epochs_of(position) != UNKNOWN or (bool(position.metadata) and not _runs(position))


def _runs(position: Position) -> list[Run]:
    try:
        return [] if position.offset is None else decode(position.offset, position.metadata)
    except UnreadableMetadata:
        return []
