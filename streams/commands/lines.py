"""Lines as blocks: from an iterable, from a file or pipe as it comes, or at a given pace.

A block at a time, because one turn of the event loop per line would cost more than sending the line.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from concurrent.futures import CancelledError
from itertools import islice
from typing import Protocol

LINE_LIMIT = 16 * 1024 * 1024  # bytes; what is longer is no line but a file without line ends
BLOCK_LINES = 500
READ_BYTES = 256 * 1024
PACE = 0.02  # seconds; the finest step at which a rate is kept
_GZIP = b"\x1f\x8b"  # how a gzip file begins
_GZIP_FORMAT = 31  # zlib's window bits for it
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Blocks = AsyncIterator[list[bytes]]


class Source(Protocol):
    """An unbuffered binary file, as ``open(…, "rb", buffering=0)`` makes it."""

    def read(self, size: int, /) -> bytes | None:
        """What is there, at most ``size`` bytes; waits for the first of them. Empty at the end."""


class Inflated:
    """A source whose bytes are inflated if they are gzip's, as the first two of them tell."""

    def __init__(self, source: Source) -> None:
        """Read from `source`."""
        self._source = source
        self._read: bytes | None = None  # from the source, and not given on yet; None: nothing was read
        self._inflate: zlib._Decompress | None = None

    @property
    def is_gzip(self) -> bool:
        """Whether what has been read is gzip's."""
        return self._inflate is not None

    def read(self, size: int, /) -> bytes:
        """What is there, at most ``size`` bytes; waits for the first of them. Empty at the end.

        Raises:
            OSError: it cannot be read, or is no whole gzip file.
        """
        if self._read is None:
            self._read = b""
            while len(self._read) < len(_GZIP) and (more := self._source.read(size)):
                self._read += more
            if self._read.startswith(_GZIP):
                self._inflate = zlib.decompressobj(_GZIP_FORMAT)
        if self._inflate is None:
            begun, self._read = self._read[:size], self._read[size:]
            return begun or self._source.read(size) or b""
        try:
            return self._inflated(self._inflate, size)
        except zlib.error:
            raise OSError(errno.EIO, "its gzip format is damaged") from None

    def _inflated(self, inflate: zlib._Decompress, size: int) -> bytes:
        while True:
            packed = self._read or self._source.read(size) or b""
            self._read = b""
            if inflate.eof:
                if not packed:
                    return b""
                packed = packed.lstrip(b"\0")  # padding
                if not packed:
                    continue
                inflate = self._inflate = zlib.decompressobj(_GZIP_FORMAT)  # one more file behind the first
            elif not packed:
                raise OSError(errno.EIO, "its gzip format ends too early")
            inflated = inflate.decompress(packed, size)
            self._read = inflate.unconsumed_tail or inflate.unused_data
            if inflated:
                return inflated


def _without_end(line: bytes) -> bytes:
    return line.removesuffix(b"\n").removesuffix(b"\r")


async def blocks_of(lines: AsyncIterable[bytes] | Iterable[bytes]) -> Blocks:
    """Lines, with or without their line ends, as blocks without them."""
    if isinstance(lines, AsyncIterable):
        async for line in lines:
            yield [_without_end(line)]
        return
    iterator = iter(lines)
    while block := [_without_end(line) for line in islice(iterator, BLOCK_LINES)]:
        yield block
        await asyncio.sleep(0)


async def read_blocks(source: Source) -> Blocks:
    """The lines of a file or pipe, as soon as they are there and in bounded memory.

    A line of more than LINE_LIMIT bytes comes out cut off, one byte or more beyond the limit, so that whoever
    sends it can tell. Raises OSError if reading fails.
    """
    pieces = _pieces(source)
    tail = b""
    skipping = False  # within a line that was cut off
    first = True
    async for piece in pieces:
        data = tail + piece
        if first and len(data) >= len(_BYTE_ORDER_MARK):
            data = data.removeprefix(_BYTE_ORDER_MARK)
            first = False
        *lines, tail = data.split(b"\n")
        if skipping and lines:
            del lines[0]
            skipping = False
        if skipping:
            tail = b""
        elif len(tail) > LINE_LIMIT:
            lines.append(tail)
            tail = b""
            skipping = True
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
    if tail and not skipping:
        yield [tail.removesuffix(b"\r")]


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    """Reads in a thread of its own: a pipe may be silent for hours, and the event loop must not wait for it.

    A daemon, not the loop's executor, whose threads are joined at exit: an interrupt would then wait for the
    pipe's next byte.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(maxsize=4)

    def put(item: bytes | OSError) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(item), loop).result()

    def pump() -> None:
        try:
            while data := source.read(READ_BYTES):
                put(data)
            put(b"")
        except OSError as error:
            put(error)

    def pump_until_nobody_listens() -> None:
        try:
            pump()
        except (RuntimeError, CancelledError):
            return  # the event loop has ended, and nobody waits for more

    threading.Thread(target=pump_until_nobody_listens, name="read-lines", daemon=True).start()
    while item := await queue.get():
        if isinstance(item, OSError):
            raise item
        yield item


async def paced(blocks: Blocks, rate: float) -> Blocks:
    """The same lines, at most ``rate`` of them per second, in slices that keep the pace even."""
    slice_lines = max(1, int(rate * PACE))
    started = time.monotonic()
    passed = 0
    async for block in blocks:
        for at in range(0, len(block), slice_lines):
            wait = started + passed / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            part = block[at : at + slice_lines]
            passed += len(part)
            yield part
