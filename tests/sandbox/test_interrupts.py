"""Signals that end a demo or drill."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from streams.sandbox.interrupts import Interrupted, Interrupts


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """What the signals do otherwise, they do again after a test."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for each, previous in before.items():
        signal.signal(each, previous)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_interrupts_even_where_a_shell_ignores_ctrl_c(number: signal.Signals) -> None:
    """A background job of a script ends, too; the exit code is the shell's for this signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(Interrupted) as interrupted, Interrupts():
        signal.raise_signal(number)
    assert interrupted.value.exit_code == 128 + number


def test_within_a_coroutine_the_first_signal_cancels_and_the_rest_are_ignored() -> None:
    """The coroutine can clean up, whatever comes meanwhile; then it ends as interrupted."""
    cleaned: list[str] = []

    async def work(interrupts: Interrupts) -> None:
        with interrupts.cancelling():
            try:
                signal.raise_signal(signal.SIGTERM)
                await asyncio.Event().wait()
            finally:
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
                cleaned.append("up")

    with pytest.raises(Interrupted) as interrupted, Interrupts() as interrupts:
        asyncio.run(work(interrupts))
    assert interrupted.value.number == signal.SIGTERM
    assert cleaned == ["up"]
