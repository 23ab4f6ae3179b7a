"""Brings Proca's messages from RabbitMQ to Kafka.

python -m examples.proca actions      what asks for a confirmation, to the topic of actions, until SIGTERM
python -m examples.proca statuses     what tells of consent, to the topic of supporter statuses, until SIGTERM
python -m examples.proca settings     lists what can be set
"""

from __future__ import annotations

import sys

from examples.first_signal import end_at_sigterm

if __name__ == "__main__" and sys.argv[1:] in (["actions"], ["statuses"]):
    end_at_sigterm()  # before all else is imported

import asyncio
import os
from collections.abc import Callable
from functools import partial

from examples import program
from examples.proca.routes import Route, actions_route, statuses_route
from examples.proca.settings import Settings
from examples.settings import read_settings


async def bridge(settings: Settings, route: Route, stop: asyncio.Event) -> None:
    """Bridge one queue until `stop`."""
    from examples.proca.bridge import Bridge
    from examples.proca.watch import Watch

    watch = Watch()
    with program.pages_of(watch, settings.PREFIX, settings.web_host, settings.web_port):
        await Bridge(settings, route, watch).run(stop)


def _run(route_of: Callable[[Settings], Route]) -> int:
    settings = read_settings(Settings, os.environ)
    return program.run("bridge", partial(bridge, settings, route_of(settings)))


def actions() -> int:
    """Bridge actions. Returns the exit code."""
    return _run(actions_route)


def statuses() -> int:
    """Bridge statuses. Returns the exit code."""
    return _run(statuses_route)


def settings() -> int:
    """Print every setting. Returns the exit code."""
    return program.show_settings(Settings)


COMMANDS = {"actions": actions, "statuses": statuses, "settings": settings}

if __name__ == "__main__":
    sys.exit(program.command(sys.argv[1:], COMMANDS, __doc__ or ""))
