"""What becomes of a record: one value of one kind, made once, and counted when it is committed.

There is a fifth way to leave a lane, without an outcome here: to be released
(:class:`streams.delivery.results.Release`), because somebody else has settled the record or will settle it.
"""

from typing import NamedTuple

from streams.messages.decode import LookupOutcome, Reason, Variant


class Emailed(NamedTuple):
    """The record asked for a confirmation, and its email is written.

    The lookup's outcome and cause are "" where no lookup was asked. All texts are plain strings: they are
    hashed by the thousand, and a member of an enum is slower to hash.
    """

    variant: str
    reason: str
    lookup_outcome: str
    lookup_cause: str
    org_id: int


def emailed(letter: tuple[Variant, Reason], lookup: LookupOutcome | None, org_id: int) -> Emailed:
    """Return how an email is counted.

    Args:
        letter: its variant, and the reason for it.
        lookup: what the lookup came to; None where none was asked.
        org_id: the organisation that it is for.
    """
    variant, reason = letter
    # Plain strings: they are counted by the thousand, and an enum's member is slower to hash.
    asked = ("", "") if lookup is None else (str(lookup.outcome), str(lookup.cause or ""))
    return Emailed(str(variant), str(reason), *asked, org_id)


class Ignored(NamedTuple):
    """The record asks for no confirmation: nothing is written."""

    why: str


class Rekeyed(NamedTuple):
    """The record is written to the internal topic, into the partition of its supporter's status."""


class DeadLettered(NamedTuple):
    """No email can be made from the record: it is kept in the dead-letter topic."""

    error_class: str
