"""Set the stage, let the performance happen, and clear the stage, however it ends."""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import click
from aiokafka.errors import KafkaError

from streams.messages.strict_json import ErrorClass
from streams.sandbox.demo.own_actions import own_actions
from streams.sandbox.demo.performance import Performance
from streams.sandbox.demo.phases import Phase, script
from streams.sandbox.demo.view import View
from streams.sandbox.errors import ProcessFailed, SandboxError
from streams.sandbox.interrupts import Interrupted, Interrupts
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService
from streams.sandbox.people import ORGANISATIONS, Crowd
from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import WorkerProcess

RATE = 200.0  # actions per second
_DEADLINE = 1.0  # seconds, of a lookup
_PARTITIONS = 2
_GRACE = 20.0  # seconds for the worker to end in; its own grace is five
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
        except SandboxError as error:
            view.close()
            click.echo(f"Error: {error}", err=True)
        except (KafkaError, OSError) as error:
            view.close()
            click.echo(f"Error: the demo could not go on ({type(error).__name__}: {error}).", err=True)
    return 1


def _on_a_stage(plan: Plan, view: View, interrupts: Interrupts) -> int:
    actions, statuses, answers, explained = _who_signs(plan)
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
            folder = Path(tempfile.mkdtemp(prefix="streams-demo-"))
            processes = SupervisedProcesses(grace=_GRACE, remove=folder)
            stage.callback(processes.close)
            worker = _worker(kafka, lookup, processes, folder, answers)
            stage.callback(worker.close)
            worker.start()
            stage.callback(_end, worker)
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
                explained=explained,
            )
            return asyncio.run(_until_interrupted(performance, plan, interrupts))
        except Interrupted:
            view.close()
            view.say("Interrupted: stopping the worker, the lookup service and Kafka …")
            raise
        finally:
            interrupts.ignore()
            view.close()


def _worker(
    kafka: EmbeddedKafka, lookup: LookupService, processes: SupervisedProcesses, folder: Path, answers: str
) -> WorkerProcess:
    organisations = folder / "organisations.toml"
    organisations.write_text(organisations_file(lookup.url, answers), encoding="utf-8")
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC_PARTITIONS": _PARTITIONS,
        "ORGANISATIONS_FILE": organisations,
        "STORE": "memory",
    }
    return WorkerProcess(processes, "worker", folder, settings)


def _end(worker: WorkerProcess) -> None:
    """Let a worker that still runs finish its emails."""
    with suppress(ProcessFailed):
        worker.stop(_GRACE)


def organisations_file(lookup_url: str, keep_answers: str) -> str:
    """The organisations of the demo, as TOML; `keep_answers` is the lifetime of a lookup's answer.

    The circuit breaker's times are short: with the usual ones it would stay open to the end of the demo.
    """
    default = f"""\
[default]
url = "{lookup_url}"
deadline = {_DEADLINE}
subscribed_lifetime = "{keep_answers}"
not_subscribed_lifetime = "{keep_answers}"
breaker_window = 2
breaker_first_pause = 1
breaker_longest_pause = 1
"""
    entries = [
        f'[organisation.{each.org_id}]\nname = "{each.title}"\n'
        + ("" if each.has_lookup else 'lookup = "none"\n')
        for each in ORGANISATIONS
    ]
    return "\n".join([default, *entries])


async def _until_interrupted(
    open_performance: Callable[[], Performance], plan: Plan, interrupts: Interrupts
) -> int:
    async with open_performance() as performance:  # Kafka's clients are made on the running loop
        with interrupts.cancelling():
            await performance.play()
            ended = 0 if plan.keep else await performance.end_worker()
            judged = await performance.judge()
            if plan.keep:
                await performance.stay()
                ended = await performance.end_worker()
            return max(ended, judged)


def _who_signs(plan: Plan) -> tuple[Iterator[bytes], list[bytes], str, Collection[str]]:
    """Actions, statuses known beforehand, how long a lookup's answer is kept, and explained error classes."""
    if plan.actions is None:
        crowd = Crowd(Random())  # noqa: S311 - made-up people, no secrets
        return crowd.actions(), crowd.statuses(), _KEPT_ANSWERS, ()
    seconds = sum(phase.seconds for phase in plan.phases)
    # The same people come again and again: with their answers kept, no lookup would be left to fail.
    explained = set(ErrorClass) - {ErrorClass.INTERNAL_ERROR}
    return own_actions(plan.actions, int(plan.rate * seconds) + 1), [], _ONLY_ONCE, explained
