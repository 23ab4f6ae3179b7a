"""A record batch of one transaction that is being filled with emails."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import Any

from aiokafka.record.util import encode_varint

from streams.native.letters import encoded_headers
from streams.native.library import Batch


class EmailBatch:
    """Emails in the order in which they were appended, natively and by the path in Python."""

    def __init__(self, library: Any, room: int) -> None:
        """Begin without emails; there is memory for `room` bytes."""
        self._library = library
        self._bytes = bytearray(max(room, 1))
        # Of the first byte alone: an array of `room` bytes would be a type of its own, made for each size.
        self._first = ctypes.c_char.from_buffer(self._bytes)
        self.state = Batch(ctypes.addressof(self._first), room)

    @property
    def count(self) -> int:
        """Emails."""
        return int(self.state.count)

    @property
    def size(self) -> int:
        """Bytes of the whole batch; 0 without emails."""
        return int(self.state.used) if self.state.count else 0

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
        timestamp_ms: int,
    ) -> bool:
        """Append a record that the path in Python has made; return False where it has no room.

        Raises:
            UnicodeEncodeError: the name of a header is not text.
        """
        headers = list(headers)
        tail = bytearray()
        encode_varint(-1 if value is None else len(value), tail.append)
        tail += value or b""
        encode_varint(len(headers), tail.append)
        tail += encoded_headers(headers)
        key_length = 0 if key is None else len(key)
        return bool(
            self._library.cs_append(self.state, timestamp_ms, key, key_length, bytes(tail), len(tail))
        )

    def sealed(self, producer_id: int, producer_epoch: int, sequence: int) -> memoryview:
        """Return the batch as it goes into a produce request of a transaction; at least one email is in it.

        It can be sealed again for another producer. The bytes are the batch's own.
        """
        self._library.cs_seal(self.state, producer_id, producer_epoch, sequence)
        return memoryview(self._bytes)[: self.size]

    def clear(self) -> None:
        """Begin anew, in the same memory. What :meth:`sealed` returned is overwritten."""
        self.state.count = self.state.used = 0


class ProduceBatch:
    """The batch above as aiokafka's producer takes one, in the place of its own builder."""

    def __init__(self, emails: EmailBatch) -> None:
        """Wrap a batch, which may still be filled."""
        self.emails = emails
        self._producer = 0, 0, 0

    def append(self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Any) -> bool:
        """Append a record (timestamp in milliseconds); return False where it has no room.

        Raises:
            UnicodeEncodeError: the name of a header is not text.
        """
        return self.emails.append(key, value, headers, timestamp)

    def size(self) -> int:
        """Return the bytes of the whole batch."""
        return self.emails.size

    def record_count(self) -> int:
        """Return how many emails it has."""
        return self.emails.count

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = producer_id, producer_epoch, base_sequence

    def _build(self) -> memoryview:
        return self.emails.sealed(*self._producer)
