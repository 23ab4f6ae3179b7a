"""``streams drill``: replays the incident, prints what became of it, and cleans up."""

import asyncio
import json
import logging
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click
from aiokafka.errors import KafkaError
from rich.console import Console

from streams.commands.command_line import try_to_write
from streams.commands.progress_bar import ProgressBar
from streams.sandbox.drill.report import document, show
from streams.sandbox.drill.run import DEADLINE, MODES, WARM_UP, ModeRun, Stage, run_mode
from streams.sandbox.drill.verdict import all_held, verdicts
from streams.sandbox.errors import SandboxError
from streams.sandbox.interrupts import Interrupted, Interrupts
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import Behaviour
from streams.sandbox.supervised import SupervisedProcesses

_GRACE = 5.0  # seconds that a worker gets when the drill is interrupted
_INTERRUPTED = 130
_SHOWN = 200  # characters of a path


def run_drill(json_path: Path | None, actions: int, modes: Sequence[Behaviour] = MODES) -> int:
    """Run the drill; call it in the main thread.

    Args:
        json_path: where the result goes as JSON; None: nowhere.
        actions: of the affected organisation in each mode, 1 or more.
        modes: how its CRM behaves, one run each.

    Returns:
        The exit code: 0 when every goal was reached, 1 when one was missed or the drill could not run, 130
        when it was interrupted.
    """
    try:
        if json_path is not None:
            _prepare(json_path)
        with Interrupts() as interrupts, ProgressBar(silent_for=0.0) as progress:
            runs = _run(actions, modes, progress, interrupts)
        found = verdicts({mode: run.figures for mode, run in runs.items()}, DEADLINE)
        if json_path is not None:  # before anything is shown, which may go wrong
            json_path.write_text(json.dumps(document(runs, found, actions), indent=2) + "\n")
    except Interrupted:
        click.echo("interrupted: everything that the drill started has ended", err=True)
        return _INTERRUPTED
    except (SandboxError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except KafkaError as error:
        click.echo(f"Error: Kafka failed ({type(error).__name__})", err=True)
        return 1
    show(Console(), runs, found)
    if json_path is not None:
        click.echo(f"The same as JSON: {json_path}")
    return 0 if all_held(found) else 1


def _prepare(json_path: Path) -> None:
    try:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        try_to_write(json_path)
    except OSError as error:
        shown = str(json_path)[:_SHOWN]
        raise SandboxError(f"{shown} cannot be written ({error.strerror}): name another --json.") from error


def _run(
    actions: int, modes: Sequence[Behaviour], progress: ProgressBar, interrupts: Interrupts
) -> dict[Behaviour, ModeRun]:
    # The client logs each attempt to reach a broker that is gone; what matters comes as an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    progress.begin("starting Kafka")
    folder = Path(tempfile.mkdtemp(prefix="streams-drill-"))
    with ExitStack() as stack:
        # The supervisor removes the folder, also when the drill is killed, once the worker in it has ended.
        processes = SupervisedProcesses(grace=_GRACE, remove=folder)
        stack.callback(processes.close)
        kafka = stack.enter_context(EmbeddedKafka(progress=progress.begin))
        stage = Stage(kafka.bootstrap_servers, processes, folder, progress)

        async def all_modes() -> dict[Behaviour, ModeRun]:
            with interrupts.cancelling():
                # Kafka is new in the first mode, with which the others are compared.
                return {
                    mode: await run_mode(stage, mode, actions, WARM_UP if number else 2 * actions)
                    for number, mode in enumerate(modes)
                }

        return asyncio.run(all_modes())
