"""``streams drill``: replays the incident, prints what became of it, and cleans up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

import click
from aiokafka.errors import KafkaError
from rich.console import Console

from streams.commands.progress_bar import ProgressBar
from streams.sandbox.drill.report import document, show
from streams.sandbox.drill.run import DEADLINE, MODES, ModeRun, Stage, run_mode
from streams.sandbox.drill.verdict import all_held, verdicts
from streams.sandbox.errors import SandboxError
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import Behaviour
from streams.sandbox.supervised import SupervisedProcesses

_GRACE = 5.0  # seconds that a worker gets when the drill is interrupted
_INTERRUPTED = 130


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
        with _ended_alike(), ProgressBar(silent_for=0.0) as told:
            runs = _run(actions, modes, told)
    except KeyboardInterrupt:
        click.echo("interrupted: everything that the drill started has ended", err=True)
        return _INTERRUPTED
    except (SandboxError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        return 1
    except KafkaError as error:
        click.echo(f"Error: Kafka failed ({type(error).__name__})", err=True)
        return 1
    found = verdicts({mode: run.figures for mode, run in runs.items()}, DEADLINE)
    show(Console(), runs, found)
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(document(runs, found, actions), indent=2) + "\n")
        click.echo(f"The same as JSON: {json_path}")
    return 0 if all_held(found) else 1


def _run(actions: int, modes: Sequence[Behaviour], told: ProgressBar) -> dict[Behaviour, ModeRun]:
    # The client logs each attempt to reach a broker that is gone; what matters comes as an exception.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    told.begin("starting Kafka")
    folder = Path(tempfile.mkdtemp(prefix="streams-drill-"))
    # The supervisor removes the folder, also when the drill is killed, once the worker in it has ended.
    with EmbeddedKafka(progress=told.begin) as kafka, _supervised(folder) as processes:
        stage = Stage(kafka.bootstrap_servers, processes, folder, told)

        async def all_modes() -> dict[Behaviour, ModeRun]:
            return {mode: await run_mode(stage, mode, actions) for mode in modes}

        return asyncio.run(all_modes())


@contextlib.contextmanager
def _supervised(folder: Path) -> Iterator[SupervisedProcesses]:
    processes = SupervisedProcesses(grace=_GRACE, remove=folder)
    try:
        yield processes
    finally:
        processes.close()


@contextlib.contextmanager
def _ended_alike() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does: everything is cleaned up."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a script's job in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
