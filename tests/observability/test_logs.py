"""What a log line looks like."""

import json
import logging
import logging.config
import re
import sys
from typing import Any

import orjson
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.utils.terminal import logtable
from hypothesis import given
from hypothesis import strategies as st

from streams.kafka.topics import TopicsUnfit
from streams.observability.logs import (
    Bounded,
    JsonLine,
    Levels,
    TextLine,
    configuration,
    describe_error,
    message,
    redacted,
)

REF = "q2Zr8wq0bJmJ3m0l8Jm3y0Y0r3nq8s5T7uXv1A2b3C4"


def record(message: str = "partition %d: waits", *args: Any, level: int = logging.INFO, **extra: Any) -> Any:
    made = logging.LogRecord("streams.lane", level, __file__, 1, message, args, None)
    vars(made).update(extra)
    return made


def raised(exc: Exception) -> Any:
    try:
        raise exc
    except Exception:
        return sys.exc_info()


def test_a_json_line_names_its_event_and_its_place() -> None:
    """One object, with time, level, event, message, logger, and what the line is about."""
    extra = {"event": "lane_waits", "topic": "actions", "partition": 3, "offset": 9, "trace_id": "ab"}
    line = orjson.loads(JsonLine().format(record("partition %d: waits", 3, **extra)))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "message": "partition 3: waits", "logger": "streams.lane", **extra}


def test_a_library_s_line_has_its_logger_for_an_event() -> None:
    """Every line has an event to count by."""
    assert orjson.loads(JsonLine().format(record("hello")))["event"] == "streams.lane"


@pytest.mark.parametrize("style", [JsonLine(), TextLine()])
def test_an_error_is_shown_without_anybody_s_address(style: logging.Formatter) -> None:
    """Class and place of an error stay; addresses in its text and source lines do not."""
    made = record("failed")
    made.exc_info = raised(ValueError("no such person: canary+1@pii.test"))
    line = style.format(made)
    assert "ValueError" in line
    assert "test_logs.py" in line
    assert "pii.test" not in line


def test_a_line_stays_one_line_in_json() -> None:
    """Whatever a message holds, it is one line: nobody can write a line in somebody else's name."""
    assert "\n" not in JsonLine().format(record("a\nb %s", "c\nd"))


def test_a_line_is_json_in_every_locale() -> None:
    """It is ASCII, whatever it holds: a file's name that is no UTF-8 too."""
    line = JsonLine().format(record("%s", "Żółć \udcff"))
    assert line.isascii()
    assert json.loads(line)["message"] == "Żółć \udcff"


@pytest.mark.parametrize("terminal", [False, True])
def test_faust_s_tables_are_left_out(terminal: bool) -> None:
    """What Faust says of its offsets is one line: its table would be one for each partition."""
    table = logtable([["actions", "0", "7"], ["〃", "1", "9"]], title="Highwater", tty=terminal)
    made = record("Highwater for %s changelog partitions:\n%s", "active", table)
    assert message(made) == "Highwater for active changelog partitions"


@pytest.mark.parametrize(
    "text",
    [
        "ana@example.org",
        "<ana+x@example.org>",
        "http://ana:secret@host/x",
        "key=ana@example.org,",
        f"310:{REF}",
    ],
)
def test_addresses_and_references_are_blotted(text: str) -> None:
    """In any surroundings."""
    shown = redacted(f"refused {text} again")
    assert not any(private in shown for private in ("ana", "secret", REF))
    assert shown.startswith("refused ")
    assert shown.endswith(" again")


@given(st.from_regex(r"[a-z0-9.+_-]{1,20}@[a-z0-9-]{1,20}(\.[a-z]{2,5}){1,2}", fullmatch=True), st.text())
def test_no_address_survives(address: str, around: str) -> None:
    """Whatever stands around it."""
    assert address not in redacted(around + " " + address + " " + around)


def test_too_many_lines_of_one_event_are_counted_instead() -> None:
    """The first ones pass; the next window's first line says how many did not; other events are untouched."""
    now = 0.0
    bounded = Bounded(2, 10.0, clock=lambda: now)
    assert [bounded.filter(record(event="a")) for _ in range(5)] == [True, True, False, False, False]
    assert bounded.filter(record(event="b"))
    now = 10.0
    line = record(event="a")
    assert bounded.filter(line)
    assert line.suppressed == 3
    assert orjson.loads(JsonLine().format(line))["suppressed"] == 3


def test_debug_lines_are_not_bounded() -> None:
    """Who asks for everything gets everything."""
    bounded = Bounded(1)
    assert all(bounded.filter(record(level=logging.DEBUG)) for _ in range(5))


def test_a_client_library_s_error_is_a_warning() -> None:
    """The worker tries again by itself; ERROR is for what a person must do. Ours stays what it is."""
    library, own = record(level=logging.ERROR), record(level=logging.ERROR)
    library.name = "aiokafka.conn"
    for each in (library, own):
        Levels().filter(each)
    assert (library.levelname, own.levelname) == ("WARNING", "ERROR")


@pytest.mark.parametrize(
    ("logger", "text"),
    [
        ("faust.app.base", "Missing sensor state for rebalance end #%s"),
        ("mode.timers", "Timer %s is overlapping (interval=%r runtime=%r)"),
    ],
)
def test_what_a_library_says_of_a_healthy_start_is_not_shown(logger: str, text: str) -> None:
    """A line that tells of no fault is left out of log and page; its other lines are shown."""
    line, other = record(level=logging.WARNING), record(level=logging.WARNING)
    line.name = other.name = logger
    line.msg = text
    assert (Levels().filter(line), Levels().filter(other)) == (False, True)


def test_a_broker_that_cannot_be_reached_is_one_line_a_minute() -> None:
    """Without Kafka the client library logs several attempts a second; the next line counts them."""
    now = 0.0
    bounded = Bounded(20, 10.0, clock=lambda: now)

    def attempts(count: int) -> list[logging.LogRecord]:
        lines = [record(level=logging.WARNING) for _ in range(count)]
        for line in lines:
            line.msg, line.args = "Unable connect to node with id %s: %s", (1, "refused")
        return [line for line in lines if bounded.filter(line)]

    assert len(attempts(100)) == 1
    now = 59.0
    assert attempts(100) == []
    now = 60.0
    (line,) = attempts(1)
    assert vars(line)["suppressed"] == 199


@pytest.mark.parametrize(("style", "start"), [("json", r"\{"), ("text", r"\d\d:\d\d:\d\d\.\d{3} INFO ")])
def test_the_configuration_is_taken_by_the_standard_library(
    style: Any, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is taken, and a line comes out on standard output in the style asked for."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        logging.config.dictConfig(configuration("info", style))
        logging.getLogger("streams.x").info("here", extra={"event": "x"})
        out = capsys.readouterr().out
        assert "here" in out
        assert re.match(start, out)
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (ValueError("no letter for Ana"), "ValueError"),
        (KeyError("Ana"), "KeyError"),
        (RuntimeError("Ana"), "RuntimeError"),
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused"),
        (KafkaConnectionError("no brokers"), "KafkaConnectionError: no brokers"),
        (TopicsUnfit("4 and 3 partitions"), "TopicsUnfit: 4 and 3 partitions"),
        (OSError("of ana@example.org"), "OSError: of [address]"),
    ],
)
def test_an_error_s_text_is_told_where_it_cannot_quote_anybody(exc: Exception, expected: str) -> None:
    """A name looks like any word, so of a ValueError only the class is told; ours and the network's speak."""
    assert describe_error(exc) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (record("%s and %r", ValueError("Ana"), ValueError("Ana")), "ValueError and ValueError"),
        (record("%(why)s", {"why": ValueError("Ana")}), "ValueError"),
        (record(ValueError("Ana")), "ValueError"),  # type: ignore[arg-type]  # libraries do it
        (record("<Task name='t' exception=ValueError('Ana')>"), "<Task name='t'"),
        (record("100%"), "100%"),
        (record("%d", "x"), "'%d' (TypeError in its arguments)"),
    ],
)
def test_an_error_in_a_message_is_told_like_any(made: logging.LogRecord, expected: str) -> None:
    """As an argument in any form, as the message itself, and within a task."""
    assert message(made) == expected
    assert orjson.loads(JsonLine().format(made))["message"] == expected


def test_what_asyncio_shows_of_arguments_is_cut() -> None:
    """The name of the callback or task stays."""
    made = record("Exception in callback Lane.settle('Ana')() at lane.py:1\nhandle: <Handle f('Ana')>")
    made.name = "asyncio"
    assert message(made) == "Exception in callback Lane.settle"
