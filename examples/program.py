"""How an example runs as a program: its log, its end by a signal, its pages, its exit codes."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from examples.settings import KafkaSettings, WrongSetting, settings_table
from examples.web import Watch, Web


@contextmanager
def pages_of(watch: Watch, prefix: str, host: str, port: int) -> Iterator[None]:
    """Serve what is seen of a program while it runs; with port 0, nothing.

    Raises:
        WrongSetting: the address, which `prefix` and WEB_HOST, WEB_PORT name, cannot be listened on.
    """
    try:
        web = Web(watch, host, port) if port else None
    except OSError:
        raise WrongSetting(
            f"{prefix}WEB_HOST and {prefix}WEB_PORT must be a free address of this machine."
        ) from None
    try:
        yield
    finally:
        if web is not None:
            web.close()


def run(name: str, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Run `work` until it has heeded the event that SIGTERM or SIGINT sets. Returns the exit code.

    Raises:
        WrongSetting: `work` does.
    """
    from aiokafka.errors import KafkaError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)

    async def until_told() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await work(stop)

    try:
        asyncio.run(until_told())
    except KafkaError as error:
        sys.stderr.write(f"The {name} cannot go on: {type(error).__name__}\n")
        return 1
    logging.getLogger(name).info("stopped")
    return 0


def command(arguments: list[str], commands: Mapping[str, Callable[..., int]], usage: str) -> int:
    """Call the command that the first argument names with the others. Returns the exit code.

    It is 2 for a wrong setting, and for a command that does not exist or takes other arguments.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale, each line can be written
            stream.reconfigure(errors="backslashreplace")
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if name in commands and len(rest) == commands[name].__code__.co_argcount:
            return commands[name](*rest)
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write(usage)
    return 2


def show_settings(kind: type[KafkaSettings]) -> int:
    """Print every setting as Markdown. Returns the exit code."""
    sys.stdout.write(f"{settings_table(kind)}\n")
    return 0
