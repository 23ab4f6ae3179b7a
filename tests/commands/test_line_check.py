"""Lines of which the worker would make dead letters are refused, with the field and without quoting them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.commands.keyed_lines import Message, Unsendable
from streams.commands.line_check import ALLOWED, checked_action, checked_status, would_be_dead_letter
from streams.messages.decode import ErrorClass
from tests import examples

ROOT = Path(__file__).parents[2]
PERSON = "ana@example.org"
ACTION = {
    "stage": "supporter_confirm",
    "actionId": 7001,
    "orgId": 310,
    "contact": {"contactRef": "q2hX", "email": PERSON},
}
STATUS = {"orgId": 310, "contactRef": "q2hX", "subscribed": True, "asOf": "2026-11-24T10:00:00Z"}

Check = Callable[[bytes], Message]
check_action = checked_action("actions")
check_status = checked_status(lambda: 253_402_300_799.0)  # the end of the year 9999
CHECKS = {"action": check_action, "supporter-status": check_status}


def line(document: object) -> bytes:
    return json.dumps(document).encode()


def without(document: dict[str, object], name: str) -> dict[str, object]:
    return {key: value for key, value in document.items() if key != name}


def contact(**fields: object) -> dict[str, object]:
    return {**ACTION, "contact": fields}


def test_an_action_that_gets_an_email_is_taken_with_the_key_that_the_worker_would_give_it() -> None:
    """The line stays byte for byte, also where only the slower decoder can read it."""
    good = line(ACTION)
    assert check_action(good) == Message(b"310:q2hX", good)
    odd = line({**ACTION, "note": "\ud800"})
    assert check_action(odd) == Message(b"310:q2hX", odd)


@pytest.mark.parametrize(
    "document",
    [{**ACTION, "stage": "deliver"}, {"stage": "deliver"}, {"schema": "proca:event:2", "orgId": 310}],
)
def test_what_the_worker_ignores_is_taken(document: dict[str, object]) -> None:
    """Another stage and an event are no dead letters."""
    assert check_action(line(document)).value == line(document)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (without(ACTION, "stage"), "$.stage is missing; allowed is a text"),
        ({**ACTION, "stage": " "}, "$.stage is empty"),
        (without(ACTION, "actionId"), "$.actionId is missing; allowed is a whole number"),
        ({**ACTION, "orgId": "310"}, "$.orgId has another type; allowed is a whole number"),
        ({**ACTION, "contact": None}, "$.contact has another type; allowed is an object"),
        (contact(contactRef="q2hX"), "$.contact.email is missing; allowed is a text"),
        (contact(contactRef="q2hX", email=" "), "$.contact.email is empty"),
        (contact(email=PERSON), "$.contact.contactRef is missing"),
        (contact(ref="\ud800", email=PERSON), "$.contact.ref has a value that is not allowed"),
        (STATUS, "$.stage is missing"),
        ([ACTION], "the line is JSON, but not an object"),
        ("text", "the line is JSON, but not an object"),
    ],
)
def test_an_action_that_would_be_a_dead_letter_is_refused(document: object, says: str) -> None:
    """The reason names the field and what is allowed there, and quotes nothing of the line."""
    with pytest.raises(Unsendable) as caught:
        check_action(line(document))
    assert str(caught.value).startswith(says)
    assert PERSON not in str(caught.value)
    assert "q2hX" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ('{"orgId":1,"email":…}'.encode(), "the line is not JSON"),
        (b"{", "the line is not JSON"),
        (b'{"stage":"\xff"}', "the line is not UTF-8"),
        (
            b'{"stage":"supporter_confirm","a":' + b"[" * 800 + b"]" * 800 + b"}",
            "objects and arrays are more",
        ),
        (
            b'{"stage":"supporter_confirm","actionId":' + b"7" * 5000 + b"}",
            "a whole number has more than 4,300",
        ),
    ],
)
def test_what_is_no_strict_json_is_refused(raw: bytes, says: str) -> None:
    """Both checks say what is wrong with the text itself."""
    for check in (check_action, check_status):
        with pytest.raises(Unsendable) as caught:
            check(raw)
        assert str(caught.value).startswith(says)


def test_a_status_that_the_worker_can_read_is_taken() -> None:
    """It goes out as it is; one that says forget becomes a tombstone, whatever else it holds."""
    for row in (line(STATUS), line({**STATUS, "forget": False})):
        assert check_status(row) == Message(b"310:q2hX", row)
    forget = line({"orgId": 310, "contactRef": "q2hX", "forget": True})
    assert check_status(forget) == Message(b"310:q2hX", None)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({**STATUS, "subscribed": "true"}, "$.subscribed has another type; allowed is true or false"),
        (without(STATUS, "asOf"), "$.asOf is missing; allowed is a date and time with its time zone"),
        ({**STATUS, "asOf": "2026-11-24"}, "$.asOf has a value that is not allowed; allowed is a date"),
        ({**STATUS, "asOf": "2999-01-01T00:00:00Z"}, "$.asOf is in the future"),
        (without(STATUS, "contactRef"), "$.contactRef is missing"),
        ({**STATUS, "contactRef": " "}, "$.contactRef is empty"),
        ({**STATUS, "orgId": None}, "$.orgId has another type"),
        (ACTION, "$.contactRef is missing"),
        ([STATUS], "the line is JSON, but not an object"),
    ],
)
def test_a_status_that_would_be_a_dead_letter_is_refused(document: object, says: str) -> None:
    """The reason names the field and what is allowed there, and quotes nothing of the line."""
    with pytest.raises(Unsendable) as caught:
        checked_status(lambda: 1_800_000_000.0)(line(document))
    assert str(caught.value).startswith(says)
    assert "q2hX" not in str(caught.value)


def test_a_field_that_is_there_twice_is_refused() -> None:
    """That the last one wins would be a guess about consent, so a status must have each field once."""
    raw = line(STATUS).replace(b"}", b', "subscribed": false}')
    with pytest.raises(Unsendable, match=r"^\$\.subscribed is there more than once"):
        check_status(raw)


def test_a_failure_of_our_own_code_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker would make a dead letter of the line, so the feed does not send it, and does not crash."""

    def fail(_: bytes) -> None:
        raise KeyError(PERSON)

    monkeypatch.setattr("streams.actions.processor.decode_action", fail)
    with pytest.raises(Unsendable) as caught:
        checked_action("actions")(line(ACTION))
    assert PERSON not in str(caught.value)


def test_each_error_class_has_a_sentence() -> None:
    """Whatever the worker says of a line, the reason names its class."""
    for error_class in ErrorClass:
        assert would_be_dead_letter(error_class, "$.orgId").endswith(f"(a dead letter: {error_class})")


def test_each_field_that_the_decoders_read_has_its_allowed_form() -> None:
    """A field that is added to a decoder must be explained here, too."""
    read = (ROOT / "streams" / "messages" / "decode.py").read_text()
    names = set(re.findall(r'_(?:field|text)\((?:message|contact), "(\w+)"', read))
    assert names
    assert names <= {path.rpartition(".")[2] for path in ALLOWED}


@pytest.mark.parametrize(("schema", "check"), CHECKS.items())
def test_what_the_contract_allows_is_taken(schema: str, check: Check) -> None:
    """Every good example of the schemas can be sent, as it is."""
    for name, value in examples.valid(schema).items():
        assert check(value).value == value, name


@pytest.mark.parametrize(("schema", "check"), CHECKS.items())
def test_what_the_contract_refuses_is_refused(schema: str, check: Check) -> None:
    """Every bad example of the schemas is refused, as the class and at the field that the decoder names."""
    for name, about in examples.expected(f"{schema}/invalid").items():
        with pytest.raises(Unsendable) as caught:
            check(examples.invalid(schema)[name])
        assert str(caught.value) == would_be_dead_letter(ErrorClass(about["error_class"]), about["json_path"])
