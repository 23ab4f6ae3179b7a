"""What a worker costs that has nothing to do."""

import time

from bench.contenders import Contender
from bench.live import Live
from bench.live_rounds import running
from bench.rounds import Round, shared_by
from bench.scenarios import Case, Scale
from bench.topics import Topics

_READY_WITHIN = 90.0  # seconds
_SETTLING, _WATCHED = 5.0, 10.0  # in units of the scale's live seconds, halved


def idle(topics: Topics, contender: Contender, case: Case, scale: Scale, number: int) -> list[Round]:
    """One round: the worker has its partitions and all statuses, and no action comes."""
    del number  # all rounds are alike
    result = Round(contender.name)
    live = Live(topics, contender, case.workload, case.partitions, case.settings)
    with running(live, result):
        live.watch(
            lambda: shared_by(live.owners(), 1, case.partitions) and live.has_statuses(),
            _READY_WITHIN,
            "it does not have its partitions and statuses",
        )
        time.sleep(_SETTLING * scale.live_seconds / 2)
        begin, used = time.monotonic(), live.cpu_seconds()
        time.sleep(_WATCHED * scale.live_seconds / 2)
        seconds = time.monotonic() - begin
        result.figures = {
            "idle_percent": (live.cpu_seconds() - used) / seconds * 100,
            "resident_mb": live.resident_bytes() / 1e6,
        }
    return [result]
