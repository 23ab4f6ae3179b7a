"""Reads header names that are not UTF-8.

aiokafka decodes a header's name strictly. One name that is not UTF-8 raises an error in its record reader,
and nobody can read that partition any further. Here such a name becomes a text in which each byte that is not
UTF-8 is a lone surrogate (``surrogateescape`` of PEP 383), so that whoever writes the name again
(:mod:`streams.delivery.batches`) writes the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

#: The first fields of a batch: its base offset (8 bytes), and the length of what follows these 12 bytes.
_LENGTH = struct.Struct(">8xi")
#: The first record format with headers.
_WITH_HEADERS = 2


def read_any_header_name() -> None:
    """Let every aiokafka consumer of this process read header names that are not UTF-8."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The batches of one partition in a fetch response; aiokafka's ``MemoryRecords``."""

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._records = MemoryRecords(buffer)
        self._begin = 0  # of the next batch in the buffer
        self.has_next = self._records.has_next
        self.size_in_bytes = self._records.size_in_bytes

    def next_batch(self) -> Any:
        batch: Any = self._records.next_batch()
        begin = self._begin
        self._begin += _LENGTH.size + _LENGTH.unpack_from(self._buffer, begin)[0]
        if batch is None or batch.is_control_batch or batch.magic < _WITH_HEADERS:
            return batch
        return _Batch(batch, memoryview(self._buffer)[begin : self._begin])


class _Batch:
    """A batch whose records are unpacked all at once, by aiokafka's fast reader if that can read them."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(list(self._batch))
        except UnicodeDecodeError:
            batch = _DefaultRecordBatchPy(self._raw)
            batch._maybe_uncompress()
            batch._buffer = _LenientBytes(batch._buffer)
            return iter(batch)


class _LenientBytes(bytearray):
    """Bytes whose slices are decoded without an error. aiokafka's slow reader decodes header names only."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
