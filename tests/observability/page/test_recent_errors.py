"""The last warnings and errors: bounded, one entry for each kind, redacted."""

import logging
from logging.config import dictConfig

from streams.observability.logs import configuration
from streams.observability.page.recent_errors import LONGEST, RecentErrors


def line(message: str, *args: object, level: int = logging.WARNING, name: str = "streams.x", **extra: object):
    record = logging.LogRecord(name, level, __file__, 1, message, args, None)
    vars(record).update(extra)
    return record


def kept(*records: logging.LogRecord, kinds: int = 30) -> RecentErrors:
    times = iter(range(1, 1_000))
    errors = RecentErrors(lambda: float(next(times)), kinds)
    for record in records:
        errors.handle(record)
    return errors


def test_lines_of_one_kind_are_one_entry_with_the_latest_text() -> None:
    """Three failures of one event: first and last time, how often, and the last message."""
    errors = kept(*(line("partition %d: again", number, event="transaction_failed") for number in (1, 2, 3)))
    (seen,) = errors.latest(8)
    assert (seen.event, seen.message, seen.count) == ("transaction_failed", "partition 3: again", 3)
    assert (seen.first, seen.last) == (1.0, 3.0)


def test_the_latest_kind_comes_first_and_the_oldest_is_forgotten() -> None:
    """Only so many kinds are kept; one that happens again becomes the latest."""
    errors = kept(line("a"), line("b"), line("a"), line("c"), line("d"), kinds=3)
    assert [seen.message for seen in errors.latest(8)] == ["d", "c", "a"]
    assert [seen.message for seen in errors.latest(1)] == ["d"]


def test_addresses_and_references_are_redacted_and_long_texts_are_cut() -> None:
    """What should never have been logged does not reach the page either."""
    reference = "q2" + "x" * 41
    errors = kept(line("to %s, %s", "ana.canary@example.org", reference), line("%s", "long " * 1_000))
    long, redacted = errors.latest(8)
    assert redacted.message == "to [address], [ref]"
    assert len(long.message) == LONGEST


def test_the_text_of_an_exception_is_not_kept() -> None:
    """An exception's text may hold an address or a name: only the line's own message is kept."""
    record = line("it failed", level=logging.ERROR)
    try:
        raise ValueError("canary")
    except ValueError as exc:
        record.exc_info = (type(exc), exc, exc.__traceback__)
    (seen,) = kept(record).latest(8)
    assert "canary" not in repr(seen)


def test_a_line_with_wrong_arguments_is_kept_as_it_was_written() -> None:
    """A log call whose arguments do not fit its text is shown unformatted, with the error's class."""
    (seen,) = kept(line("%d things", "many")).latest(8)
    assert seen.message == "'%d things' (TypeError in its arguments)"


def test_it_is_one_of_the_log_s_outputs() -> None:
    """Warnings and errors of every logger arrive, client libraries' errors as warnings, and no INFO."""
    before = logging.root.handlers[:]
    errors = RecentErrors(lambda: 1.0)
    try:
        dictConfig(errors.added_to(configuration("info", "json")))
        logging.getLogger("streams.y").info("fine")
        logging.getLogger("streams.y").error("bad")
        logging.getLogger("aiokafka.conn").error("gone")
    finally:
        logging.root.handlers[:] = before
        logging.root.setLevel(logging.WARNING)
    assert [(seen.level, seen.message) for seen in errors.latest(8)] == [
        ("warning", "gone"),
        ("error", "bad"),
    ]
