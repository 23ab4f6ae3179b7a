"""Rounds of the scenarios in which actions flow: delay at given rates, and while lookups hang."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Contender
from bench.live import Live
from bench.rounds import Round
from bench.scenarios import Case, Scale
from bench.topics import Topics
from bench.workload import TWO_BUTTON
from streams.observability.quantile import quantile
from streams.sandbox.errors import ProcessFailed

SHARES = (0.1, 0.5, 0.8)  # of the sustained rate
DEADLINE = 1.0  # seconds, of a lookup that hangs
_HANGING_RATE = 500  # actions a second: half of them of known supporters
_WARMING_RATE = 2_000
_STATUSES_WITHIN = 60.0  # seconds


@contextmanager
def running(live: Live, result: Round) -> Iterator[None]:
    """Whatever ends a process is this round's problem, and everything is ended."""
    try:
        yield
    except ProcessFailed as error:
        result.problems = [str(error)]
    finally:
        live.close()


def at_rates(topics: Topics, contender: Contender, case: Case, scale: Scale, number: int) -> list[Round]:
    """Delays at the scale's rates, then at shares of what the contender sustains beside the load.

    The latter only where the scale has time for it, in so many rounds, and where the case asks for it.
    """
    live = Live(topics, contender, case.workload, case.partitions, case.settings)
    whole = Round(contender.name)
    rounds: list[Round] = []
    settle = scale.settle_seconds
    seconds = scale.live_seconds + settle
    with running(live, whole):
        # Connections, the table, and the JVM's compiler; then each rate, then as much as goes in.
        live.flow([(_WARMING_RATE, 2 * settle)])
        plan = [(rate, scale.seconds_at(rate) + settle) for rate in scale.live_rates]
        phases = {f"{phase.rate:,}/s": phase for phase in live.flow(plan)}
        if case.sustained and number < scale.sustained_rounds:
            sustained = live.sustained(live.flow([(0, seconds)])[0], settle)
            rates = [max(1, int(sustained * share)) for share in SHARES]
            shares = live.flow([(rate, seconds) for rate in rates])
            phases |= {
                f"{share:.0%} of sustained": phase for share, phase in zip(SHARES, shares, strict=True)
            }
        delays = live.finish()
        whole.problems = delays.problems()
        for label, phase in phases.items():
            found = {"rate": float(phase.rate), **delays.figures(phase, settle)}
            rounds.append(Round(contender.name, label, figures=found))
    return [whole] if whole.problems else rounds


def while_hanging(
    topics: Topics, contender: Contender, case: Case, scale: Scale, url: str, healthy_p99: float | None
) -> Round:
    """Delays of known supporters, and of those who are asked for, with some lookups hanging.

    The lookups of the case's organisations that get two buttons hang, at the service behind `url`.
    `healthy_p99` is that of known supporters, in ms; None in the round that finds it out.
    """
    result = Round(contender.name, case.label)
    hanging = {org for org, letter in case.workload.missing if letter == TWO_BUTTON}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        plan = Path(folder) / "organisations.toml"
        plan.write_text(
            "".join(
                f'[organisation.{org}]\nurl = "{url}/{"hanging" if org in hanging else "slow"}"\n'
                f"deadline = {DEADLINE}\n"
                for org, _ in case.workload.missing
            )
        )
        settings = {"ORGANISATIONS_FILE": str(plan)}
        live = Live(topics, contender, case.workload, case.partitions, settings)
        with running(live, result):
            if contender.own_actions:
                live.watch(live.has_statuses, _STATUSES_WITHIN, "it does not have its statuses")
            # Warmed without questions: the circuits must be closed when the clock starts.
            live.flow([(_WARMING_RATE, 2 * scale.settle_seconds)], whom="known")
            seconds = max(scale.live_seconds, 2 * DEADLINE)
            phase = live.flow([(_HANGING_RATE, seconds)])[0]
            delays = live.finish()
            result.problems = delays.problems()
            work = case.workload

            def p99(only: Callable[[int], bool]) -> float:
                found = quantile(delays.of(phase, 0.0, only), 0.99)
                assert found is not None, "no such action was sent"
                return found

            known = p99(lambda number: not work.is_missing(number))
            result.figures = {"known_p99_ms": known, "missing_p99_ms": p99(work.is_missing)}
            if hanging:
                hung = p99(lambda number: work.is_missing(number) and work.org(number) in hanging)
                result.figures["over_deadline_p99_ms"] = hung - DEADLINE * 1000
            if healthy_p99 is not None:
                result.figures["known_added_p99_ms"] = known - healthy_p99
    return result
