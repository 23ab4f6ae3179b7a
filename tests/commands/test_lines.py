"""Lines from iterables, files and pipes."""

import asyncio
import gzip
import io
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from streams.commands import lines
from streams.commands.lines import Inflated, blocks_of, paced, read_blocks


async def flat(blocks: AsyncIterator[list[bytes]]) -> list[bytes]:
    return [line async for block in blocks for line in block]


class Pieces:
    """A source that returns the given pieces, one a read."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    def read(self, _: int, /) -> bytes:
        return next(self._pieces, b"")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"\n\na\n", [b"", b"", b"a"]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb", [b"a", b"\xef\xbb\xbfb"]),
        (b" a \n\r\n", [b" a ", b""]),
        (b"a\r\r\n", [b"a\r"]),
        ("ä\u2028ö\x0b\n".encode(), ["ä\u2028ö\x0b".encode()]),
    ],
)
async def test_a_line_is_what_stands_between_line_ends(content: bytes, expected: list[bytes]) -> None:
    """Only LF and CR LF end a line, a byte order mark at the start belongs to none, all else stays."""
    assert await flat(read_blocks(io.BytesIO(content))) == expected
    one_by_one = [bytes([byte]) for byte in content]
    assert await flat(read_blocks(Pieces(*one_by_one))) == expected


@pytest.mark.parametrize(
    "content", [b"", b"\x1f", b"a\nb\n", b"\x1f\x8a\n", b"\x00\n\x00", b"x" * 1_000, "ä\n".encode() * 500]
)
async def test_packed_or_not_the_lines_are_the_same(content: bytes) -> None:
    """What gzip has packed is unpacked, in one file or in several behind each other, also byte by byte."""
    expected = await flat(read_blocks(io.BytesIO(content)))
    half = len(content) // 2
    packed = gzip.compress(content[:half]) + gzip.compress(content[half:]) + b"\0" * 10
    for each in (content, gzip.compress(content), packed):
        assert await flat(read_blocks(Inflated(io.BytesIO(each)))) == expected
        one_by_one = [bytes([byte]) for byte in each]
        assert await flat(read_blocks(Inflated(Pieces(*one_by_one)))) == expected


@pytest.mark.parametrize("cut", [3, 12, -9, -1])
async def test_a_packed_file_that_ends_too_early_cannot_be_read(cut: int) -> None:
    """Its end may hold more lines, so the reader must not take it for whole."""
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(1_000)))
    with pytest.raises(OSError, match="its gzip format ends too early"):
        await flat(read_blocks(Inflated(io.BytesIO(packed[:cut]))))


async def test_a_damaged_packed_file_cannot_be_read() -> None:
    """The reason is a sentence and quotes nothing."""
    packed = bytearray(gzip.compress(os.urandom(4_000)))
    packed[-6] ^= 0xFF  # of the checksum
    with pytest.raises(OSError, match="its gzip format is damaged"):
        await flat(read_blocks(Inflated(io.BytesIO(packed))))


async def test_a_packed_file_is_unpacked_piece_by_piece() -> None:
    """A read gives what it asked for at most, however much a small packed file unpacks to."""
    bomb = Inflated(io.BytesIO(gzip.compress(b"\n" * 50_000_000)))
    sizes = set()
    while piece := bomb.read(lines.READ_BYTES):
        sizes.add(len(piece))
    assert max(sizes) <= lines.READ_BYTES


async def test_a_large_file_arrives_whole(tmp_path: Path) -> None:
    """Lines that span the pieces in which a file is read are put together again."""
    written = [b"%d " % number * (number % 700) for number in range(5000)]
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(written) + b"\n")
    assert path.stat().st_size > 10 * lines.READ_BYTES
    with path.open("rb", buffering=0) as source:
        assert await flat(read_blocks(source)) == written


async def test_a_line_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is longer than the limit comes out once, beyond the limit but bounded; later lines follow."""
    monkeypatch.setattr(lines, "LINE_LIMIT", 10)
    source = Pieces(b"a\n" + b"x" * 8, b"x" * 8, b"x" * 8, b"x\nb\n", b"y" * 11, b"y")
    assert await flat(read_blocks(source)) == [b"a", b"x" * 16, b"b", b"y" * 11]


async def test_a_silent_pipe_does_not_hold_up_the_event_loop() -> None:
    """What is in a pipe comes at once, and waiting for more leaves the loop free."""
    reading, writing = os.pipe()
    with io.FileIO(reading) as source, io.FileIO(writing, "w") as sink:
        blocks = read_blocks(source)
        sink.write(b"first\nsec")
        assert await anext(blocks) == [b"first"]
        following = asyncio.ensure_future(anext(blocks))
        done, _ = await asyncio.wait({following}, timeout=0.05)
        assert not done
        sink.write(b"ond\n")
        assert await following == [b"second"]
        sink.close()
        assert await flat(blocks) == []


async def test_a_read_error_reaches_the_reader(tmp_path: Path) -> None:
    """An error in the reading thread is raised where the lines are awaited."""
    reading = os.open(tmp_path, os.O_RDONLY)  # a folder: reading it is an error
    try:

        class Folder:
            def read(self, size: int, /) -> bytes:
                return os.read(reading, size)

        with pytest.raises(IsADirectoryError):
            await flat(read_blocks(Folder()))
    finally:
        os.close(reading)


async def test_iterables_of_both_kinds_become_blocks() -> None:
    """Lines may come from a list, a generator or an asynchronous generator, with or without line ends."""

    async def asynchronous() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"%d\r\n" % number

    def many() -> Iterator[bytes]:
        for number in range(1200):
            yield b"%d\n" % number

    assert await flat(blocks_of([b"a", b"b\n"])) == [b"a", b"b"]
    assert await flat(blocks_of(asynchronous())) == [b"0", b"1", b"2"]
    assert await flat(blocks_of(many())) == [b"%d" % number for number in range(1200)]


@pytest.mark.parametrize("rate", [50.0, 1000.0])
async def test_a_rate_is_kept(rate: float) -> None:
    """Lines pass no faster than the rate, evenly, and all of them in order."""
    count = int(rate * 0.2)
    arrivals: list[tuple[float, int]] = []
    started = time.monotonic()
    passed = 0
    async for block in paced(blocks_of([b"x"] * count), rate):
        passed += len(block)
        arrivals.append((time.monotonic() - started, passed))
    assert passed == count
    slack = max(1.0, rate * lines.PACE)  # the slice that is under way
    assert all(sent <= seconds * rate + slack + 1e-6 for seconds, sent in arrivals)
    assert arrivals[-1][0] >= 0.15
