import contextlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.messages.decode import (
    Action,
    ErrorClass,
    Undecodable,
    decode_action,
    decode_supporter_status,
    status_key,
)
from streams.messages.strict_json import MAX_DEPTH, MAX_DIGITS
from tests import examples

ACTIONS = examples.valid("action")
BARE = ACTIONS["bare-minimum"]
STATUS = b'{"orgId":310,"contactRef":"abc","subscribed":true,"asOf":"2026-11-24T10:00:00Z"}'
MISSING = object()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def with_field(extra: bytes) -> bytes:
    """A complete action with one more field before the deciding ones."""
    return b"{" + extra + b"," + BARE[1:]


def refusal(decode: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(Undecodable) as caught:
        decode()
    return caught.value.error_class, caught.value.json_path


def decided(value: bytes) -> Action | None:
    """What the deciding fields are by the plainest reading with Python's own parser."""
    message = json.loads(value)
    if message.get("stage") != "supporter_confirm" or message.get("privacy", {}).get("withConsent") is False:
        return None
    contact = message["contact"]
    return Action(
        message["actionId"], message["orgId"], contact.get("contactRef") or contact["ref"], contact["email"]
    )


class TestActions:
    def test_there_are_actions_of_all_shapes(self) -> None:
        """The examples are many enough to be worth replaying."""
        assert len(ACTIONS) >= 45

    @pytest.mark.parametrize("name", ACTIONS)
    def test_every_example_is_read_as_it_stands(self, name: str) -> None:
        """The decoder takes from every example what a plain reading of it takes."""
        assert decode_action(ACTIONS[name]) == decided(ACTIONS[name])

    @pytest.mark.parametrize(("name", "expected"), examples.expected("action/invalid").items())
    def test_every_bad_example_is_refused_with_class_and_path(
        self, name: str, expected: dict[str, str]
    ) -> None:
        """Each bad example gives exactly the error class and JSON path beside it."""
        value = examples.invalid("action")[name]
        assert refusal(lambda: decode_action(value)) == (expected["error_class"], expected["json_path"])

    @pytest.mark.parametrize(
        ("extra", "error_class"),
        [
            (b'"x":"\xff"', ErrorClass.NOT_UTF8),
            (b'"\xff":1', ErrorClass.NOT_UTF8),
            (b'"x":"\xed\xa0\x80"', ErrorClass.NOT_UTF8),
            (b'"x":"\xe2\x82"', ErrorClass.NOT_UTF8),
            (b'"x":"\xc3\xa9"', None),
            (b'"x":' + b"[" * 10_000 + b"]" * 10_000, ErrorClass.TOO_DEEP),
            (b'"x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000, ErrorClass.TOO_DEEP),
            (b'"x":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, ErrorClass.TOO_DEEP),
            (b'"x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1), None),
            (b'"x":' + b"7" * (MAX_DIGITS + 1), ErrorClass.NUMBER_TOO_LONG),
            (b'"x":"' + b"7" * (MAX_DIGITS + 1) + b'"', None),
            (b'"x":1e999', None),
            (b'"x":"\\ud800"', None),
            (b'"\\udfff":0', None),
            (b'"x":"' + b"y" * 900_000 + b'"', None),
            (b'"x":"' + "ё".encode() * 450_000 + b'"', None),
        ],
    )
    def test_what_is_passed_over_is_checked_all_the_same(
        self, extra: bytes, error_class: ErrorClass | None
    ) -> None:
        """A field that decides nothing still must be JSON that every reader of the email can read."""
        value = with_field(extra)
        if error_class is None:
            assert decode_action(value) == decode_action(BARE)
            assert json.loads(b'{"action":' + value + b"}")["action"]["actionId"] == 7101
        else:
            assert refusal(lambda: decode_action(value)) == (error_class, "$")

    @pytest.mark.parametrize(
        "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252"]
    )
    def test_any_encoding_but_utf_8_is_refused(self, encoding: str) -> None:
        """JSON between systems is UTF-8 without a byte order mark (RFC 8259, section 8.1)."""
        value = ACTIONS["german-umlaut"].decode().encode(encoding)
        error_class, path = refusal(lambda: decode_action(value))
        assert error_class in (ErrorClass.NOT_UTF8, ErrorClass.NOT_JSON)
        assert path == "$"

    def test_the_newer_name_of_the_reference_wins(self) -> None:
        """The field contactRef counts where both are there, and ref where contactRef is null or empty."""
        action = decode_action(ACTIONS["both-references"])
        assert action is not None
        assert action.contact_ref == json.loads(ACTIONS["both-references"])["contact"]["contactRef"]
        for empty in (b'""', b"null"):
            value = BARE.replace(b'"contactRef":', b'"ref":"older","contactRef":' + empty + b',"was":')
            assert decode_action(value) == Action(7101, 310, "older", "min@example.org")

    @pytest.mark.parametrize(
        "contact", [b"", b',"contact":null', b',"contact":7', b',"contact":{"email":[]}']
    )
    @pytest.mark.parametrize("extra", [b"", b',"x":"\\ud800"'])
    def test_another_stage_is_nothing_to_us_whatever_else_is_there(
        self, contact: bytes, extra: bytes
    ) -> None:
        """An action at another stage is ignored even where its other fields could not be read."""
        assert decode_action(b'{"stage":"deliver"' + contact + extra + b"}") is None

    @pytest.mark.parametrize("stage", ["Supporter_confirm", " supporter_confirm", "supporter_confirm\n", "x"])
    def test_only_the_exact_stage_asks_for_a_confirmation(self, stage: str) -> None:
        """Stages are compared, not guessed."""
        assert decode_action(json.dumps({**json.loads(BARE), "stage": stage}).encode()) is None

    @pytest.mark.parametrize("number", ["0", "-1", "9223372036854775808", "9" * 400])
    def test_an_integer_of_any_size_is_an_id(self, number: str) -> None:
        """Ids are passed on, not calculated with."""
        action = decode_action(BARE.replace(b"7101", number.encode()))
        assert action is not None
        assert action.action_id == int(number)

    @pytest.mark.parametrize(
        "path", [("stage",), ("actionId",), ("orgId",), ("contact",), ("contact", "email")], ids=".".join
    )
    @pytest.mark.parametrize("value", [MISSING, None, "", " ", 0, 1, 1.5, True, False, [], {}, [1], {"a": 1}])
    @pytest.mark.parametrize("slowly", [False, True])
    def test_a_deciding_field_that_is_not_right_is_refused_at_its_path(
        self, path: tuple[str, ...], value: Any, slowly: bool
    ) -> None:
        """A deciding field of any wrong kind gives its own path, whichever way the action is read."""
        message: dict[str, Any] = json.loads(BARE)
        inner = message if len(path) == 1 else message[path[0]]
        del inner[path[-1]]
        if value is not MISSING:
            inner[path[-1]] = value
        raw = json.dumps(message).encode()
        if slowly:
            raw = raw[:-1] + b',"x":"\\ud800"}'
        if path[-1].endswith("Id") and type(value) is int:
            assert decode_action(raw) is not None
            return
        error_class, json_path = refusal(lambda: decode_action(raw))
        kind = (
            ErrorClass.FIELD_MISSING
            if value is MISSING
            else ErrorClass.FIELD_EMPTY
            if isinstance(value, str) and path[-1] in ("stage", "email")
            else ErrorClass.FIELD_TYPE
        )
        if path == ("contact",) and isinstance(value, dict):
            kind, path = ErrorClass.FIELD_MISSING, ("contact", "contactRef")
        assert (error_class, json_path) == (kind, "$." + ".".join(path))

    @given(st.dictionaries(st.text(), json_values, max_size=5), st.booleans(), st.booleans())
    def test_extra_fields_of_any_kind_change_nothing(
        self, extra: dict[str, Any], ascii_only: bool, first: bool
    ) -> None:
        """Whatever else an action holds, the deciding fields are read the same."""
        mine = json.loads(BARE)
        theirs = {name: value for name, value in extra.items() if name not in mine}
        message = {**theirs, **mine} if first else {**mine, **theirs}
        value = json.dumps(message, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert decode_action(value) == decode_action(BARE)

    @given(st.binary(max_size=120))
    def test_any_bytes_are_an_action_nothing_or_undecodable(self, value: bytes) -> None:
        """Nothing but a value or an Undecodable comes of arbitrary bytes."""
        with contextlib.suppress(Undecodable):
            assert decode_action(value) is None

    @given(
        st.sampled_from(sorted(ACTIONS)),
        st.integers(0, 4_000),
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from(
                [b",", b"}", b'"', b"\\", b"\\ud800", b"NaN", b"-", b"01", b"1.", b"\x00", b"\x0b"]
            ),
        ),
        st.integers(0, 3),
    )
    def test_a_damaged_action_is_never_accepted_unless_it_is_still_json(
        self, name: str, at: int, insert: bytes, cut: int
    ) -> None:
        """What is accepted is valid JSON for Python's own parser, and read as that parser reads it."""
        original = ACTIONS[name]
        at %= len(original)
        value = original[:at] + insert + original[at + cut :]
        try:
            action = decode_action(value)
        except Undecodable:
            return
        email = json.loads(b'{"action":' + value + b"}", parse_constant=lambda _: pytest.fail("not JSON"))
        assert isinstance(email["action"], dict)
        if action is not None:
            assert action == decided(value)


class TestRefusals:
    @pytest.mark.parametrize("name", examples.invalid("action"))
    def test_no_refusal_quotes_the_message(self, name: str) -> None:
        """The text of an Undecodable is its class and path, and nothing of the content."""
        with pytest.raises(Undecodable) as caught:
            decode_action(examples.invalid("action")[name])
        assert str(caught.value) == f"{caught.value.error_class} at {caught.value.json_path}"
        assert caught.value.json_path.replace("$", "").replace(".", "").isascii()
        assert "example" not in str(caught.value)
        assert caught.value.__context__ is None


class TestStatuses:
    @pytest.mark.parametrize("name", examples.valid("supporter-status"))
    def test_every_example_is_read_as_it_stands(self, name: str) -> None:
        """The decoder takes from every example what a plain reading of it takes."""
        value = examples.valid("supporter-status")[name]
        message = json.loads(value)
        key = f"{message['orgId']}:{message['contactRef']}".encode()
        status = decode_supporter_status(key, value)
        assert status[:3] == (message["orgId"], message["contactRef"], message["subscribed"])
        assert status.as_of == datetime.fromisoformat(message["asOf"].upper()).timestamp()

    @pytest.mark.parametrize(("name", "expected"), examples.expected("supporter-status/invalid").items())
    def test_every_bad_example_is_refused_with_class_and_path(
        self, name: str, expected: dict[str, str]
    ) -> None:
        """Each bad example gives exactly the error class and JSON path beside it."""
        value = examples.invalid("supporter-status")[name]
        key = status_key(310, json.loads(examples.valid("supporter-status")["subscribed"])["contactRef"])
        found = refusal(lambda: decode_supporter_status(key, value))
        assert found == (expected["error_class"], expected["json_path"])

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("1970-01-01T00:00:00Z", 0.0),
            ("1970-01-01T01:00:00+01:00", 0.0),
            ("1969-12-31T23:59:59.5-00:00", -0.5),
            ("2026-11-24T15:30:00.250+05:30", 1795514400.25),
            ("0001-01-01T00:00:00+23:59", -62135683140.0),
            ("9999-12-31T23:59:59-23:59", 253402387139.0),
        ],
    )
    def test_as_of_is_seconds_since_the_epoch(self, text: str, seconds: float) -> None:
        """The offset is taken into account, at the ends of the calendar too."""
        value = STATUS.replace(b"2026-11-24T10:00:00Z", text.encode())
        assert decode_supporter_status(b"310:abc", value).as_of == seconds

    @pytest.mark.parametrize("key", [None, b""])
    def test_a_status_without_a_key_is_refused(self, key: bytes | None) -> None:
        """A record that a compacted topic could not keep says nothing."""
        assert refusal(lambda: decode_supporter_status(key, STATUS)) == (ErrorClass.FIELD_MISSING, "$key")

    @pytest.mark.parametrize(
        "key",
        [b"310:abd", b"311:abc", b"abc", b"310", b":abc", b"0310:abc", b"310:abc ", b"310:ABC", b"\xff"],
    )
    def test_a_key_that_says_something_else_than_the_value_is_refused(self, key: bytes) -> None:
        """A status is filed under its key, so a key of somebody else would give them this consent."""
        assert refusal(lambda: decode_supporter_status(key, STATUS)) == (ErrorClass.KEY_MISMATCH, "$key")

    def test_the_text_null_is_no_tombstone(self) -> None:
        """Only a record without a value forgets; the JSON text null is a mistake."""
        assert refusal(lambda: decode_supporter_status(b"310:abc", b"null")) == (
            ErrorClass.NOT_AN_OBJECT,
            "$",
        )

    @given(st.binary(max_size=20), st.binary(max_size=120))
    def test_any_bytes_are_a_status_or_undecodable(self, key: bytes, value: bytes) -> None:
        """Nothing but a value or an Undecodable comes of arbitrary bytes."""
        with pytest.raises(Undecodable):
            decode_supporter_status(key, value)

    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("orgId"), st.sampled_from(["310", "310", "310.0", "true", '"310"', "-0", "null"])
                ),
                st.tuples(
                    st.just("contactRef"),
                    st.sampled_from(['"abc"', '"abc"', '" "', '"\\u0061bc"', '""', "7"]),
                ),
                st.tuples(st.just("subscribed"), st.sampled_from(["true", "false", "null", "1", '"true"'])),
                st.tuples(
                    st.just("asOf"), st.sampled_from(['"2026-11-24T10:00:00Z"', '"yesterday"', "null"])
                ),
            ),
            min_size=3,
            max_size=6,
        )
    )
    def test_the_usual_status_is_read_as_a_closer_look_reads_it(self, fields: list[tuple[str, str]]) -> None:
        """A key that nobody knows changes nothing, although with it the fast way is not taken."""
        members = ",".join(f'"{name}":{text}' for name, text in fields)
        usual = f"{{{members}}}"
        more = usual.replace("{", '{"unknown":0,', 1)

        def came_to(value: str) -> Any:
            try:
                return decode_supporter_status(b"310:abc", value.encode())
            except Undecodable as exc:
                return exc.error_class, exc.json_path

        assert came_to(usual) == came_to(more)

    @given(st.integers(), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
    def test_a_status_is_found_under_the_key_of_its_action(self, org_id: int, contact_ref: str) -> None:
        """Key and value of a status agree exactly where the action of the same person looks."""
        value = json.dumps({**json.loads(STATUS), "orgId": org_id, "contactRef": contact_ref}).encode()
        if not contact_ref.strip():
            assert refusal(lambda: decode_supporter_status(b"x", value))[0] == ErrorClass.FIELD_EMPTY
            return
        action = decode_action(
            json.dumps(
                {
                    **json.loads(BARE),
                    "orgId": org_id,
                    "contact": {"contactRef": contact_ref, "email": "a@example.org"},
                }
            ).encode()
        )
        assert action is not None
        key = status_key(action.org_id, action.contact_ref)
        assert decode_supporter_status(key, value)[:2] == (org_id, contact_ref)
