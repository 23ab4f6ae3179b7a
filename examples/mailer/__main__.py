"""A mailer for the topic ``confirmation-emails``.

python -m examples.mailer                           mails, until SIGTERM
python -m examples.mailer healthy                   exits with 0 if the mailer here is at work
python -m examples.mailer settings                  lists what can be set
python -m examples.mailer render FOLDER < FILE      writes the letters of emails, JSON lines, to be looked at
"""

from __future__ import annotations

import sys

from examples.first_signal import end_at_sigterm

if __name__ == "__main__" and sys.argv[1:] == []:
    end_at_sigterm()  # before all else is imported

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from examples import program
from examples.mailer.settings import Settings
from examples.settings import WrongSetting, read_settings
from examples.web import WITHIN


async def mail(settings: Settings, stop: asyncio.Event) -> None:
    """Mail until `stop`."""
    from examples.mailer.alive import Pulse
    from examples.mailer.letters import Letters
    from examples.mailer.links import Links
    from examples.mailer.mailer import Mailer
    from examples.mailer.sent import Sent
    from examples.mailer.smtp import Smtp
    from examples.mailer.watch import Watch

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
    with program.pages_of(watch, settings.PREFIX, settings.web_host, settings.web_port):
        try:
            await Mailer(settings, letters, Smtp(settings), sent, watch).run(stop)
        finally:
            sent.close()


def run() -> int:
    """Mail until SIGTERM or SIGINT. Returns the exit code: 1 if Kafka ended it."""
    return program.run("mailer", partial(mail, read_settings(Settings, os.environ)))


def healthy() -> int:
    """Say whether the mailer with these settings is at work. Returns the exit code: 1 if it is not."""
    from examples.mailer.alive import is_alive

    file = os.environ.get("MAILER_ALIVE_FILE", "")
    if not file:
        raise WrongSetting("MAILER_ALIVE_FILE must be set, for the mailer and here.")
    alive = is_alive(file, time.time())
    sys.stdout.write("at work\n" if alive else f"no sign of life in the last {WITHIN:g} s\n")
    return 0 if alive else 1


def settings() -> int:
    """Print every setting. Returns the exit code."""
    return program.show_settings(Settings)


def render(folder: str) -> int:
    """Write the letters of the emails on standard input. Returns the exit code: 1 if there are none."""
    from examples.mailer.gallery import directions, hang

    try:
        gallery = hang(sys.stdin.buffer, Path(folder))
    except OSError as error:
        sys.stderr.write(f"The letters cannot be written to {folder}: {error.strerror}\n")
        return 1
    sys.stdout.write(f"{directions(gallery)}\n")
    return 0 if gallery.letters else 1


COMMANDS: dict[str, Callable[..., int]] = {
    "": run,
    "healthy": healthy,
    "settings": settings,
    "render": render,
}

if __name__ == "__main__":
    sys.exit(program.command(sys.argv[1:], COMMANDS, __doc__ or ""))
