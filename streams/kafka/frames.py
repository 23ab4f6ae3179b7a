"""Takes a broker's answers from the socket, each into one buffer, and hands them to their requests at once.

asyncio's StreamReader is made for programs that read bit by bit: what arrives is collected in one buffer, and
a task of aiokafka's connection takes from it the length of an answer, and then the answer. For a small answer
that is a task's turn and a future more; a large one, which a fetch of four partitions has with its 4 MiB, is
copied three times. Here a frame that has come whole goes to its request in the turn of the event loop that
has read it, and a large one is received into one buffer, from which aiokafka copies it once.
"""

from __future__ import annotations

import asyncio
import weakref
from struct import Struct
from typing import Any

from aiokafka import conn

_SIZE = Struct(">i")  # bytes that follow: an answer, with its header
#: Bytes that are read at a time while no large frame is under way.
_ROOM = 1 << 16
#: Bytes that the buffer of large frames has at first. It grows with what has come: a frame has the size that
#: somebody says, who may be no broker.
_LARGE_ROOM = 1 << 20
#: Bytes of it that are kept for the next frame. New memory for each would cost as much as reading it.
_KEPT_ROOM = 1 << 23

_create_reader_task = conn.AIOKafkaConnection._create_reader_task


def read_frames() -> None:
    """Let every aiokafka connection that this process opens from now on read answers as this module says."""
    conn.AIOKafkaConnection._create_reader_task = _begin_to_read


def _begin_to_read(connection: Any) -> Any:
    # The stock task waits for a length that never comes, until the connection ends: it then closes it.
    task = _create_reader_task(connection)
    transport = connection._writer.transport
    transport.set_protocol(Frames(connection, connection._protocol))
    return task


class Frames(asyncio.BufferedProtocol):
    """Reads frames from a socket, for a connection of aiokafka."""

    def __init__(self, connection: Any, streams: asyncio.StreamReaderProtocol) -> None:
        """Read for `connection`, which is not kept alive; all but what is read goes to its `streams`."""
        self._connection = weakref.ref(connection)
        self._reader: asyncio.StreamReader = connection._reader
        self._streams = streams
        self._small = bytearray(_ROOM)
        self._held = 0  # bytes in it: the beginning of a frame
        self._large = bytearray()  # for a frame that does not fit in
        self._size = 0  # of that one; 0: there is none
        self._filled = 0  # bytes of it that have come
        self._failed = False

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to put what comes next (called by the transport)."""
        if not self._size:
            return memoryview(self._small)[self._held :]
        if self._filled == len(self._large):
            larger = bytearray(max(_LARGE_ROOM, min(2 * self._filled, self._size)))
            larger[: self._filled] = self._large
            self._large = larger
        return memoryview(self._large)[self._filled : self._size]

    def buffer_updated(self, nbytes: int) -> None:
        """Go on with so many bytes that have come (called by the transport)."""
        if not self._size:
            self._held += nbytes
            self._take_small()
            return
        self._filled += nbytes
        if self._filled == self._size:
            self._take(memoryview(self._large)[: self._size])
            self._size = 0
            if len(self._large) > _KEPT_ROOM:
                self._large = bytearray()

    def _take_small(self) -> None:
        begin, held, small = 0, self._held, self._small
        while held - begin >= _SIZE.size:
            (size,) = _SIZE.unpack_from(small, begin)
            if size < 0:
                self._fail(ValueError(f"a frame of {size} bytes"))
                begin = held
            elif size > len(small) - _SIZE.size:
                begin += _SIZE.size
                self._size, self._filled = size, held - begin
                if len(self._large) < self._filled:
                    self._large = bytearray(_LARGE_ROOM)
                self._large[: self._filled] = small[begin:held]
                begin = held
            elif held - begin < _SIZE.size + size:
                break
            else:
                begin += _SIZE.size
                self._take(bytes(memoryview(small)[begin : begin + size]))
                begin += size
        self._held = held - begin
        if begin and self._held:
            small[: self._held] = small[begin:held]

    def _take(self, frame: bytes | memoryview) -> None:
        connection = self._connection()
        if connection is None or connection._reader is None or self._failed:
            return  # closed meanwhile
        try:
            connection._handle_frame(frame)
        except Exception as exc:
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        self._failed = True
        self._reader.set_exception(exc)  # the stock task ends by it, and closes the connection

    def eof_received(self) -> bool | None:
        """The broker ends the connection."""
        return self._streams.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._streams.connection_lost(exc)

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self._streams.pause_writing()

    def resume_writing(self) -> None:
        """The socket takes more again."""
        self._streams.resume_writing()
