"""The command line: ``python -m streams`` or ``streams``. Each room declares its commands."""

from __future__ import annotations

import os
import signal
import sys

try:
    # Before all else is imported, which takes a second: in a container a command is process 1, and Linux
    # drops a signal to that one which nobody handles. A worker has nothing to put in order yet, and ends as
    # it was told to; other commands end with the exit code that a shell gives to an end by SIGTERM.
    if sys.argv[1:2] == ["worker"]:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    elif os.getpid() == 1:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    import click

    from streams.commands.acls import acls
    from streams.commands.audit.commands import audit, resend
    from streams.commands.breaker.commands import breaker
    from streams.commands.check import check
    from streams.commands.command_line import CommandGroup
    from streams.commands.dead_letters.commands import dead_letters
    from streams.commands.decide.commands import decide
    from streams.commands.doctor.commands import doctor
    from streams.commands.feed import feed, status
    from streams.commands.lookup import lookup
    from streams.commands.settings import settings
    from streams.commands.start_at import start_at
    from streams.commands.supporter.commands import supporter
    from streams.commands.top.commands import top
    from streams.commands.trace.commands import trace
    from streams.commands.worker import worker
    from streams.sandbox.commands import demo, drill, kafka
except KeyboardInterrupt:  # Ctrl-C in the first tenth of a second
    sys.exit(130)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="confirmation-streams")
def main() -> None:
    """Turns campaign actions into confirmation emails on Kafka, exactly once."""


for command in (
    worker,
    kafka,
    feed,
    status,
    settings,
    check,
    decide,
    demo,
    drill,
    lookup,
    audit,
    resend,
    trace,
    supporter,
    dead_letters,
    top,
    doctor,
    start_at,
    breaker,
    acls,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="streams")
