"""The last line in the log of a worker that ends by itself."""

import re
import subprocess
import sys
from ipaddress import ip_address
from types import FunctionType

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.exceptions import ConsistencyError

from streams.kafka.topics import TopicsUnfit
from streams.observability.crash import why
from tests.privacy.people import SECRETS
from tests.privacy.scanner import Scanner

START = r"__main__, line \d+ \(on_start\)"
WORK = r"__main__, line \d+ \(work\)"
REASONS = {
    "start": rf"OSError: \[Errno 98\] address already in use, raised in {START}",
    "memory": rf"MemoryError: no memory left, raised in {START}",
    "thread": rf"ConnectionRefusedError: \[Errno 111\] nobody listens, raised in {START}",
    "task": f"ValueError, raised in {WORK}",
    "two errors": "LookupError",
    "cancelled": "CancelledError",
    "unfinished": f"ValueError, raised in {WORK}",
}


def run(way: str) -> tuple[int, str]:
    """Run a worker that ends that way; return its exit code and all that it wrote."""
    ended = subprocess.run(
        [sys.executable, "-m", "tests.observability.crashing_worker", way],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=120,
    )
    return ended.returncode, ended.stdout.decode()


@pytest.mark.parametrize(("way", "reason"), REASONS.items(), ids=list(REASONS))
def test_the_last_line_says_why_a_worker_ended(way: str, reason: str) -> None:
    """Whichever part failed, and whatever is unfinished: one sentence, nobody named, exit code not 0."""
    code, output = run(way)
    line = orjson.loads(output.splitlines()[-1])
    assert code != 0
    assert (line["event"], line["level"]) == ("crashed", "critical")
    assert re.fullmatch(f"the worker ends because of an error: {reason}", line["message"])
    assert Scanner(SECRETS).found(output) == []


def test_a_worker_that_was_told_to_stop_gives_no_reason() -> None:
    """A signal ends it with exit code 0."""
    code, output = run("signal")
    assert (code, "crashed" in output) == (0, False)


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (ValueError("no letter for Ana"), "ValueError"),
        (TopicsUnfit("4 partitions\nand 3"), "TopicsUnfit: 4 partitions and 3"),
        (KafkaConnectionError("no brokers"), "KafkaConnectionError: no brokers"),
        (ConsistencyError("Ana"), "ConsistencyError"),
    ],
)
def test_a_reason_is_one_line_that_quotes_nobody(exc: Exception, expected: str) -> None:
    """Class, and text where that is ours or the network's."""
    assert why(exc) == expected


def test_a_reason_names_who_called_the_library_that_failed() -> None:
    """The place where the error was raised, and the last place in our own code on the way there."""
    ours = FunctionType(parse.__code__, {"__name__": "streams.caller", "ip_address": ip_address})
    with pytest.raises(ValueError, match="Ana") as raised:
        ours("Ana")
    text = re.sub(r"line \d+", "line n", why(raised.value))
    assert text == (
        "ValueError, raised in ipaddress, line n (ip_address), called by streams.caller, line n (parse)"
    )


def parse(text: str) -> None:
    ip_address(text)
