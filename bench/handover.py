"""What a handover costs: actions flow while a worker is stopped, another one joins, and one is killed.

Of each partition the longest time without an email is taken, of those that move to another worker and of
those that stay.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.contenders import Contender
from bench.live import Delays, Live
from bench.live_rounds import running
from bench.rounds import Round, shared_by
from bench.scenarios import SESSION_SECONDS, Case, Scale
from bench.silence import Silence
from bench.topics import Topics
from streams.messages.keys import partition_of

_RATE = 400  # actions a second: of each partition one in 20 ms
_MOST_SECONDS = 240.0  # for which actions flow
_SETTLED_WITHIN = 90.0  # seconds
_AFTER = 2.0  # seconds that are watched after the group has settled


@dataclass(frozen=True, slots=True)
class _Event:
    """Seconds by the monotonic clock, and the member of the group that had each partition."""

    label: str
    begin: float
    end: float
    before: Mapping[int, str]
    after: Mapping[int, str]


def handover(topics: Topics, contender: Contender, case: Case, scale: Scale, number: int) -> list[Round]:
    """One round: a planned stop, a join, a kill, of one of the case's workers."""
    del number  # all rounds are alike
    live = Live(topics, contender, case.workload, case.partitions, case.settings, case.workers)
    whole = Round(contender.name, "all events")
    events: list[_Event] = []
    with running(live, whole):

        def settled(workers: int) -> Mapping[int, str]:
            found: Mapping[int, str] = {}

            def look() -> bool:
                nonlocal found
                found = live.owners()
                return shared_by(found, workers, case.partitions)

            live.watch(look, _SETTLED_WITHIN, f"the group has not settled with {workers} members")
            return found

        def event(label: str, happens: Callable[[], object], workers: int) -> None:
            before = settled(len(live.working))
            begin = time.monotonic()
            happens()
            after = settled(workers)
            until = time.monotonic() + _AFTER
            live.watch(lambda: time.monotonic() >= until, 2 * _AFTER, "the clock stands")
            events.append(_Event(label, begin, time.monotonic(), before, after))

        settled(case.workers)
        live.flow([(_RATE, 2 * scale.settle_seconds)])
        flow = live.start_flow([(_RATE, _MOST_SECONDS)])
        last = live.working[-1]
        fewer = case.workers - 1
        until = time.monotonic() + scale.settle_seconds
        live.watch(lambda: time.monotonic() >= until, _AFTER + scale.settle_seconds, "the clock stands")
        event("nothing happens", lambda: None, case.workers)
        event("planned stop", lambda: live.stop_worker(last, "term"), fewer)
        event("join", live.start_worker, case.workers)
        killed = live.working[-1]
        event("kill -9", lambda: live.stop_worker(killed, "kill"), fewer)
        live.end_flow(flow)
        delays = live.finish()
        whole.problems = delays.problems()
        arrivals = _arrivals(delays, case.partitions)
    if whole.problems:
        return [whole]
    return [_round(contender, each, arrivals, case.partitions) for each in events]


def _arrivals(delays: Delays, partitions: int) -> list[tuple[float, int]]:
    """When an email came, in seconds, and in which partition."""
    return sorted(
        (read / 1e9, partition_of(delays.work.key(number), partitions))
        for number, read in enumerate(delays.read[: len(delays.sent)])
        if read
    )


def _round(contender: Contender, event: _Event, arrivals: list[tuple[float, int]], partitions: int) -> Round:
    silence = Silence(partitions, event.begin)
    for moment, partition in arrivals:
        if event.begin <= moment <= event.end:
            silence.arrived(partition, moment)
    longest = silence.longest(event.end)
    moved = [number for number in range(partitions) if event.before[number] != event.after[number]]
    result = Round(contender.name, event.label, figures={"moved": float(len(moved))})
    if moved:
        result.figures["moving_s"] = max(longest[number] for number in moved)
    if len(moved) < partitions:
        result.figures["staying_s"] = max(longest[n] for n in range(partitions) if n not in moved)
    if event.label == "kill -9" and moved:
        result.figures["over_session_s"] = result.figures["moving_s"] - SESSION_SECONDS
    return result
