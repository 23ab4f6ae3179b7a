"""Which letter, and why: the decision table as one pure function.

Consent is never guessed upward. Only a positive answer, from the table or from a lookup, earns the one-button
letter; every doubt and every failure is the two-button one.
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
#: Every letter that there is, with its reason.
LETTERS = (*_KNOWN.values(), *_ASKED.values(), _NO_LOOKUP)


def decide(subscribed: bool | None, lookup: LookupOutcome | None) -> tuple[Variant, Reason]:
    """Return the letter's variant and the reason for it.

    Args:
        subscribed: what the table knows; None where its row is missing or expired.
        lookup: what the lookup came to; None where it was not asked, or the organisation has none.
    """
    if subscribed is not None:
        return _KNOWN[subscribed]
    return _NO_LOOKUP if lookup is None else _ASKED[lookup.outcome]
