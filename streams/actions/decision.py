"""Which letter, and why: the decision table as one pure function.

Consent is never guessed upward. Only a positive answer earns the one-button letter: from the table, from a
lookup, or from the message where its organisation wants that. Every doubt and every failure is the two-button
one.
"""

from streams.messages.decode import LookupOutcome, Outcome, Reason, Variant

_KNOWN = {
    True: (Variant.ONE_BUTTON, Reason.KNOWN_SUBSCRIBED),
    False: (Variant.TWO_BUTTON, Reason.KNOWN_NOT_SUBSCRIBED),
}
_ASKED = {
    Outcome.EXISTING: (Variant.ONE_BUTTON, Reason.LOOKUP_SUBSCRIBED),
    Outcome.NON_EXISTING: (Variant.TWO_BUTTON, Reason.LOOKUP_NOT_SUBSCRIBED),
    Outcome.ERROR: (Variant.TWO_BUTTON, Reason.LOOKUP_FAILED),
}
_NO_LOOKUP = (Variant.TWO_BUTTON, Reason.NO_LOOKUP)
_IN_MESSAGE = (Variant.ONE_BUTTON, Reason.MESSAGE_SUBSCRIBED)
#: What :func:`decide` is given of table and lookup. A plain tuple, since it is made by the thousand.
Grounds = tuple[bool | None, LookupOutcome | None]
#: Every letter that there is, with its reason.
LETTERS = (*_KNOWN.values(), *_ASKED.values(), _NO_LOOKUP, _IN_MESSAGE)


def decide(
    subscribed: bool | None, lookup: LookupOutcome | None, in_message: bool = False
) -> tuple[Variant, Reason]:
    """Return the letter's variant and the reason for it.

    Args:
        subscribed: what the table knows; None where its row is missing or expired.
        lookup: what the lookup came to; None where it was not asked, or the organisation has none.
        in_message: the message itself says that its signer is subscribed, and may decide that.
    """
    if subscribed is not None:
        return _KNOWN[subscribed]
    if in_message:
        return _IN_MESSAGE
    return _NO_LOOKUP if lookup is None else _ASKED[lookup.outcome]
