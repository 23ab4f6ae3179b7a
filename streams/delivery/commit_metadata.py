"""The settled offsets beyond the committed one, as text in the commit's metadata.

Kafka keeps a metadata string with every committed offset; a successor reads it and skips what is settled. The
broker's limit is ``offset.metadata.max.bytes``, 4,096 bytes by default.

Layout, version 1: ``cs1.<crc32, 8 hex digits>.<base85 of varints>``. The varints are pairs, one pair a run of
settled offsets: the distance from the previous run's last offset (at first from the committed offset) to the
run's first, and from its first to its last. The checksum covers the committed offset too: whoever moves it
and keeps the metadata (a mirror that translates offsets) has made the distances wrong. Everything here is
pure arithmetic on offsets.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator

METADATA_CAP = 4096  # bytes; the broker's default for offset.metadata.max.bytes
_VERSION = "cs1"
_PREFIX_LENGTH = len(_VERSION) + 1 + 8 + 1

#: A run costs two varints. Below this distance (2^21) a varint takes three bytes at most.
MAX_SPAN = 1 << 21
#: At most so many records of a partition may await their lookups; a lane allows one more. Each of them is
#: followed by at most one run, of six bytes before base85 (five characters for four bytes): 513 runs need
#: 3,861 characters at the most, prefix included.
MAX_AWAITING = 512

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
