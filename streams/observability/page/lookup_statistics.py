"""How each organisation's lookup did in the last minute, and for how long its breaker has not been closed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple

from streams.lookup.breaker import State
from streams.lookup.organisation import LookupObserver
from streams.messages.decode import LookupOutcome, Outcome
from streams.observability.quantile import quantile

SLICE = 10.0  # seconds; a whole slice is forgotten at a time
SLICES = 6

#: Upper bounds in seconds of the durations that are counted together; each is about 25 % above the last.
_BOUNDS = (
    0.001, 0.00125, 0.0016, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.008,
    0.01, 0.0125, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08,
    0.1, 0.125, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8,
    1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 12.5, 16.0, 20.0, 25.0, 30.0,
)  # fmt: skip


class Recent(NamedTuple):
    """The exchanges of the last minute."""

    asked: int
    answered: int
    median: float | None  # seconds
    slow: float | None  # seconds; 95 of 100 took no longer

    @property
    def share(self) -> float | None:
        """Of the questions asked, how many were answered."""
        return self.answered / self.asked if self.asked else None


class _Slice:
    __slots__ = ("answered", "counts", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = 0
        self.counts = [0] * len(_BOUNDS)


class Record:
    """One organisation's minute."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._slices: list[_Slice] = []
        self.down_since: float | None = None  # on the watch's clock

    def add(self, now: float, outcome: LookupOutcome, seconds: float) -> None:
        """Note an exchange that took so many seconds."""
        number = int(now // SLICE)
        if not self._slices or self._slices[-1].number != number:
            self._slices = [each for each in self._slices if each.number > number - SLICES]
            self._slices.append(_Slice(number))
        newest = self._slices[-1]
        newest.answered += outcome.outcome is not Outcome.ERROR
        newest.counts[min(bisect_left(_BOUNDS, seconds), len(_BOUNDS) - 1)] += 1

    def recent(self, now: float) -> Recent:
        """Return the last minute's exchanges."""
        number = int(now // SLICE)
        slices = [each for each in self._slices if each.number > number - SLICES]
        counts = [sum(column) for column in zip(*(each.counts for each in slices), strict=True)]
        return Recent(
            sum(counts),
            sum(each.answered for each in slices),
            quantile(_BOUNDS, 0.5, counts),
            quantile(_BOUNDS, 0.95, counts),
        )


class LookupWatch(LookupObserver):
    """Observes the desks for the page, and passes on what it is told."""

    def __init__(self, following: LookupObserver, clock: Callable[[], float]) -> None:
        """Tell `following` too; `clock` gives monotonic seconds."""
        self._following = following
        self._clock = clock
        self._records: dict[int | None, Record] = {}

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
        """See :class:`streams.lookup.organisation.Observer`."""
        self._record(org_id).add(self._clock(), outcome, seconds)
        self._following.answered(org_id, outcome, seconds)

    def state_changed(self, org_id: int | None, state: State) -> None:
        """See :class:`streams.lookup.organisation.Observer`; half-open is as down as open."""
        record = self._record(org_id)
        if state is State.CLOSED:
            record.down_since = None
        elif record.down_since is None:
            record.down_since = self._clock()
        self._following.state_changed(org_id, state)

    def recent(self, org_id: int | None) -> Recent:
        """Return the organisation's last minute."""
        return self._record(org_id).recent(self._clock())

    def down_for(self, org_id: int | None) -> float | None:
        """Return for how many seconds its breaker has not been closed; None: it is."""
        since = self._record(org_id).down_since
        return None if since is None else self._clock() - since

    def keep(self, org_ids: Iterator[int | None]) -> None:
        """Forget the organisations without a desk: ids that somebody makes up must not pile up."""
        kept = set(org_ids)
        for org_id in self._records.keys() - kept:
            del self._records[org_id]

    def _record(self, org_id: int | None) -> Record:
        record = self._records.get(org_id)
        if record is None:
            record = self._records[org_id] = Record()
        return record
