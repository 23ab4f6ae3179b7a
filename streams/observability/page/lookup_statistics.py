"""How each organisation's lookup did in the last minute, and for how long its breaker has not been closed."""

import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from streams.lookup.breaker import State
from streams.lookup.observer import LookupObserver
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.quantile import quantile

log = logging.getLogger(__name__)

#: A minute is kept as so many intervals of so many seconds; a whole interval is forgotten at a time.
INTERVALS, INTERVAL = 6, 10.0

#: Upper bounds in seconds of the durations that are counted together; each is about 25 % above the last.
_BOUNDS = (
    0.001, 0.00125, 0.0016, 0.002, 0.0025, 0.003, 0.004, 0.005, 0.006, 0.008,
    0.01, 0.0125, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08,
    0.1, 0.125, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8,
    1.0, 1.25, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 12.5, 16.0, 20.0, 25.0, 30.0,
)  # fmt: skip


class LastMinute(NamedTuple):
    """An organisation's questions of the last minute; None: there were none.

    Times are in seconds, and up to 25 % too high.
    """

    asked: int
    share: float | None  # answered, of those asked
    median: float | None
    p95: float | None


class _Interval:
    __slots__ = ("answered", "counts", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self.answered = 0
        self.counts = [0] * len(_BOUNDS)


class _Organisation:
    """What is kept of one organisation."""

    __slots__ = ("asked_at", "down_since", "intervals", "wrong_answer")

    def __init__(self) -> None:
        self.intervals: list[_Interval] = []
        self.asked_at: float | None = None
        self.down_since: float | None = None
        self.wrong_answer: str | None = None

    def add(self, now: float, outcome: LookupOutcome, seconds: float) -> None:
        self.asked_at = now
        self.wrong_answer = outcome.detail if outcome.cause is Cause.WRONG_DATA else None
        number = int(now // INTERVAL)
        if not self.intervals or self.intervals[-1].number != number:
            self.intervals = [*self._kept(now), _Interval(number)]
        newest = self.intervals[-1]
        newest.answered += outcome.outcome is not Outcome.ERROR
        newest.counts[min(bisect_left(_BOUNDS, seconds), len(_BOUNDS) - 1)] += 1

    def last_minute(self, now: float) -> LastMinute:
        kept = self._kept(now)
        counts = [sum(column) for column in zip(*(each.counts for each in kept), strict=True)]
        asked = sum(counts)
        return LastMinute(
            asked,
            sum(each.answered for each in kept) / asked if asked else None,
            quantile(_BOUNDS, 0.5, counts),
            quantile(_BOUNDS, 0.95, counts),
        )

    def _kept(self, now: float) -> list[_Interval]:
        oldest = int(now // INTERVAL) - INTERVALS
        return [each for each in self.intervals if each.number > oldest]


class LookupStatistics(LookupObserver):
    """Observes lookups for the page and the log, and passes on to another observer whatever it is told."""

    def __init__(self, following: LookupObserver, clock: Callable[[], float]) -> None:
        """Pass on to `following`; `clock` gives monotonic seconds."""
        self._following = following
        self._clock = clock
        self._organisations: defaultdict[int | None, _Organisation] = defaultdict(_Organisation)

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
        """Count a question that took so many seconds, whatever came of it."""
        self._organisations[org_id].add(self._clock(), outcome, seconds)
        self._following.answered(org_id, outcome, seconds)

    def state_changed(self, org_id: int | None, state: State) -> None:
        """Note, and log, since when the breaker has not been closed; half-open is as down as open."""
        organisation = self._organisations[org_id]
        whose = "the default lookup" if org_id is None else f"the lookup of organisation {org_id}"
        if state is State.CLOSED:
            if organisation.down_since is not None:
                log.info("%s is asked again", whose, extra={"event": "lookup_back", "org_id": org_id})
            organisation.down_since = None
        elif organisation.down_since is None:
            organisation.down_since = self._clock()
            log.warning(
                "%s is down, and is asked only to see whether it is back; its supporters get two buttons",
                whose,
                extra={"event": "lookup_down", "org_id": org_id},
            )
        self._following.state_changed(org_id, state)

    def last_minute(self, org_id: int | None) -> LastMinute:
        """Return the organisation's last minute."""
        return self._organisations[org_id].last_minute(self._clock())

    def down_for(self, org_id: int | None) -> float | None:
        """Return for how many seconds its breaker has not been closed; None: it is closed."""
        return self._seconds_since(self._organisations[org_id].down_since)

    def asked_ago(self, org_id: int | None) -> float | None:
        """Return how many seconds ago its last question ended; None: it was never asked."""
        return self._seconds_since(self._organisations[org_id].asked_at)

    def wrong_answer(self, org_id: int | None) -> str | None:
        """Return why its last answer could not be understood; None: it could, or there was none."""
        return self._organisations[org_id].wrong_answer

    def forget_all_but(self, org_ids: Iterable[int | None]) -> None:
        """Forget organisations that have no lookup any more: ids that somebody makes up must not pile up."""
        for org_id in self._organisations.keys() - set(org_ids):
            del self._organisations[org_id]

    def _seconds_since(self, moment: float | None) -> float | None:
        return None if moment is None else self._clock() - moment
