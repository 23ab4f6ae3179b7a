"""What becomes of the lines of a feed: which are records, which are refused, and how many of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.commands.keyed_lines import Unsendable
from streams.commands.lines import LINE_LIMIT

if TYPE_CHECKING:
    from streams.commands.keyed_lines import Message
    from streams.commands.lines import Blocks

REFUSALS_SHOWN = 10
#: How the first line of a JSON document ends that is written on many lines. No whole JSON value ends so.
_OPEN_ENDS = (b"{", b"[", b",")


@dataclass(slots=True)
class FeedReport:
    """What has become of the lines so far; ``sent`` counts only what the brokers have acknowledged."""

    topic: str  # "": nothing is to be sent
    lines: int = 0
    blank: int = 0
    without_key: int = 0  # sent, without a key
    sent: int = 0
    read_bytes: int = 0
    not_sent: int = 0
    reasons: list[tuple[int, str]] = field(default_factory=list)  # the first lines not sent: number, reason
    pretty_printed: bool = False  # the first line that is not blank begins a document of many lines
    seconds: float = 0.0

    @property
    def only_checked(self) -> bool:
        """Whether the lines were only looked at."""
        return not self.topic

    @property
    def rate(self) -> float:
        """Acknowledged lines per second."""
        return self.sent / self.seconds if self.seconds else 0.0

    def message_of(
        self, line: bytes, to_message: Callable[[bytes], Message], limit: int = LINE_LIMIT
    ) -> Message | None:
        """Count a line, and return the record that it makes; None: it is blank, or refused.

        Args:
            line: without its line end.
            to_message: makes the record, or raises Unsendable.
            limit: bytes that a line may have.
        """
        self.lines += 1
        self.read_bytes += len(line) + 1
        text = line.strip()
        if not text:
            self.blank += 1
            return None
        if self.lines - self.blank == 1:
            self.pretty_printed = text.endswith(_OPEN_ENDS)
        if len(line) > limit:
            self.refuse_too_long(limit)
            return None
        try:
            return to_message(line)
        except Unsendable as why:
            self._refuse(str(why))
            return None

    def refuse_too_long(self, limit: int) -> None:
        """Note that the last line counted has more bytes than `limit`."""
        self._refuse(f"longer than {limit} bytes, the topic's max.message.bytes")

    def _refuse(self, reason: str) -> None:
        self.not_sent += 1
        if len(self.reasons) < REFUSALS_SHOWN:
            self.reasons.append((self.lines, reason))


async def check(
    blocks: Blocks, to_message: Callable[[bytes], Message], on_progress: Callable[[FeedReport], None]
) -> FeedReport:
    """Find out which lines would be refused, and send nothing; ``on_progress`` hears of each block."""
    report = FeedReport("")
    async for block in blocks:
        for line in block:
            report.message_of(line, to_message)
        on_progress(report)
    return report
