"""Reads a broker's large answers in linear time.

asyncio's StreamReader collects an answer in one buffer and lengthens it by each 256 KiB that arrive, for
which the whole of it may be copied each time; then it is copied twice more. A fetch of four partitions brings
4 MiB, and the copies were a twelfth of the CPU of an action.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any


def read_in_pieces(client: Any) -> None:
    """Make the connections of an aiokafka `client` keep what arrives in pieces until an answer is whole."""
    connect = client._get_conn

    async def connect_and_adapt(*args: Any, **options: Any) -> Any:
        connection = await connect(*args, **options)
        reader = None if connection is None else connection._reader
        if reader is not None and "readexactly" not in vars(reader):
            reader.readexactly = partial(read_exactly, reader, reader.readexactly)
        return connection

    client._get_conn = connect_and_adapt


async def read_exactly(reader: Any, stock: Callable[[int], Awaitable[bytes]], count: int) -> bytes:
    """Do what :meth:`asyncio.StreamReader.readexactly` does; small answers are left to the `stock` method.

    Raises:
        asyncio.IncompleteReadError: the connection ended before `count` bytes had come.
        Exception: that which ended the connection.
    """
    if count <= reader._limit:
        return await stock(count)
    if (failure := reader.exception()) is not None:
        raise failure
    pieces: list[bytearray] = []
    lacking = count
    while lacking:
        if not reader._buffer:
            if reader._eof:
                raise asyncio.IncompleteReadError(b"".join(pieces), count)
            await reader._wait_for_data("readexactly")
            continue
        piece = reader._buffer
        reader._buffer = piece[lacking:]  # empty, but for the last piece
        del piece[lacking:]
        pieces.append(piece)
        lacking -= len(piece)
    reader._maybe_resume_transport()
    return b"".join(pieces)
