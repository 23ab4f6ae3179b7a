"""Replies of lookup services: consent is never guessed upward."""

import json
from collections import Counter
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.messages.lookup_reply import SUBSCRIBED_WHEN, decode_lookup_reply
from streams.messages.strict_json import MAX_DEPTH, MAX_DIGITS
from tests import examples

MISSING = object()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


NO_DATA = LookupOutcome(Outcome.ERROR, Cause.NO_DATA)
WRONG_DATA = LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA)


class TestReplies:
    @pytest.mark.parametrize(("name", "expected"), examples.expected("lookup-reply").items())
    def test_every_example_comes_to_what_is_expected(self, name: str, expected: str) -> None:
        """Each reply gives its outcome, and its custom fields survive with their exact value."""
        body = examples.valid("lookup-reply")[name]
        found = decode_lookup_reply(body)
        assert found.outcome == expected
        assert found.cause is None
        sent = (json.loads(body).get("action") or {}).get("customFields")
        assert (None if found.custom_fields is None else json.loads(found.custom_fields)) == sent

    @pytest.mark.parametrize(("name", "expected"), examples.expected("lookup-reply/invalid").items())
    def test_every_bad_example_is_a_failure(self, name: str, expected: dict[str, str]) -> None:
        """Each bad reply is a failure of the cause beside it, and carries nothing on."""
        found = decode_lookup_reply(examples.invalid("lookup-reply")[name])
        assert found == LookupOutcome(Outcome.ERROR, Cause(expected["cause"]))

    @pytest.mark.parametrize(
        "body",
        [
            b'{"privacy":{"optIn":true},"x":"\xff"}',
            b'{"privacy":{"optIn":true}}'.decode().encode("utf-16"),
            b'{"privacy":{"optIn":true}}'.decode().encode("utf-16-le"),
            b'{"privacy":{"optIn":true},"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}",
            b'{"privacy":{"optIn":true},"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
            b"[" * 10_000,
            b'{"privacy":{"optIn":true},"x":' + b"1" * (MAX_DIGITS + 1) + b"}",
        ],
    )
    def test_what_no_file_can_hold_is_a_failure_too(self, body: bytes) -> None:
        """Bad encodings and endless nesting are wrong data, never an exception."""
        assert decode_lookup_reply(body) == WRONG_DATA

    @pytest.mark.parametrize("body", [b"", b" ", b"\r\n\r\n", b"\t"])
    def test_nothing_is_no_data(self, body: bytes) -> None:
        """An empty body is told from a wrong one."""
        assert decode_lookup_reply(body) == NO_DATA

    @pytest.mark.parametrize("first", [True, False, None, MISSING])
    @pytest.mark.parametrize("second", [True, False, None, MISSING])
    @pytest.mark.parametrize("third", [True, False, None, MISSING])
    def test_one_true_and_no_false_is_consent(self, first: Any, second: Any, third: Any) -> None:
        """Of the three places, null and absence are silent, and a contradiction is doubt."""
        reply: dict[str, Any] = {"privacy": {}, "action": {"privacy": {}, "customFields": {}}}
        for says, place, name in (
            (first, reply["privacy"], "optIn"),
            (second, reply["action"]["privacy"], "optIn"),
            (third, reply["action"]["customFields"], "isSubscribed"),
        ):
            if says is not MISSING:
                place[name] = says
        said = (first, second, third)
        consent = any(says is True for says in said) and not any(says is False for says in said)
        found = decode_lookup_reply(json.dumps(reply).encode())
        assert found.outcome is (Outcome.EXISTING if consent else Outcome.NON_EXISTING)

    @given(json_values, st.sampled_from(SUBSCRIBED_WHEN))
    def test_no_value_but_true_is_ever_consent(self, value: Any, path: str) -> None:
        """Whatever else stands in a named place, it earns nobody the one-button letter."""
        reply: Any = value
        for name in reversed(path.split(".")):
            reply = {name: reply}
        found = decode_lookup_reply(json.dumps(reply).encode())
        if value is True:
            assert found.outcome is Outcome.EXISTING
        elif value is None or value is False:
            assert found.outcome is Outcome.NON_EXISTING
        else:
            assert found == WRONG_DATA

    @given(st.text())
    def test_an_unknown_status_changes_nothing_and_a_known_one_overrides(self, word: str) -> None:
        """Only the five words override, in any case and with white space around."""
        body = json.dumps({"privacy": {"optIn": True, "emailStatus": word}}).encode()
        overrides = word.strip().lower() in {"bounce", "blocked", "spam", "unsub", "inactive"}
        assert decode_lookup_reply(body).outcome is (Outcome.NON_EXISTING if overrides else Outcome.EXISTING)

    def test_an_organisation_can_name_its_own_places(self) -> None:
        """Named places replace the defaults; those are then ordinary fields."""
        places = ("status.member", "subscribed")
        assert decode_lookup_reply(b'{"status":{"member":true}}', places).outcome is Outcome.EXISTING
        assert decode_lookup_reply(b'{"subscribed":true}', places).outcome is Outcome.EXISTING
        assert decode_lookup_reply(b'{"privacy":{"optIn":true}}', places) == WRONG_DATA
        assert decode_lookup_reply(b'{"status":{}}', places).outcome is Outcome.NON_EXISTING
        assert decode_lookup_reply(b"{}", places).outcome is Outcome.NON_EXISTING
        assert decode_lookup_reply(b'{"subscribed":"true"}', places) == WRONG_DATA
        assert decode_lookup_reply(b'{"status":"member"}', places) == WRONG_DATA
        assert decode_lookup_reply(b'{"subscribed":false,"subscribed":true}', places) == WRONG_DATA
        doubled = b'{"status":{"member":false,"member":true}}'
        assert decode_lookup_reply(doubled, places) == WRONG_DATA
        bounced = b'{"subscribed":true,"customer":{"emailStatus":"bounce"}}'
        assert decode_lookup_reply(bounced, places).outcome is Outcome.NON_EXISTING

    @given(st.dictionaries(st.text(), json_values, min_size=1, max_size=4))
    def test_an_answer_about_something_else_is_a_failure_that_says_so(self, fields: dict[str, Any]) -> None:
        """A service that answers with fields of its own would otherwise mean two buttons, without a word."""
        for known in ("privacy", "customer", "action"):
            fields.pop(known, None)
        fields["subscribed"] = True
        found = decode_lookup_reply(json.dumps(fields).encode())
        assert found == WRONG_DATA
        assert found.detail in (None, "none of the known fields was in the answer")

    def test_the_detail_of_an_answer_about_something_else_quotes_nothing(self) -> None:
        """Other wrong answers have none, since their cause says it."""
        assert (
            decode_lookup_reply(b'{"subscribed":true}').detail == "none of the known fields was in the answer"
        )
        assert decode_lookup_reply(b'{"privacy":{"optIn":"true"}}').detail is None

    @given(st.dictionaries(st.text(), json_values, max_size=4), st.booleans())
    def test_custom_fields_are_valid_in_every_reader(self, fields: dict[str, Any], ascii_only: bool) -> None:
        """Raw custom fields parse the same everywhere once they are copied into an email."""
        fields.pop("isSubscribed", None)
        reply = {"action": {"customFields": fields}}
        body = json.dumps(reply, ensure_ascii=ascii_only, indent=1).encode("utf-8", "surrogatepass")
        found = decode_lookup_reply(body)
        if found == WRONG_DATA:  # a lone surrogate, or a number that a 64-bit float has no place for
            with pytest.raises(msgspec.DecodeError):
                msgspec.json.decode(body, type=dict[str, msgspec.Raw])
            return
        assert found.custom_fields is not None
        assert json.loads(found.custom_fields) == fields
        orjson.loads(b'{"lookup":' + found.custom_fields + b"}")

    @given(st.binary(max_size=100))
    def test_any_bytes_come_to_an_outcome(self, body: bytes) -> None:
        """Nothing is ever raised, and arbitrary bytes are never consent."""
        assert decode_lookup_reply(body).outcome is not Outcome.EXISTING

    def test_a_damaged_reply_is_read_as_no_more_than_a_strict_reading_allows(self) -> None:
        """Good and bad replies with some bytes replaced: no consent where Python finds no plain true."""
        replies = [*examples.valid("lookup-reply").values(), *examples.invalid("lookup-reply").values()]
        readings: Counter[tuple[bool, bool]] = Counter()

        @settings(max_examples=500)  # one in twenty is still good
        @given(st.sampled_from(replies), st.integers(0, 200), st.integers(0, 4), st.binary(max_size=2))
        def check(original: bytes, at: int, removed: int, inserted: bytes) -> None:
            at = min(at, len(original))
            body = original[:at] + inserted + original[at + removed :]
            consents, allowed = decode_lookup_reply(body).outcome is Outcome.EXISTING, _says_true(body)
            readings[consents, allowed] += 1
            assert allowed or not consents

        check()
        assert readings[True, True] > 0, "some are still good"
        assert readings[False, False] > 0, "and some are not"


def _says_true(body: bytes) -> bool:
    """Whether Python's own parser finds a plain true in one of the places."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return any(_at(reply, path) is True for path in SUBSCRIBED_WHEN)


def _at(reply: Any, path: str) -> Any:
    for name in path.split("."):
        reply = reply.get(name) if isinstance(reply, dict) else None
    return reply


class TestWhoItIsAbout:
    @pytest.mark.parametrize(
        "body",
        [
            b'{"privacy":{"optIn":true},"contactRef":"other"}',
            b'{"privacy":{"optIn":true},"contact":{"contactRef":"other"}}',
            b'{"privacy":{"optIn":true,"contactRef":"other"}}',
            b'{"customer":{"contactRef":"other"},"privacy":{"optIn":true}}',
            b'{"privacy":{"optIn":true},"contactRef":["mine"]}',
            b'{"privacy":{"optIn":true},"contactRef":1}',
            b'{"privacy":{"optIn":true},"contact":{"contactRef":"mine","contactRef":"mine"}}',
            b'{"privacy":{"optIn":false},"contactRef":""}',
            b'{"contactRef":"other"}',
        ],
    )
    def test_a_reply_about_somebody_else_is_wrong_data(self, body: bytes) -> None:
        """Another contactRef than was asked for, also within an object: this is nobody's consent."""
        found = decode_lookup_reply(body, contact_ref="mine")
        assert found == WRONG_DATA
        assert found.detail is not None

    @pytest.mark.parametrize(
        "body",
        [
            b'{"privacy":{"optIn":true}}',
            b'{"privacy":{"optIn":true},"contactRef":"mine","contact":{"contactRef":"mine"}}',
            b'{"privacy":{"optIn":true},"contactRef":null}',
            b'{"privacy":{"optIn":true},"contact":[{"contactRef":"other"}]}',
            b'{"privacy":{"optIn":true},"action":{"customFields":{"contactRef":"a field of theirs"}}}',
        ],
    )
    def test_a_reply_about_the_right_person_or_nobody_by_name_counts(self, body: bytes) -> None:
        """The same contactRef, null or none is right; what custom fields hold is the CRM's own."""
        assert decode_lookup_reply(body, contact_ref="mine").outcome is Outcome.EXISTING

    def test_without_a_question_any_contact_ref_is_right(self) -> None:
        """A message that is read like a reply names its own signer."""
        assert decode_lookup_reply(b'{"privacy":{"optIn":true},"contactRef":"x"}').outcome is Outcome.EXISTING


class TestEmpty:
    FAILED = LookupOutcome(Outcome.ERROR, Cause.NO_DATA, detail="empty")

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b" {} ",
            b'{"privacy":{}}',
            b'{"privacy":null}',
            b'{"customer":{},"action":{}}',
            b'{"action":{"privacy":null}}',
        ],
    )
    def test_an_answer_that_says_nothing_comes_to_what_its_organisation_wants(self, body: bytes) -> None:
        """By default it means not subscribed."""
        assert decode_lookup_reply(body, empty=self.FAILED) is self.FAILED
        assert decode_lookup_reply(body) == LookupOutcome(Outcome.NON_EXISTING)

    @pytest.mark.parametrize(
        ("body", "outcome"),
        [
            (b'{"privacy":{"optIn":false}}', Outcome.NON_EXISTING),
            (b'{"privacy":{"optIn":null}}', Outcome.NON_EXISTING),
            (b'{"action":{"customFields":{}}}', Outcome.NON_EXISTING),
            (b'{"customer":{"emailStatus":null}}', Outcome.NON_EXISTING),
            (b'{"privacy":{"optIn":true},"customer":{}}', Outcome.EXISTING),
            (b'{"subscribed":true}', Outcome.ERROR),
        ],
    )
    def test_an_answer_with_a_known_field_is_not_empty(self, body: bytes, outcome: Outcome) -> None:
        """A field that is there says something, if only null."""
        found = decode_lookup_reply(body, empty=self.FAILED)
        assert found is not self.FAILED
        assert found.outcome is outcome
