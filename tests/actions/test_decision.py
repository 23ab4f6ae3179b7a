"""The decision table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.actions.decision import LETTERS, decide
from streams.messages.decode import Cause, LookupOutcome, Outcome, Reason, Variant

FAILURES = [LookupOutcome(Outcome.ERROR, cause) for cause in Cause]
ANSWERS = [
    LookupOutcome(outcome, custom_fields=fields)
    for outcome in (Outcome.EXISTING, Outcome.NON_EXISTING)
    for fields in (None, b'{"isSubscribed":true}')
]
lookups = st.sampled_from([None, *ANSWERS, *FAILURES])


@pytest.mark.parametrize(
    ("subscribed", "lookup", "letter"),
    [
        (True, None, (Variant.ONE_BUTTON, Reason.KNOWN_SUBSCRIBED)),
        (False, None, (Variant.TWO_BUTTON, Reason.KNOWN_NOT_SUBSCRIBED)),
        (None, LookupOutcome(Outcome.EXISTING), (Variant.ONE_BUTTON, Reason.LOOKUP_SUBSCRIBED)),
        (None, LookupOutcome(Outcome.NON_EXISTING), (Variant.TWO_BUTTON, Reason.LOOKUP_NOT_SUBSCRIBED)),
        *((None, failure, (Variant.TWO_BUTTON, Reason.LOOKUP_FAILED)) for failure in FAILURES),
        (None, None, (Variant.TWO_BUTTON, Reason.NO_LOOKUP)),
    ],
)
def test_each_row_of_the_table(
    subscribed: bool | None, lookup: LookupOutcome | None, letter: tuple[Variant, Reason]
) -> None:
    """Every row gives its letter and its reason, and a failed lookup gives two buttons for every cause."""
    assert decide(subscribed, lookup) == letter


@given(st.sampled_from([True, False]), lookups)
def test_what_the_message_says_counts_only_where_the_status_is_missing(
    subscribed: bool, lookup: LookupOutcome | None
) -> None:
    """The table is believed before the message; where it knows nothing, the message earns one button."""
    assert decide(subscribed, lookup, in_message=True) == decide(subscribed, lookup)
    assert decide(None, None, in_message=True) == (Variant.ONE_BUTTON, Reason.MESSAGE_SUBSCRIBED)


@given(st.sampled_from([True, False, None]), lookups, st.booleans())
def test_one_button_needs_a_positive_answer(
    subscribed: bool | None, lookup: LookupOutcome | None, in_message: bool
) -> None:
    """One button exactly where the table says subscribed, or knows nothing and lookup or message say so."""
    variant, _ = decide(subscribed, lookup, in_message)
    says_so = subscribed is True or (
        subscribed is None and (in_message or (lookup is not None and lookup.outcome is Outcome.EXISTING))
    )
    assert variant is (Variant.ONE_BUTTON if says_so else Variant.TWO_BUTTON)


@given(st.sampled_from([True, False, None]), lookups, st.booleans())
def test_every_letter_is_in_the_list_of_letters(
    subscribed: bool | None, lookup: LookupOutcome | None, in_message: bool
) -> None:
    """LETTERS, which the metrics start from, holds each decision that there is."""
    assert decide(subscribed, lookup, in_message) in LETTERS


def test_the_list_of_letters_has_each_reason_once() -> None:
    """No reason stands for two letters."""
    assert sorted(reason for _, reason in LETTERS) == sorted(Reason)
