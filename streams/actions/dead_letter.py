"""Dead letters: their headers, what is kept of one that is too large, and how many of them stop a partition.

A dead letter is the original record (key, value and headers) with more headers behind its own, which say
where it was read and why no email could be made from it (``schemas/dead-letter-headers.json``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from streams.messages.decode import ErrorClass

# The names are Kafka Streams' (KIP-1034), and its numbers are decimal text, too.
_TOPIC = "__streams.errors.topic"
_PARTITION = "__streams.errors.partition"
_OFFSET = "__streams.errors.offset"
_ERROR_CLASS = "__streams.errors.exception"
_JSON_PATH = "errors.json-path"
_SHORTENED_FROM = "shortened-from"

#: Bytes that are kept of a dead letter which its topic has no room for.
SHORTENED_TO = 64 * 1024
#: The limit looks at so many actions, the last ones of its partition.
WINDOW = 1_000
#: Before so many actions are seen, no share is trusted.
LEAST = 100
#: Why a partition stops at the limit, for its log line and ``/readyz``.
DEAD_LETTER_CEILING = (
    "more of its last actions are dead letters than DEAD_LETTER_CEILING allows; mend what writes or reads"
    " them, or raise it, and restart"
)


class DeadLetterOrigin(NamedTuple):
    """What the headers of a dead letter say; "" or None where one is missing or cannot be read."""

    topic: str
    partition: int | None
    offset: int | None
    error_class: str
    json_path: str
    shortened: bool  # whether only the value's beginning was kept


def dead_letter_headers(
    topic: str,
    partition: int,
    offset: int,
    source_headers: Iterable[tuple[str, bytes]],
    error_class: ErrorClass,
    json_path: str,
) -> list[tuple[str, bytes]]:
    """Return a dead letter's headers: those of its record, and then where it was read, and why.

    The text of an exception is left out, since it can quote an address.

    Args:
        topic: where the record was read.
        partition: of that topic.
        offset: of the record.
        source_headers: the record's own.
        error_class: why it is a dead letter.
        json_path: where in its value the fault is; ``$key`` for one in its key.
    """
    return [
        *source_headers,
        (_TOPIC, topic.encode()),
        (_PARTITION, b"%d" % partition),
        (_OFFSET, b"%d" % offset),
        (_ERROR_CLASS, error_class.encode()),
        (_JSON_PATH, json_path.encode()),
    ]


def read_dead_letter_headers(headers: Iterable[tuple[str, bytes | None]]) -> DeadLetterOrigin:
    """Read what :func:`dead_letter_headers` and :func:`shortened` wrote, or any other headers."""
    # The record may have come with headers of the same names: ours are the last.
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in headers}
    return DeadLetterOrigin(
        texts.get(_TOPIC, ""),
        _number(texts.get(_PARTITION, "")),
        _number(texts.get(_OFFSET, "")),
        texts.get(_ERROR_CLASS, ""),
        texts.get(_JSON_PATH, ""),
        _SHORTENED_FROM in texts,
    )


def source_headers(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Return the headers that the record had before it became a dead letter.

    Raises:
        ValueError: it is no dead letter.
    """
    headers = list(headers)
    return headers[: max(at for at, (name, _) in enumerate(headers) if name == _TOPIC)]


def shortened(value: bytes, headers: list[tuple[str, bytes]]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of a dead letter which its topic has no room for, as far as it has."""
    return value[:SHORTENED_TO], [*headers, (_SHORTENED_FROM, b"%d" % len(value))]


class DeadLetterLimit:
    """Watches one partition: a faulty deployment must not turn all actions into dead letters.

    When more than a set share of the last 1,000 actions are dead letters, the fault is more likely ours than
    the producers': the partition stops, everything stays where it is, and a person decides.
    """

    def __init__(self, share: float) -> None:
        """Stop above `share` (0 to 1) of the window; 1 never stops."""
        self._share = share
        self._window: deque[int] = deque(maxlen=WINDOW)
        self.exceeded = False

    def note_good(self) -> None:
        """An action was understood."""
        self._window.append(0)

    def note_dead_letter(self) -> None:
        """An action became a dead letter."""
        window = self._window
        window.append(1)
        self.exceeded = len(window) >= LEAST and sum(window) > self._share * len(window)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
