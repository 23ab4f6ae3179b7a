"""What every command has in common: its settings, and how it ends.

An exit code means the same everywhere, and whatever a person can mend is one sentence on standard error,
never a traceback. What a command needs beyond click it imports when it runs, so that help and the shell's
completion need not wait for it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from streams.settings.table import Settings

#: The answer is bad: an email is missing, a line was not sent, a lookup failed.
FAILED = 1
#: Wrong options, settings or organisations file.
WRONG_USE = 2
#: Nobody knows the answer: Kafka does not answer, or a topic is missing.
NO_ANSWER = 3
#: Ctrl-C, as a shell has it: 128 and the signal's number.
INTERRUPTED = 130
#: Nobody reads what is printed any more, as in ``streams … | head -1``.
PIPE_CLOSED = 141


class NoAnswer(click.ClickException):
    """Kafka does not answer, or a topic is missing. The text is one sentence for a person."""

    exit_code = NO_ANSWER


class WrongUse(click.ClickException):
    """The settings are wrong, or what was asked for does not exist. The text is for a person."""

    exit_code = WRONG_USE


class CommandGroup(click.Group):
    """Commands that may be interrupted, and whose reader may go away."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """The commands in the order in which they were added: what runs first, first."""
        return list(self.commands)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line as click does, in whatever locale and on whatever terminal."""
        from streams.observability.output import write_in_any_locale

        write_in_any_locale()
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":  # of which click knows nothing
            options["color"] = False
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exits with INTERRUPTED or PIPE_CLOSED where that is how it ended."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # Python writes what is left when it exits, and nobody would read that either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(PIPE_CLOSED)


def settings_in_force() -> Settings:
    """Return what the environment gives. Raises WrongUse."""
    from streams.settings.load import load_settings
    from streams.settings.table import SettingsError

    try:
        return load_settings(os.environ)
    except SettingsError as error:
        raise WrongUse(str(error)) from None


def try_to_write(path: Path) -> None:
    """Find out before a long command whether its result can be written to a file, which is left as it is.

    Raises:
        OSError: it cannot.
    """
    is_new = not os.path.lexists(path)
    path.open("ab").close()
    if is_new:
        path.unlink()


def check_place(where: str, *words: str) -> None:
    """Raise UsageError unless `where` is one of these words, or an offset."""
    if where not in words and not (where.isascii() and where.isdigit() and len(where) < 19):
        raise click.UsageError(f"{where!r} is neither {' nor '.join([*words, 'an offset'])}")


def counted(number: int, one: str) -> str:
    """Return a number with its noun, as in "1 dead letter" or "1,200 dead letters"."""
    return f"{number:,} {one if number == 1 else f'{one}s'}"
