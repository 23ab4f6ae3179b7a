"""Compares a run with an earlier one, by ratio to the bare loop of the same run: machines differ. Pure."""

from bench import figures
from bench.results import Results

TOLERATED = 0.10

#: Figure, and whether more of it is better.
_WATCHED = (("rate", True), ("cpu_us", False))
#: Their backlogs are drained beside the bare loop's, by us alone.
_SCENARIOS = ("known", "dead", "partitions", "mixed")


def ratios(results: Results) -> dict[str, float]:
    """Our figures by the bare loop's with known statuses in the same run.

    There is none where the bare loop did not run, or was done before the kernel counted any CPU time.
    """
    found: dict[str, float] = {}
    known = results.scenarios.get("known")
    for figure, _ in _WATCHED:
        bare = known.series(figure, "bare") if known else []
        limit = figures.spread(bare).median if bare else 0.0
        if not limit:
            continue
        for name in _SCENARIOS:
            measured = results.scenarios.get(name)
            for case in measured.cases() if measured else []:
                assert measured is not None
                if ours := measured.series(figure, "ours", case):
                    place = f"{name}, {case}" if case else name
                    found[f"{place}: {figure}"] = round(figures.spread(ours).median / limit, 4)
    return found


def compare(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """A sentence for everything that has become worse by more than is tolerated."""
    warnings = []
    for what in now.keys() & before.keys():
        if not before[what]:  # too short a run for the kernel to count CPU time: nothing to compare with
            continue
        better_is_more = dict(_WATCHED)[what.rpartition(": ")[2]]
        change = now[what] / before[what] - 1
        if (-change if better_is_more else change) > TOLERATED:
            warnings.append(
                f"{what} was {before[what]:.2f} of the bare loop's, and is {now[what]:.2f} ({change:+.0%})"
            )
    return sorted(warnings)
