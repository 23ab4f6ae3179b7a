"""Set the stage, let the performance happen, and clear the stage, however it ends."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import click
from aiokafka.errors import KafkaError

from streams.sandbox.demo.errors import DemoFailed
from streams.sandbox.demo.feeder import own_actions
from streams.sandbox.demo.interrupts import Interrupted, Interrupts
from streams.sandbox.demo.lookup_service import LookupService
from streams.sandbox.demo.people import Crowd
from streams.sandbox.demo.performance import Performance
from streams.sandbox.demo.phases import Phase, script
from streams.sandbox.demo.view import View
from streams.sandbox.demo.worker_process import Worker, organisations_file
from streams.sandbox.kafka import EmbeddedKafka, EmbeddedKafkaError

RATE = 200.0  # actions per second
_KEPT_ANSWERS = "1h"
_ONLY_ONCE = "0s"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be shown.

    Attributes:
        actions: a file of the user's own; None: made-up people sign.
        keep: whether everything keeps running at the end.
        phases: what the lookup service goes through.
        rate: actions per second.
        mailer: a command that is given some of the emails at the end, see ``streams.sandbox.demo.letters``.
    """

    actions: Path | None = None
    keep: bool = False
    phases: Sequence[Phase] = field(default_factory=script)
    rate: float = RATE
    mailer: str | None = None


def run(plan: Plan, view: View) -> int:
    """Show it; call it in the main thread. Returns the exit code (see ``run_demo``)."""
    # What the client logs of a broker that is not there yet, or no more, would tear the picture.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with Interrupts() as interrupts:
        try:
            return _on_a_stage(plan, view, interrupts)
        except Interrupted as interrupted:
            view.say("Everything is stopped.")
            return interrupted.exit_code
        except (DemoFailed, EmbeddedKafkaError) as error:
            view.close()
            click.echo(f"Error: {error}", err=True)
        except (KafkaError, OSError) as error:
            view.close()
            click.echo(f"Error: the demo could not go on ({type(error).__name__}: {error}).", err=True)
    return 1


def _on_a_stage(plan: Plan, view: View, interrupts: Interrupts) -> int:
    actions, statuses, answers = _who_signs(plan)
    with ExitStack() as stage:
        try:
            with view.step("Starting Apache Kafka") as told:
                kafka = EmbeddedKafka(progress=told)
                stage.callback(kafka.stop)
                kafka.start()
            with view.step("Starting a lookup service"):
                lookup = LookupService()
                stage.callback(lookup.stop)
                lookup.start()
            organisations = organisations_file(lookup.url, answers)
            worker = Worker(kafka.bootstrap_servers, organisations, os.environ)
            stage.callback(worker.close)
            worker.start()
            performance = partial(
                Performance,
                kafka,
                lookup,
                worker,
                view,
                phases=plan.phases,
                actions=actions,
                statuses=statuses,
                rate=plan.rate,
                mailer=plan.mailer,
            )
            return asyncio.run(_until_interrupted(performance, plan, interrupts))
        except Interrupted:
            view.close()
            view.say("Interrupted: stopping the worker, the lookup service and Kafka …")
            raise
        finally:
            interrupts.ignore()
            view.close()


async def _until_interrupted(
    open_performance: Callable[[], Performance], plan: Plan, interrupts: Interrupts
) -> int:
    task = asyncio.current_task()
    assert task is not None
    async with open_performance() as performance:  # Kafka's clients are made on the running loop
        with interrupts.cancelling(task):
            await performance.play()
            ended = 0 if plan.keep else await performance.end_worker()
            judged = await performance.judge()
            if plan.keep:
                await performance.stay()
                ended = await performance.end_worker()
            return max(ended, judged)


def _who_signs(plan: Plan) -> tuple[Iterator[bytes], list[bytes], str]:
    """Actions, statuses that are known beforehand, and how long a lookup's answer is kept."""
    if plan.actions is None:
        crowd = Crowd(Random())  # noqa: S311 - made-up people, no secrets
        return crowd.actions(), crowd.statuses(), _KEPT_ANSWERS
    seconds = sum(phase.seconds for phase in plan.phases)
    # The same people come again and again: with their answers kept, no lookup would be left to fail.
    return own_actions(plan.actions, int(plan.rate * seconds) + 1), [], _ONLY_ONCE
