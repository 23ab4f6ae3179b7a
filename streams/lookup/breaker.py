"""When a lookup is not worth asking: a circuit breaker as pure policy, with its clock and its random numbers
passed in.

Closed, every call is admitted and failures are counted over a rolling window. Too many of them open it, and
nothing is admitted for a pause that doubles each time. After the pause it is half-open: one probe at a time,
and only what that probe comes to decides. A probe that proves nothing gives its place back to the next call.

A ticket bears the number of state changes at the time when it was issued, and counts only until the next one.
So a slow answer to a call from before the opening can neither close the breaker nor open it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from streams.lookup.client import ServiceHealth


class State(StrEnum):
    """The three states, as the field names them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Admission(Enum):
    """What a ticket is for: an ordinary call, or the one probe of a half-open breaker."""

    CALL = "call"
    PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to make a call; give it back with ``settle`` or ``cancel``, exactly once."""

    admission: Admission
    state_change: int  # its number


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The numbers. All times in seconds.

    ``window`` is cut into ``buckets`` equal parts; a whole part is forgotten at a time. It opens on a failure
    when the window holds at least ``minimum_calls`` calls, of which at least ``failure_ratio`` failed. The
    pause is ``first_pause``, doubled with every probe that fails, up to ``longest_pause``; of it up to the
    share ``jitter`` is taken off at random, so that many workers do not probe in step. A ``Retry-After``
    (RFC 9110, section 10.2.3) may lengthen the pause, up to ``retry_after_cap``, and never shortens it.
    """

    window: float = 10.0
    buckets: int = 10
    failure_ratio: float = 0.5
    minimum_calls: int = 10
    first_pause: float = 1.0
    longest_pause: float = 60.0
    jitter: float = 0.2
    retry_after_cap: float = 60.0


class Breaker:
    """One circuit breaker. Not thread-safe: it belongs to one event loop.

    ``clock`` gives monotonic seconds, ``random`` a float in [0, 1).
    """

    def __init__(
        self, policy: BreakerPolicy, clock: Callable[[], float], random: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._random = random
        self._state = State.CLOSED
        self._state_changes = 0
        # All calls between two state changes share one ticket.
        self._call = Ticket(Admission.CALL, self._state_changes)
        self._openings = 0  # in a row, without a healthy probe between them
        self._open_until = 0.0
        self._probe_free_since = 0.0  # while it is not closed: since when the next to ask may probe
        self._probing = False
        self._window = _Window(policy.window / policy.buckets, policy.buckets)

    @property
    def state(self) -> State:
        """As of the last call: an open breaker turns half-open only when somebody asks to be admitted."""
        return self._state

    @property
    def open_until(self) -> float:
        """When the present or last pause ends, on the breaker's clock."""
        return self._open_until

    @property
    def probe_due_in(self) -> float | None:
        """Seconds until a probe is admitted; negative: for so long one would have been, and nobody asks.

        None while the breaker is closed, or has a probe out.
        """
        if self._state is State.CLOSED or self._probing:
            return None
        return self._probe_free_since - self._clock()

    def admit(self) -> Ticket | None:
        """A ticket to call or to probe, or ``None``: do not call."""
        if self._state is State.CLOSED:
            return self._call
        if self._state is State.OPEN:
            if self._clock() < self._open_until:
                return None
            self._state = State.HALF_OPEN
        elif self._probing:
            return None
        self._probing = True
        self._state_changes += 1
        return Ticket(Admission.PROBE, self._state_changes)

    def settle(self, ticket: Ticket, health: ServiceHealth, retry_after: float | None = None) -> None:
        """The call ended: what it says about the service. ``retry_after``: seconds the service asked for."""
        if ticket.state_change != self._state_changes:
            return
        if ticket.admission is Admission.PROBE:
            match health:
                case ServiceHealth.HEALTHY:
                    self._close()
                case ServiceHealth.FAILURE:
                    self._open(retry_after)
                case ServiceHealth.NEUTRAL:
                    self.cancel(ticket)
        elif health is not ServiceHealth.NEUTRAL:
            now = self._clock()
            calls, failures = self._window.add(now, failed=health is ServiceHealth.FAILURE)
            # A healthy answer raises the number of calls, but opening on good news would be absurd.
            if (
                health is ServiceHealth.FAILURE
                and calls >= self._policy.minimum_calls
                and failures >= calls * self._policy.failure_ratio
            ):
                self._open(retry_after)

    def cancel(self, ticket: Ticket) -> None:
        """The call was given up and says nothing about the service. A probe's place is free again."""
        if ticket.state_change == self._state_changes and ticket.admission is Admission.PROBE:
            self._probing = False
            self._probe_free_since = self._clock()
            self._state_changes += 1  # should the cancelled probe still report something, it is too late

    def end_pause(self) -> None:
        """Admit a probe from now on, as if the pause of an open breaker had ended. Else nothing changes."""
        if self._state is State.OPEN:
            self._open_until = self._probe_free_since = min(self._open_until, self._clock())

    def _open(self, retry_after: float | None) -> None:
        policy = self._policy
        # The exponent is capped because a float power of a thousand openings would overflow.
        pause = min(policy.first_pause * 2.0 ** min(self._openings, 32), policy.longest_pause)
        pause *= 1.0 - policy.jitter * self._random()
        if retry_after is not None and retry_after > pause:  # False for NaN as well
            pause = max(pause, min(retry_after, policy.retry_after_cap))
        self._openings += 1
        self._open_until = self._probe_free_since = self._clock() + pause
        self._change(State.OPEN)

    def _close(self) -> None:
        self._openings = 0
        self._window.clear()
        self._change(State.CLOSED)

    def _change(self, state: State) -> None:
        self._state = state
        self._probing = False
        self._state_changes += 1
        self._call = Ticket(Admission.CALL, self._state_changes)


class _Window:
    """Calls and failures of the last ``count`` buckets of ``width`` seconds, the present one included."""

    def __init__(self, width: float, count: int) -> None:
        self._width = width
        self._count = count
        self.clear()

    def clear(self) -> None:
        self._calls = [0] * self._count
        self._failures = [0] * self._count
        self._newest = 0

    def add(self, now: float, *, failed: bool) -> tuple[int, int]:
        """Count one call; the calls and failures in the window, this one included."""
        bucket = int(now // self._width)
        for stale in range(max(self._newest, bucket - self._count) + 1, bucket + 1):
            self._calls[stale % self._count] = 0
            self._failures[stale % self._count] = 0
        self._newest = max(self._newest, bucket)
        self._calls[self._newest % self._count] += 1
        self._failures[self._newest % self._count] += failed
        return sum(self._calls), sum(self._failures)
