"""Parts of a worker as its gauges, its page and its probes see them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class FakeLane:
    """A lane that is at work, and all is well."""

    partition: int = 0
    committed: int = 0
    uncommitted: int = 0
    awaiting_lookup: int = 0
    oldest_timestamp_ms: float | None = None
    has_work: bool = False
    stalled_for: float = 0.0  # seconds
    commit_failure: str | None = None
    halted: str | None = None


class FakeLanes(list[FakeLane]):
    """Those of one topic, with the partitions whose lanes are not open yet, and why."""

    def __init__(
        self, lanes: Iterable[FakeLane] = (), opening: dict[int, str] | None = None, *, joined: bool = True
    ) -> None:
        super().__init__(lanes)
        self.opening = opening or {}
        self.joined = joined
