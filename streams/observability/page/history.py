"""What was counted in the last minutes, second by second: a page that is opened now shows the past too."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Seconds that are kept.
KEPT = 600


class Point(NamedTuple):
    """What was counted since the point before."""

    moment: float  # seconds since the epoch
    counts: tuple[int, ...]


class History:
    """A ring of points, made from counters that only grow."""

    def __init__(self, kept: int = KEPT) -> None:
        """Keep so many points."""
        self._points: deque[Point] = deque(maxlen=kept)
        self._totals: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[Point]:
        return iter(self._points)

    def note(self, moment: float, totals: Sequence[int]) -> Point:
        """Add what the counters grew by; the first time there is nothing to compare with, and it is zero."""
        before = totals if self._totals is None else self._totals
        self._totals = tuple(totals)
        point = Point(round(moment, 1), tuple(now - then for now, then in zip(totals, before, strict=True)))
        self._points.append(point)
        return point

    def sum(self, index: int) -> int:
        """Return the sum of one count over all points."""
        return sum(point.counts[index] for point in self._points)


class LogGrowth:
    """How many records arrived in the logs of partitions, whether or not this worker has read them."""

    def __init__(self) -> None:
        """Know no log yet."""
        self._ends: dict[tuple[str, int], int] = {}
        self.total = 0

    def note(self, ends: Mapping[tuple[str, int], int]) -> None:
        """Add what the end offsets, by topic and partition, grew by; a partition that is new adds nothing."""
        self.total += sum(max(0, end - self._ends.get(log, end)) for log, end in ends.items())
        self._ends = dict(ends)


@dataclass(frozen=True, slots=True)
class DeadLetterKind:
    """Dead letters of one topic and one error class."""

    topic: str
    error_class: str
    recent: int  # in the seconds kept
    total: int  # since the start
    last: float  # seconds since the epoch


class DeadLetterHistory:
    """When dead letters of which kind were written, to the second."""

    def __init__(self, kept: int = KEPT) -> None:
        """Count those of so many seconds as recent."""
        self._kept = kept
        self._totals: dict[tuple[str, ...], int] = {}
        self._last: dict[tuple[str, ...], float] = {}
        self._recent: deque[tuple[float, tuple[str, ...], int]] = deque()

    def note(self, moment: float, totals: Mapping[tuple[str, ...], int]) -> None:
        """Compare the counter, by topic and error class, with what it was."""
        for kind, total in totals.items():
            if more := total - self._totals.get(kind, 0):
                self._totals[kind] = total
                self._last[kind] = moment
                self._recent.append((moment, kind, more))
        while self._recent and self._recent[0][0] <= moment - self._kept:
            self._recent.popleft()

    def kinds(self) -> list[DeadLetterKind]:
        """Return the kinds that there were, the latest first."""
        recent: Counter[tuple[str, ...]] = Counter()
        for _, kind, count in self._recent:
            recent[kind] += count
        found = [
            DeadLetterKind(kind[0], str(kind[1]), recent[kind], total, self._last[kind])
            for kind, total in self._totals.items()
        ]
        return sorted(found, key=lambda kind: kind.last, reverse=True)
