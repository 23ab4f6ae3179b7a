"""What a log line looks like: JSON for machines, plain text in a terminal; bounded, and without addresses.

Levels: ERROR means that a person must act; WARNING that the worker mends it by itself, and says so; INFO what
happened once; DEBUG everything else. Client libraries call each lost connection an error; the worker tries
again by itself, so their errors count as warnings here.

Our own lines carry ``extra={"event": …}``, one name for each kind of line, and the place it is about
(``topic``, ``partition``, ``offset``, ``trace_id``).
"""

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from aiokafka.errors import KafkaError

from streams.observability.output import write_in_any_locale

Style = Literal["auto", "json", "text"]

#: What places a line; taken from a record's ``extra``.
FIELDS = ("topic", "partition", "offset", "trace_id", "organisation", "suppressed")

# An address: RFC 5321 allows far more, but no white space or brackets, which end one in running text.
_ADDRESS = re.compile(
    r"(?<=//)[^\s/@]+@[^\s\"'<>(){}\[\],;=/\\|]+|[^\s\"'<>(){}\[\],;:=/\\|]+@[^\s\"'<>(){}\[\],;:=/\\|]+"
)
# The form of Proca's contactRefs: the base64url of a SHA-256, without padding (RFC 4648, section 5).
_CONTACT_REF = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])", re.ASCII)
# Errors whose texts speak of brokers, files and names in code. The text of any other may quote a whole
# record, and a name in it looks like any word. Those of this package are written for the log.
_OUTSPOKEN = (KafkaError, OSError, AttributeError, NameError, ImportError, MemoryError, RecursionError)
_OF_A_TASK = re.compile(r" exception=.*", re.DOTALL)
# Faust's tables of offsets, in ASCII or in a terminal's line drawing: dozens of lines that nobody can search.
_TABLE = re.compile(r":?\n[+\x1b┌].*", re.DOTALL)
_LONGEST = 2_000  # characters of a message or an error
_MENDED_BY_US = ("aiokafka", "kafka")
#: Lines of libraries, by logger and the beginning of their text, that tell of no fault. Faust times
#: rebalances for metrics that nobody reads; its timers say less of a blocked event loop than our histogram of
#: its lag does.
_SAYS_NOTHING = (
    ("faust.app.base", "Missing sensor state for rebalance"),
    ("mode.timers", "Timer %s is overlapping"),
    ("mode.timers", "Timer %s woke up too"),
)
#: Without Kafka the client library writes such lines several times a second, and each says the same.
_NO_CONNECTION = ("Unable connect", "Unable to request metadata", "Unable to update metadata")


def redacted(text: str) -> str:
    """Return `text` without addresses and contactRefs: the last defence, behind never writing them."""
    return _CONTACT_REF.sub("[ref]", _ADDRESS.sub("[address]", text))


def describe_error(exc: BaseException) -> str:
    """Return what may be said of an error: its class, and its text where that cannot quote anybody."""
    kind = type(exc)
    if kind.__module__.startswith("streams.") or isinstance(exc, _OUTSPOKEN):
        text = str(exc).removeprefix(f"{kind.__name__}: ")  # aiokafka's begin with their class
        return redacted(f"{kind.__name__}: {text}")[:_LONGEST]
    return kind.__name__


def message(record: logging.LogRecord) -> str:
    """Return the message of a line, with errors in it as :func:`describe_error` describes them."""
    if isinstance(record.msg, BaseException):
        return describe_error(record.msg)
    try:
        text = _formed(record)
    except Exception as exc:  # a library's mistake in a log call must not cost the line
        text = f"{record.msg!r} ({type(exc).__name__} in its arguments)"
    if record.name == "asyncio":  # from the first bracket on it shows arguments of callbacks, and results
        text = text.partition("\n")[0].partition("(")[0]
    return redacted(_OF_A_TASK.sub("", _TABLE.sub("", text)))[:_LONGEST]


def _formed(record: logging.LogRecord) -> str:
    args: Any = record.args
    if not args:
        return str(record.msg)
    if isinstance(args, Mapping):
        return str(record.msg) % {name: _described(each) for name, each in args.items()}
    return str(record.msg) % tuple(map(_described, args))


def _described(argument: object) -> object:
    return _Described(describe_error(argument)) if isinstance(argument, BaseException) else argument


class _Described(str):
    """A text that is shown the same by %s and %r."""

    __slots__ = ()
    __repr__ = str.__str__


def configuration(level: str, style: Style) -> dict[str, Any]:
    """Return what ``logging.config.dictConfig`` needs for the worker.

    Args:
        level: least level to show, e.g. ``info``.
        style: ``auto`` is text where standard output is a terminal, and JSON lines elsewhere.
    """
    if style == "auto":
        style = "text" if sys.stdout.isatty() else "json"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonLine if style == "json" else TextLine}},
        "filters": {"levels": {"()": Levels}, "bounded": {"()": Bounded}},
        "handlers": {
            "default": {"()": _standard_output, "formatter": "line", "filters": ["levels", "bounded"]}
        },
        "root": {"level": level.upper(), "handlers": ["default"]},
    }


def _standard_output() -> logging.StreamHandler[TextIO]:
    write_in_any_locale()  # Faust's own command begins in none of our modules
    return logging.StreamHandler(sys.stdout)


class Levels(logging.Filter):
    """Makes the errors of client libraries warnings, and stops their lines that tell of no fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the level where it has to be; says whether the line is shown."""
        if record.levelno == logging.ERROR and record.name.partition(".")[0] in _MENDED_BY_US:
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        text = str(record.msg)
        return not any(record.name == name and text.startswith(begin) for name, begin in _SAYS_NOTHING)


class Bounded(logging.Filter):
    """Passes at most `most` lines of one event in `seconds`; the next one says how many were left out.

    Of a client library's lines about a broker that cannot be reached it passes one a minute. Lines at DEBUG
    are not bounded: who asks for everything gets everything.
    """

    def __init__(
        self, most: int = 20, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._windows: dict[tuple[str, str], list[float]] = {}  # event: [start, passed, left out]

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        if record.levelno <= logging.DEBUG:
            return True
        now = self._clock()
        # A message template is written in code, so there are only so many; a text made on the way is cut.
        event = record.name, str(getattr(record, "event", "") or record.msg)[:80]
        most, seconds = (1, 60.0) if event[1].startswith(_NO_CONNECTION) else (self._most, self._seconds)
        window = self._windows.get(event)
        if window is None or now - window[0] >= seconds:
            left_out = 0 if window is None else int(window[2])
            if len(self._windows) > 1_000:
                self._windows.clear()
            self._windows[event] = [now, 1, 0]
            if left_out:
                record.suppressed = left_out
            return True
        if window[1] < most:
            window[1] += 1
            return True
        window[2] += 1
        return False


class JsonLine(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": message(record),
            "logger": record.name,
        }
        line |= _places(record)
        if record.exc_info:
            line["error"], line["stack"] = _error(record)
        # In ASCII, so that it is JSON in every locale.
        return json.dumps(line, default=str, separators=(",", ":"))


class TextLine(logging.Formatter):
    """The same for a person's eyes: time, level, message, places; an error with its stack below."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S.%f")[:-3]
        places = "".join(f" {name}={value}" for name, value in _places(record).items())
        line = f"{moment} {record.levelname:<7} {message(record)}{places}"
        if record.exc_info:
            error, stack = _error(record)
            line = "\n    ".join([line, *stack, error])
        return line


def _places(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in FIELDS if getattr(record, name, None) is not None}


def _error(record: logging.LogRecord) -> tuple[str, list[str]]:
    assert record.exc_info
    exc = record.exc_info[1]
    # Source lines are left out: the place says it, and a literal in them might be somebody's.
    stack = [
        f"{each.filename}:{each.lineno} {each.name}" for each in traceback.extract_tb(record.exc_info[2])
    ]
    return "" if exc is None else describe_error(exc), stack
