"""A mailer for the topic ``confirmation-emails``.

python -m examples.mailer                           mails, until SIGTERM
python -m examples.mailer healthy                   exits with 0 if the mailer here is at work
python -m examples.mailer settings                  lists what can be set
python -m examples.mailer render FOLDER < FILE      writes the letters of emails, JSON lines, to be looked at
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

from examples.mailer.settings import Settings
from examples.settings import WrongSetting, read_settings, settings_table


async def mail(settings: Settings) -> None:
    """Mail until SIGTERM or SIGINT."""
    from examples.mailer.alive import Pulse
    from examples.mailer.letters import Letters
    from examples.mailer.links import Links
    from examples.mailer.mailer import Mailer
    from examples.mailer.sent import Sent
    from examples.mailer.smtp import Smtp
    from examples.mailer.watch import Watch
    from examples.web import Web

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    links = Links(settings.link_base, settings.link_secret, settings.link_templates)
    letters = Letters(settings.from_, links, settings.action_id_header)
    try:
        Pulse(settings.alive_file).be_writable()
    except OSError:
        raise WrongSetting("MAILER_ALIVE_FILE must name a file that can be written, or made.") from None
    try:
        sent = Sent(settings.sent_file, settings.sent_days, time.time)
    except sqlite3.Error:
        raise WrongSetting("MAILER_SENT_FILE must name a file that can be written, or made.") from None
    watch = Watch()
    try:
        web = Web(watch, settings.web_host, settings.web_port) if settings.web_port else None
    except OSError:
        raise WrongSetting(
            "MAILER_WEB_HOST and MAILER_WEB_PORT must be a free address of this machine."
        ) from None
    try:
        await Mailer(settings, letters, Smtp(settings), sent, watch).run(stop)
    finally:
        sent.close()
        if web is not None:
            web.close()


def run() -> int:
    """Mail. Returns the exit code: 1 if Kafka ended it."""
    from aiokafka.errors import KafkaError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.WARNING)
    try:
        asyncio.run(mail(read_settings(Settings, os.environ)))
    except KafkaError as error:
        sys.stderr.write(f"The mailer cannot go on: {type(error).__name__}\n")
        return 1
    logging.getLogger("mailer").info("stopped")
    return 0


def healthy() -> int:
    """Say whether the mailer with these settings is at work. Returns the exit code: 1 if it is not."""
    from examples.mailer.alive import is_alive
    from examples.web import WITHIN

    file = os.environ.get("MAILER_ALIVE_FILE", "")
    if not file:
        raise WrongSetting("MAILER_ALIVE_FILE must be set, for the mailer and here.")
    alive = is_alive(file, time.time())
    sys.stdout.write("at work\n" if alive else f"no sign of life in the last {WITHIN:g} s\n")
    return 0 if alive else 1


def render(folder: Path) -> int:
    """Write the letters of the emails on standard input. Returns the exit code: 1 if there are none."""
    from examples.mailer.gallery import directions, hang

    try:
        gallery = hang(sys.stdin.buffer, folder)
    except OSError as error:
        sys.stderr.write(f"The letters cannot be written to {folder}: {error.strerror}\n")
        return 1
    sys.stdout.write(f"{directions(gallery)}\n")
    return 0 if gallery.letters else 1


def main(arguments: list[str]) -> int:
    """Return the exit code: 2 for a wrong setting or command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale, each line can be written
            stream.reconfigure(errors="backslashreplace")
    try:
        match arguments:
            case []:
                return run()
            case ["healthy"]:
                return healthy()
            case ["settings"]:
                sys.stdout.write(f"{settings_table(Settings)}\n")
                return 0
            case ["render", folder]:
                return render(Path(folder))
    except WrongSetting as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
