"""Which offsets of a partition are settled, and how that travels in the commit's metadata.

A lane settles offsets out of order: an action with a known status at once, one that waits for a lookup
later. The committed offset is the first unsettled one; the later offsets that are settled already are
listed beside it in the metadata string that Kafka keeps with every committed offset, so that a successor
skips them. The broker's cap is ``offset.metadata.max.bytes``, 4,096 bytes by default.

Layout, version 1: ``cs1.<crc32, 8 hex digits>.<base85 of varints>``. The varints are pairs, one pair a run of
settled offsets: the distance from the previous run's last offset (at first from the committed offset) to the
run's first, and from its first to its last. The checksum covers the committed offset too: whoever moves it
and keeps the metadata (a mirror that translates offsets) has made the distances wrong. Everything here is
pure arithmetic on offsets.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator

METADATA_CAP = 4096  # bytes; the broker's default for offset.metadata.max.bytes
_VERSION = "cs1"
_PREFIX_LENGTH = len(_VERSION) + 1 + 8 + 1

#: A run costs two varints. Below this distance (2^21) a varint takes three bytes at most.
MAX_SPAN = 1 << 21
#: A judge starts no lookup beyond so many in one partition; a lane lets it have one more. Each unsettled
#: offset is followed by at most one run, of six bytes before base85 (five characters for four bytes): 513
#: need 3,861 characters at the most, prefix included.
MAX_PENDING = 512

Run = tuple[int, int]  # first and last offset, both settled, as is every record between them


class UnreadableMetadata(ValueError):
    """Commit metadata that this version did not write, or that was damaged. Never skip by guess."""


def _varints(numbers: Iterable[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        while number > 127:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def _read_varints(raw: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in raw:
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
            if shift > 63:
                raise UnreadableMetadata("a number is longer than an offset can be")
        else:
            yield number
            number = shift = 0
    if shift:
        raise UnreadableMetadata("cut off within a number")


def _checksum(committed: int, text: str) -> str:
    return f"{zlib.crc32(f'{committed}.{text}'.encode()):08x}"


def encode(committed: int, runs: Iterable[Run]) -> str:
    """Write the runs of settled offsets beyond `committed` as commit metadata; "" when there are none.

    `runs` are in ascending order, do not touch, and all lie beyond `committed` (itself unsettled).
    """
    numbers: list[int] = []
    previous = committed
    for first, last in runs:
        numbers += (first - previous, last - first)
        previous = last
    if not numbers:
        return ""
    text = base64.b85encode(_varints(numbers)).decode("ascii")
    return f"{_VERSION}.{_checksum(committed, text)}.{text}"


def decode(committed: int, metadata: str | None) -> list[Run]:
    """Read what :func:`encode` wrote.

    Raises:
        UnreadableMetadata: a newer or foreign writer, a damaged or truncated text. The caller then trusts the
            committed offset alone: the records after it are done again rather than skipped by guess.
    """
    if not metadata:
        return []
    if not metadata.startswith(_VERSION + "."):
        raise UnreadableMetadata("not written by this version")
    checksum, text = metadata[len(_VERSION) + 1 : _PREFIX_LENGTH - 1], metadata[_PREFIX_LENGTH:]
    try:
        if metadata[_PREFIX_LENGTH - 1] != "." or _checksum(committed, text) != checksum:
            raise UnreadableMetadata("the checksum does not match")
        numbers = list(_read_varints(base64.b85decode(text)))
    except (IndexError, ValueError) as exc:
        raise exc if isinstance(exc, UnreadableMetadata) else UnreadableMetadata("damaged") from None
    if len(numbers) % 2:
        raise UnreadableMetadata("cut off within a run")
    runs: list[Run] = []
    previous = committed
    for distance, length in zip(numbers[::2], numbers[1::2], strict=True):
        if distance < 1:
            raise UnreadableMetadata("runs overlap")
        runs.append((previous + distance, previous + distance + length))
        previous = runs[-1][1]
    return runs


class OffsetTracker:
    """How far one partition has been taken, and what of that is not settled yet.

    Only unsettled offsets are kept: everything else below `position` is settled. Offsets that the log skips
    (compaction, transaction markers, aborted records) count as settled: no record will ever be read there.
    """

    __slots__ = ("_ahead", "_incomplete", "position")

    def __init__(self, position: int, ahead: Iterable[Run] = ()) -> None:
        """Start at the committed offset `position`, with the predecessor's settled runs beyond it."""
        self.position = position
        self._ahead = list(ahead)
        # Each with its record's timestamp; ascending, since records are taken in order.
        self._incomplete: dict[int, int] = {}

    @property
    def uncommitted(self) -> int:
        """How many taken records have no outcome yet."""
        return len(self._incomplete)

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp, in ms, of the first record without outcome; None where all have theirs."""
        return next(iter(self._incomplete.values()), None)

    @property
    def committable(self) -> int:
        """The offset to commit: the first unsettled one, or the next one to take."""
        return next(iter(self._incomplete), self.position)

    def spans(self, offset: int) -> bool:
        """Whether taking `offset` keeps every distance within what the metadata has room for.

        With nothing unsettled there is none, however far the log jumps (retention, compaction).
        """
        return not self._incomplete or offset - self.committable < MAX_SPAN

    def settled_before(self, offset: int) -> bool:
        """Whether a predecessor settled `offset`. Asked in ascending order; what lies below is forgotten."""
        ahead = self._ahead
        while ahead and ahead[0][1] < offset:
            ahead.pop(0)
        return bool(ahead) and ahead[0][0] <= offset

    def take(self, offset: int, timestamp: int = 0) -> None:
        """Note that `offset`, of a record with this timestamp in ms, was taken and waits for its outcome."""
        self._incomplete[offset] = timestamp
        self.position = offset + 1

    def settle(self, offset: int) -> bool:
        """Note that the outcome of `offset` is known and about to be written; False if it is too late."""
        return self._incomplete.pop(offset, None) is not None

    def rebase(self, committed: int, ahead: Iterable[Run]) -> None:
        """Go on from what the cluster has committed, which somebody else may have moved meanwhile."""
        self._ahead = list(ahead)
        self._incomplete = {
            offset: timestamp
            for offset, timestamp in self._incomplete.items()
            if offset >= committed and not any(first <= offset <= last for first, last in self._ahead)
        }
        self.position = max(self.position, committed)

    def progress(self) -> tuple[int, list[Run]]:
        """Return the offset to commit and the settled runs beyond it, ascending, with the predecessor's."""
        ahead = self._ahead
        while ahead and ahead[0][0] <= self.position:
            self.position = max(self.position, ahead.pop(0)[1] + 1)
        uncommitted = list(self._incomplete)
        runs = [
            (offset + 1, following - 1)
            for offset, following in zip(uncommitted, [*uncommitted[1:], self.position], strict=False)
            if following > offset + 1
        ]
        return self.committable, runs + ahead
