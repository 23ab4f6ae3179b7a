"""The whole path on one machine, in a minute: Kafka, a lookup service that fails, a worker, an audit."""

from pathlib import Path

from streams.sandbox.interrupts import Interrupted, Interrupts

__all__ = ["run_demo"]


def run_demo(actions: Path | None, keep: bool, mailer: str | None = None) -> int:
    """Run the demo; call it in the main thread.

    Args:
        actions: a file of actions, JSON lines, that is fed over and over; None: the built-in ones.
        keep: whether everything keeps running at the end, until Ctrl-C.
        mailer: a command that makes letters of some of the emails, given to it as JSON lines.

    Returns:
        The exit code: 0 when every action that asks for an email has exactly one; 1 when not, or when
        something did not work; 130 after Ctrl-C.
    """
    try:
        with Interrupts():
            # Here, as this takes a second and run_demo's caller may only want to know that it exists.
            from streams.sandbox.demo.run import Plan, run
            from streams.sandbox.demo.view import open_view
    except Interrupted as interrupted:
        return interrupted.exit_code
    return run(Plan(actions=actions, keep=keep, mailer=mailer), open_view())
