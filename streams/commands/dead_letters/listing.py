"""How dead letters are listed and counted; never their content. Pure."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any

from streams.commands.audit.report import time_of
from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.topic_reader import RecordId


def document(letter: DeadLetter, retried: bool | None) -> dict[str, Any]:
    """Return a dead letter as a JSON object; `retried` is None where nobody knows."""
    return {
        "place": f"{letter.id.partition}/{letter.id.offset}",
        "class": letter.error_class,
        "path": letter.json_path,
        "time": time_of(letter.timestamp),
        "size": letter.size,
        "from": _from(letter) or None,
        "shortened": letter.shortened,
        "retried": retried,
    }


def line(letter: DeadLetter, retried: bool | None = None) -> str:
    """Return a dead letter as a line for people."""
    each = document(letter, retried)
    marks = "".join(f"  {mark}" for mark in ("shortened", "retried") if each[mark])
    return (
        f"{each['place']:<12} {each['class']:<15} {each['path']:<20} {each['time']} {each['size']:>9,}"
        f"  {each['from'] or '-'}{marks}"
    )


def _from(letter: DeadLetter) -> str:
    source = letter.source
    return f"{letter.topic}/{source.partition}/{source.offset}" if source else ""


def _partition(letter: DeadLetter) -> str:
    return f"{letter.topic}/{letter.source.partition}" if letter.source else "-"


#: What letters can be counted by: what of a letter that is.
COUNTED_BY: dict[str, Callable[[DeadLetter], str]] = {
    "class": lambda letter: letter.error_class,
    "path": lambda letter: letter.json_path,
    "topic": lambda letter: letter.topic or "-",
    "partition": _partition,
    "hour": lambda letter: time_of(letter.timestamp)[:13] + ":00Z",
    "day": lambda letter: time_of(letter.timestamp)[:10],
}
_IN_TIME = ("hour", "day")


def counts(letters: Iterable[DeadLetter], field: str) -> list[tuple[str, int]]:
    """Return how many letters have each value of a field of COUNTED_BY.

    The most first; hours and days in the order of time.
    """
    found = Counter(map(COUNTED_BY[field], letters))
    return sorted(found.items()) if field in _IN_TIME else found.most_common()


def retried_mark(
    letter: DeadLetter, retried: Collection[RecordId], unknown: Collection[RecordId]
) -> bool | None:
    """Return whether a letter has been retried; None where nobody knows."""
    return None if letter.id in unknown else letter.id in retried
