"""``python -m examples.proca.demo [N]``: N messages as Proca writes them, and N letters."""

from __future__ import annotations

import sys

import click
from aiokafka.errors import KafkaError

from examples.proca.demo.run import run
from streams.sandbox.errors import SandboxError

MESSAGES = 200


def main(arguments: list[str]) -> int:
    """Run the demo. Returns the exit code: 1 if something did not work, or if the numbers differ."""
    number = arguments[0] if arguments else str(MESSAGES)
    if len(arguments) > 1 or not number.isdigit() or not 1 <= int(number) <= 100_000:
        click.echo("Usage: python -m examples.proca.demo [NUMBER OF MESSAGES, 1 to 100000]", err=True)
        return 2
    try:
        return run(int(number))
    except (SandboxError, KafkaError, OSError, TimeoutError) as error:
        click.echo(f"Error: the demo could not go on ({type(error).__name__}): {error}", err=True)
    except KeyboardInterrupt:
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
