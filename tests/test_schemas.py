"""The contracts in ``schemas/`` and the code say the same.

Every example is validated against its schema here, and replayed through the real decoder or encoder.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import orjson
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from streams.actions.dead_letter import (
    SHORTENED_TO,
    dead_letter_headers,
    reduced,
    unreadable_letter,
    with_key,
)
from streams.actions.decision import decide
from streams.delivery.transaction import Outgoing
from streams.kafka.topics import DEAD_LETTER_MAX_MESSAGE_BYTES
from streams.messages.decode import Cause, ErrorClass, LookupOutcome, Outcome, Reason, Variant, decode_action
from streams.messages.email import EmailWriter, without_custom_fields
from streams.messages.lookup_reply import SUBSCRIBED_WHEN
from streams.messages.strict_json import MAX_DEPTH, MAX_DIGITS
from streams.messages.unreadable import UnreadableRecords
from streams.settings.table import Settings
from tests import examples
from tests.messages.test_email import ROWS

NAMES = examples.schema_names()
ALL = [
    (folder, name, value)
    for folder in NAMES
    for name, value in (examples.valid(folder) | examples.invalid(folder)).items()
]
# Of what cannot be parsed no schema can say anything. (A reply's cause for it is that of every wrong reply.)
UNPARSABLE = {"not_json", "not_utf8", "no_data", "wrong_data"}


@cache
def validator(name: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resources(
        (f"{each}.json", Resource.from_contents(examples.schema(each))) for each in NAMES
    )
    return Draft202012Validator(examples.schema(name), registry=registry)


def faults(name: str, message: Any) -> list[str]:
    return [f"{fault.json_path}: {fault.validator}" for fault in validator(name).iter_errors(message)]


def test_there_is_a_schema_for_every_contract() -> None:
    """Everything that crosses a boundary has its schema."""
    assert set(NAMES) == {
        "action",
        "supporter-status",
        "lookup-request",
        "lookup-reply",
        "confirmation-email",
        "confirmation-email-headers",
        "dead-letter-headers",
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_is_one_and_has_examples(name: str) -> None:
    """Each file is a JSON Schema of 2020-12 that says what it is of, and has examples to show it."""
    schema = examples.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"{name}.json"
    assert schema["title"]
    assert schema["description"]
    assert len(examples.valid(name)) >= 2


def test_no_example_is_without_a_schema() -> None:
    """Nothing lies about in the examples that no test replays."""
    folders = {path.name for path in examples.EXAMPLES.iterdir() if path.is_dir()}
    assert folders == set(NAMES)
    for folder in ("action/invalid", "supporter-status/invalid", "lookup-reply", "lookup-reply/invalid"):
        files = {path.stem for path in (examples.EXAMPLES / folder).glob("*.json")}
        assert files == set(examples.expected(folder))


@pytest.mark.parametrize(
    ("name", "example"), [(name, example) for name in NAMES for example in examples.valid(name)]
)
def test_every_example_matches_its_schema(name: str, example: str) -> None:
    """The schema accepts what the decoder accepts."""
    assert faults(name, json.loads(examples.valid(name)[example])) == []


@pytest.mark.parametrize(
    ("name", "example"), [(name, example) for name in NAMES for example in examples.invalid(name)]
)
def test_every_bad_example_is_refused_by_its_schema(name: str, example: str) -> None:
    """The schema refuses what the decoder refuses, but for what only the bytes can tell."""
    folder = f"{name}/invalid"
    has_list = (examples.EXAMPLES / folder / "expected.toml").exists()
    about = examples.expected(folder)[example] if has_list else {}
    value = examples.invalid(name)[example]
    try:
        message = json.loads(value.decode(), parse_constant=_not_json)
    except ValueError:
        assert about.get("error_class", about.get("cause")) in UNPARSABLE
        return
    assert about.get("error_class") not in UNPARSABLE
    assert (faults(name, message) == []) is (about.get("schema_sees_it") is False)


def _not_json(name: str) -> None:
    raise ValueError(name)


@pytest.mark.parametrize("example", examples.valid("action"))
def test_the_email_of_every_action_for_every_reason_matches_its_schema(example: str) -> None:
    """Whatever was decided about whatever action, the record and its headers keep their contract."""
    value = examples.valid("action")[example]
    action = decode_action(value)
    if action is None:
        return
    writer = EmailWriter("actions", 7)
    for offset, (subscribed, lookup) in enumerate(ROWS):
        trace = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")][: offset % 2]
        email, headers = writer.write(
            offset, action, value, trace, *decide(subscribed, lookup), lookup, 1795514400.0 + offset / 7
        )
        assert faults("confirmation-email", json.loads(email)) == []
        texts = {name: text.decode() for name, text in headers}
        assert len(texts) == len(headers)
        assert faults("confirmation-email-headers", texts) == []


@pytest.mark.parametrize("example", examples.valid("confirmation-email"))
def test_every_email_among_the_examples_is_what_the_writer_writes(example: str) -> None:
    """Written again from its parts, an example is the same to the byte."""
    value = examples.valid("confirmation-email")[example]
    about = examples.expected("confirmation-email")[example]
    original = examples.valid("action")[about["action"]]
    told = json.loads(value)
    lookup = told["lookup"]
    omitted = False
    if lookup is not None:
        omitted = "customFieldsOmitted" in lookup
        fields = re.search(rb'"customFields":(\{.*?\})(?:,"customFieldsOmitted":true)?\},"action":', value)
        assert fields is not None
        cause = None if lookup["cause"] is None else Cause(lookup["cause"])
        custom_fields = b'{"large":true}' if omitted else fields[1]
        lookup = LookupOutcome(Outcome(lookup["outcome"]), cause, custom_fields)
    action = decode_action(original)
    assert action is not None
    written, _ = EmailWriter("actions", 3).write(
        about["offset"],
        action,
        original,
        (),
        Variant(told["variant"]),
        Reason(told["reason"]),
        lookup,
        datetime.fromisoformat(told["decidedAt"]).timestamp(),
    )
    assert (without_custom_fields(written, original) if omitted else written) == value


def test_the_emails_among_the_examples_show_every_reason_variant_and_cause() -> None:
    """A mailer's developer finds an example of whatever can come."""
    emails = [json.loads(value) for value in examples.valid("confirmation-email").values()]
    assert {email["reason"] for email in emails} == set(Reason)
    assert {email["variant"] for email in emails} == set(Variant)
    assert {email["lookup"]["cause"] for email in emails if email["lookup"]} == {None, *Cause}


def mutations(message: Any) -> Iterator[Any]:
    """The message with each of its own fields removed, and put to something else."""
    for name in message:
        yield {key: value for key, value in message.items() if key != name}
        for other in ([], True, "", 1.5):
            if other != message[name]:
                yield {**message, name: other}


@pytest.mark.parametrize("example", examples.valid("confirmation-email"))
def test_no_field_of_an_email_can_be_missing_or_of_another_type(example: str) -> None:
    """The schema of what we write leaves a mailer nothing to guess."""
    message = json.loads(examples.valid("confirmation-email")[example])
    for mutated in mutations(message):
        assert faults("confirmation-email", mutated) != []
    for letter in Variant:
        assert (faults("confirmation-email", {**message, "variant": letter}) == []) is (
            letter == message["variant"]
        )


@pytest.mark.parametrize("name", ["confirmation-email-headers", "dead-letter-headers"])
def test_no_header_can_be_missing_or_of_another_type(name: str) -> None:
    """The schemas of the headers we write leave a reader nothing to guess."""
    required = examples.schema(name)["required"]
    for value in examples.valid(name).values():
        message = json.loads(value)
        for header in required:
            assert faults(name, {key: text for key, text in message.items() if key != header}) != []
            assert faults(name, {**message, header: ""}) != []


@pytest.mark.parametrize("example", examples.valid("dead-letter-headers"))
def test_dead_letter_headers_are_what_is_written(example: str) -> None:
    """Written again from its parts, an example has the same headers in the same order."""
    told = json.loads(examples.valid("dead-letter-headers")[example])
    if (last_offset := told.get("errors.last-offset")) is not None:
        first_offset, reason = int(told["__streams.errors.offset"]), told["errors.reason"]
        records = UnreadableRecords(first_offset, int(last_offset), reason)
        letter = unreadable_letter("dlq", told["__streams.errors.topic"], 3, records)
        assert [(name, text.decode()) for name, text in letter.headers] == list(told.items())
        return
    own = [
        (name, text.encode()) for name, text in told.items() if not name.startswith(("__streams.", "errors."))
    ]
    written = dead_letter_headers(
        told["__streams.errors.topic"],
        int(told["__streams.errors.partition"]),
        int(told["__streams.errors.offset"]),
        own,
        ErrorClass(told["__streams.errors.exception"]),
        told["errors.json-path"],
        int(told.get("errors.epoch", 0)),
    )
    assert [(name, text.decode()) for name, text in written] == list(told.items())


@pytest.mark.parametrize("folder", ["action/invalid", "supporter-status/invalid"])
def test_every_fault_makes_headers_within_their_contract(folder: str) -> None:
    """Every error class and JSON path that the decoders give is one that the schema names."""
    for about in examples.expected(folder).values():
        headers = dead_letter_headers(
            "actions", 0, 0, (), ErrorClass(about["error_class"]), about["json_path"]
        )
        assert faults("dead-letter-headers", {name: text.decode() for name, text in headers}) == []


def test_a_reduced_dead_letter_s_headers_are_within_their_contract() -> None:
    """What is left out is said in headers that the schema names, at each step down to the bare notice."""
    large = b"x" * (2 * SHORTENED_TO)
    headers = dead_letter_headers("actions", 3, 41, [("own", large)], ErrorClass.REFUSED, "$")
    letter: Outgoing | None = Outgoing("dlq", large, large, headers)
    steps = 0
    known = examples.schema("dead-letter-headers")["properties"]
    while letter is not None:
        texts = {name: text.decode() for name, text in letter.headers if name != "own"}
        assert faults("dead-letter-headers", texts) == []
        assert texts.keys() <= known.keys()
        letter = reduced(letter)
        steps += 1
    assert steps > 4
    keyless = with_key(Outgoing("dlq", None, b"x", headers))
    assert faults("dead-letter-headers", {name: text.decode() for name, text in keyless.headers}) == []


def test_closed_sets_are_the_same_in_schemas_and_code() -> None:
    """A new reason, cause, variant, outcome or error class is in the schema, or this fails."""
    email = examples.schema("confirmation-email")["properties"]
    assert email["variant"]["enum"] == list(Variant)
    assert email["reason"]["enum"] == list(Reason)
    assert email["lookup"]["properties"]["outcome"]["enum"] == list(Outcome)
    assert email["lookup"]["properties"]["cause"]["enum"] == [*Cause, None]
    headers = examples.schema("dead-letter-headers")["properties"]
    assert headers["__streams.errors.exception"]["enum"] == list(ErrorClass)


def test_what_schemas_say_in_words_is_what_the_code_does() -> None:
    """Limits and places that a schema can only mention are mentioned as they are."""
    assert f"{MAX_DEPTH} levels" in examples.schema("action")["description"]
    assert f"{MAX_DIGITS} digits" in examples.schema("action")["description"]
    for path in SUBSCRIBED_WHEN:
        assert path in examples.schema("lookup-reply")["description"]


@pytest.mark.parametrize("example", examples.valid("lookup-request"))
def test_a_lookup_request_is_what_an_action_of_the_same_person_makes(example: str) -> None:
    """The request asks with the action's address and reference, as exactly these bytes."""
    action = decode_action(examples.valid("action")[example])
    assert action is not None
    request = orjson.dumps({"email": action.email, "contactRef": action.contact_ref})
    assert request == examples.valid("lookup-request")[example]


# Names that nobody can own (RFC 2606, RFC 6761).
RESERVED = re.compile(r"(?:.+\.)?(?:example\.(?:org|com|net)|[^.@\s]+\.example)", re.IGNORECASE)
ADDRESS = re.compile(r"@([^\s\"'<>,;:\\\])}]+)")
HOST = re.compile(r"https?://([^/\s\"'<>:]+)")


@pytest.mark.parametrize(("folder", "name", "value"), ALL, ids=[f"{f}/{n}" for f, n, _ in ALL])
def test_all_people_in_the_examples_are_made_up(folder: str, name: str, value: bytes) -> None:
    """Every address and every host in an example is under a domain that is reserved for examples."""
    text = value.decode("utf-8", "replace").replace("\\u0040", "@").replace("https://json-schema.org", "")
    for domain in ADDRESS.findall(text) + HOST.findall(text):
        assert RESERVED.fullmatch(domain), f"{folder}/{name} holds something under {domain!r}"


def test_the_check_for_made_up_people_can_fail() -> None:
    """An address or a link to somewhere real would be found."""
    for domain in ("gmail.com", "example.org.evil.com", "notexample.org", "example.de", "пример.рф"):
        assert not RESERVED.fullmatch(domain)
    assert ADDRESS.findall('{"email":"a.b@gmail.com","x":1}') == ["gmail.com"]


class TestAsyncApi:
    """``asyncapi.yaml`` names the topics as they are."""

    @pytest.fixture
    def document(self) -> Any:
        return yaml.safe_load((examples.SCHEMAS / "asyncapi.yaml").read_text())

    def test_it_is_asyncapi_3_and_every_reference_leads_somewhere(self, document: Any) -> None:
        """No reference dangles, inside the file or to a schema beside it."""
        assert document["asyncapi"] == "3.0.0"
        references = list(_references(document))
        assert len(references) > 15
        for reference in references:
            if reference.startswith("#/"):
                here = document
                for part in reference[2:].split("/"):
                    here = here[part]
            else:
                assert (examples.SCHEMAS / reference).is_file()

    def test_every_schema_but_those_of_http_is_used(self, document: Any) -> None:
        """A schema of a record or of its headers is some topic's."""
        used = {reference[2:-5] for reference in _references(document) if reference.startswith("./")}
        assert used == {name for name in NAMES if not name.startswith("lookup-")}

    def test_topics_are_named_and_made_as_by_the_worker(self, document: Any) -> None:
        """Names, partition count and sizes are the defaults of settings and topics."""
        fields = Settings.model_fields
        channels = document["channels"]
        assert {name: channel["address"] for name, channel in channels.items()} == {
            "actions": fields["actions_topic"].default,
            "supporterStatus": fields["status_topic"].default,
            "confirmationEmails": fields["emails_topic"].default,
            "deadLetters": fields["dead_letters_topic"].default,
        }
        kafka = {name: channel["bindings"]["kafka"] for name, channel in channels.items()}
        for binding in kafka.values():
            assert int(binding["partitions"]) == fields["topic_partitions"].default
        assert kafka["supporterStatus"]["topicConfiguration"]["cleanup.policy"] == ["compact"]
        dead_letters = kafka["deadLetters"]["topicConfiguration"]
        assert int(dead_letters["max.message.bytes"]) == DEAD_LETTER_MAX_MESSAGE_BYTES
        assert int(dead_letters["retention.ms"]) == 30 * 24 * 3600 * 1000

    def test_we_read_two_topics_and_write_two(self, document: Any) -> None:
        """Every topic has its operation, in the application's own direction."""
        directions = {
            operation["channel"]["$ref"].rpartition("/")[2]: operation["action"]
            for operation in document["operations"].values()
        }
        assert directions == {
            "actions": "receive",
            "supporterStatus": "receive",
            "confirmationEmails": "send",
            "deadLetters": "send",
        }


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
