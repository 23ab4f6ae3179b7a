"""The messages that Proca sends, shape by shape, and the letter that is right for each."""

from __future__ import annotations

from typing import Any

import pytest

from streams.actions.dead_letter import LEAST, DeadLetterLimit
from streams.actions.outcomes import DeadLettered, Emailed, Ignored
from streams.messages.decode import ErrorClass, decode_action, status_key
from tests import examples
from tests.actions.test_processor import EXISTING, TIMEOUT, Bench, FakeRecord, concluded, email

ONE_BY_LOOKUP = ("one_button", "lookup_subscribed")
TWO_BY_FAILURE = ("two_button", "lookup_failed")
IN_MESSAGE = ("one_button", "message_subscribed")
DELIVER = {"repeats_at": "deliver"}
BELIEVED = {"message_decides": lambda org_id: org_id == 310}

#: Example, how the worker is set, what becomes of it where the lookup says subscribed, and where it fails.
SHAPES: list[tuple[str, dict[str, Any], Any, Any]] = [
    # Two versions of the schema.
    ("german", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("version-1", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("version-1-with-null-reference", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    # Optional fields.
    ("optional-fields-null", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("optional-fields-missing", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("bare-minimum", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("encrypted-personal-info", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    # Consent: false, and nothing else, asks for no letter.
    ("share", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("share-without-consent", {}, "no_consent", "no_consent"),
    ("share-without-consent", BELIEVED | DELIVER, "no_consent", "no_consent"),
    ("consent-null", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    # The same action once more.
    ("reminder", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("repeat-of-german", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("second-action-of-one-person", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    # Whoever signed before.
    ("dupe-rank-above-zero", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("dupe-rank-above-zero", DELIVER, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("stage-deliver-repeat-signer", {}, "stage", "stage"),
    ("stage-deliver-repeat-signer", DELIVER, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("stage-deliver-repeat-signer-without-consent", DELIVER, "stage", "stage"),
    ("stage-deliver", DELIVER, "stage", "stage"),
    ("stage-deliver-without-contact", DELIVER, "stage", "stage"),
    ("stage-action-confirm", DELIVER, "stage", "stage"),
    # What the message says of its signer.
    ("is-subscribed-in-message", {}, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("is-subscribed-in-message", BELIEVED, IN_MESSAGE, IN_MESSAGE),
    ("is-subscribed-in-message-of-somebody-unsubscribed", BELIEVED, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    ("german", BELIEVED, ONE_BY_LOOKUP, TWO_BY_FAILURE),
    # Events.
    ("event-email-status", {}, "event", "event"),
    ("event-email-status", DELIVER | BELIEVED, "event", "event"),
]


def came_to(bench: Bench, value: bytes) -> Any:
    """Variant and reason of an action's email, or why it was ignored."""
    outcome = concluded(bench.process(FakeRecord(value=value))).outcome
    if isinstance(outcome, Ignored):
        return outcome.why
    assert isinstance(outcome, Emailed)
    return outcome.variant, outcome.reason


@pytest.mark.parametrize(("name", "settings", "subscribed", "failed"), SHAPES)
def test_each_shape_gets_the_letter_that_is_right(
    name: str, settings: dict[str, Any], subscribed: Any, failed: Any
) -> None:
    """With a lookup that says subscribed, and one that fails; a status in the table decides before both."""
    value = examples.valid("action")[name]
    for lookup, expected in ((EXISTING, subscribed), (TIMEOUT, failed)):
        bench = Bench(**settings)
        bench.lookups.reply = lambda _, lookup=lookup: lookup
        assert came_to(bench, value) == expected
        asked = isinstance(expected, tuple) and expected != IN_MESSAGE
        assert len(bench.lookups.questions) == asked
        assert bench.answered == [], "nothing is cached of what a message says"
    if isinstance(subscribed, tuple):
        bench = Bench(**settings)
        action = decode_action(value, "deliver")
        assert action is not None
        bench.statuses.known[status_key(action.org_id, action.contact_ref)] = False
        assert came_to(bench, value) == ("two_button", "known_not_subscribed")


def test_what_a_message_says_is_believed_for_its_organisation_only() -> None:
    """Off by default: an organisation that did not ask for it has its lookup asked."""
    bench = Bench(**BELIEVED)
    bench.lookups.reply = lambda _: TIMEOUT
    value = examples.valid("action")["is-subscribed-in-message"]
    assert came_to(bench, value) == IN_MESSAGE
    assert came_to(bench, value.replace(b'"orgId":310', b'"orgId":311')) == TWO_BY_FAILURE


@pytest.mark.parametrize(
    "fields",
    [
        b'{"isSubscribed":false}',
        b'{"isSubscribed":null}',
        b'{"isSubscribed":1}',
        b'{"isSubscribed":"true"}',
        b'{"isSubscribed":[true]}',
        b'{"is_subscribed":true}',
        b'{"x":{"isSubscribed":true}}',
        b'{"isSubscribed":false,"isSubscribed":true}',
        b'{"isSubscribed":true,"isSubscribed":true}',
        b'["isSubscribed"]',
        b'"isSubscribed"',
        b"null",
    ],
)
def test_only_true_in_its_place_is_believed(fields: bytes) -> None:
    """Consent is never guessed upward: of anything else than one JSON true the lookup is asked."""
    bench = Bench(**BELIEVED)
    bench.lookups.reply = lambda _: TIMEOUT
    value = examples.valid("action")["is-subscribed-in-message"]
    assert came_to(bench, value.replace(b'{"isSubscribed":true}', fields)) == TWO_BY_FAILURE


def test_an_email_by_what_the_message_says_names_no_lookup() -> None:
    """Its reason is message_subscribed, its lookup null, and the action in it is untouched."""
    bench = Bench(**BELIEVED)
    result = concluded(bench.process(FakeRecord(value=examples.valid("action")["is-subscribed-in-message"])))
    assert (email(result)["reason"], email(result)["lookup"]) == ("message_subscribed", None)
    assert email(result)["action"]["action"]["customFields"] == {"isSubscribed": True}
    assert result.outcome == Emailed("one_button", "message_subscribed", "", "", 310)


def test_a_high_security_organisation_s_encrypted_addresses_are_counted_apart() -> None:
    """No letter can be made from them, each is kept; however many there are, the partition goes on."""
    bench = Bench(dead_letter_limit=DeadLetterLimit(0.5, "actions", 3))
    value = examples.invalid("action")["email-encrypted"]
    for offset in range(2 * LEAST):
        result = concluded(bench.process(FakeRecord(offset, value)))
        assert result.outcome == DeadLettered(ErrorClass.EMAIL_ENCRYPTED)
    assert bench.confirmation.halted is None


@pytest.mark.parametrize("personal_info", [b"null", b'"x"', b"[]"])
def test_an_address_of_null_without_encrypted_data_counts_against_the_partition(personal_info: bytes) -> None:
    """That is no organisation's choice: a faulty deployment must not drain the topic."""
    bench = Bench(dead_letter_limit=DeadLetterLimit(0.5, "actions", 3))
    value = examples.valid("action")["german"].replace(b'"ana@example.org"', b"null")
    value = value.replace(b'"personalInfo":null', b'"personalInfo":' + personal_info)
    result = concluded(bench.process(FakeRecord(value=value)))
    assert result.outcome == DeadLettered(ErrorClass.FIELD_TYPE)
    for offset in range(LEAST):
        bench.process(FakeRecord(offset, value))
    assert bench.confirmation.halted is not None
