"""The lookup service as a program: ``python -m streams.sandbox.lookup_command``.

Runs until SIGINT or SIGTERM. While it runs, ``curl -X PUT -d hanging http://localhost:8081/`` changes it.
"""

import signal

if __name__ == "__main__":
    # Before all else is imported: in a container this is process 1, and Linux drops a signal to that one
    # unless it is handled or blocked. A blocked one waits for `sigwait`. Threads inherit this.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

import click

from streams.sandbox.errors import SandboxError
from streams.sandbox.lookup_service import Behaviour, LookupService

_PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=_PORT, default=8080, show_default=True, help="For questions, at /lookup.")
@click.option("--control-port", type=_PORT, default=8081, show_default=True, help="Shows and changes it.")
@click.option("--behaviour", type=click.Choice([*Behaviour]), default=Behaviour.HEALTHY, show_default=True)
def main(host: str, port: int, control_port: int, behaviour: str) -> None:
    """Run a lookup service that can be told to fail."""
    service = LookupService(behaviour=Behaviour(behaviour), host=host, port=port, control_port=control_port)
    try:
        service.start()
        click.echo(f"lookup: {service.url}, control at {service.control_url}")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except (OSError, SandboxError) as error:
        raise click.ClickException(str(error)) from None
    finally:
        service.stop()


if __name__ == "__main__":
    main()
