"""What the README shows is what the code takes: its examples, its counters, and its length."""

import json
import re

import promql_parser
import pytest
from jsonschema import Draft202012Validator

from streams.commands.keyed_lines import action_message, status_message
from streams.messages.decode import Outcome, decode_action, decode_supporter_status, status_key
from streams.messages.lookup_reply import decode_lookup_reply
from streams.observability.metric_catalogue import CATALOGUE
from tests.docs.commands import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[list[str]]:
    """Return the lines of each block in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in found]


REPLIES, ACTIONS, STATUSES = blocks("jsonl")


def test_it_can_be_read_in_one_go() -> None:
    """It has at most 200 lines."""
    assert len(README.splitlines()) <= 200


def test_the_example_action_asks_for_an_email() -> None:
    """The worker's decoder takes it, and `streams feed` writes it under the key that the README names."""
    (line,) = ACTIONS
    action = decode_action(line.encode())
    assert action is not None
    key = action_message(line.encode()).key
    assert key == status_key(action.org_id, action.contact_ref)
    assert key is not None
    assert f"here `{key.decode()}`" in README


def test_required_fields_are_those_of_the_schema() -> None:
    """An action without one of the fields that the README calls required does not fit the schema."""
    text = README[README.index("Required are") : README.index("All other fields pass through")]
    named = re.findall(r"`([\w.]+)`", text.replace("(only `supporter_confirm` asks for an email)", ""))
    assert named == ["stage", "actionId", "orgId", "contact.contactRef", "contact.email"]
    schema = Draft202012Validator(json.loads((ROOT / "schemas/action.json").read_text()))
    schema.validate(json.loads(ACTIONS[0]))
    for name in named:
        action = json.loads(ACTIONS[0])
        *parents, last = name.split(".")
        del (action[parents[0]] if parents else action)[last]
        assert not schema.is_valid(action), name


def test_the_example_status_is_that_of_the_example_action() -> None:
    """Its row has the key of the action, and says that this person is a subscriber."""
    (line,) = STATUSES
    message = status_message(line.encode())
    assert message.key == action_message(ACTIONS[0].encode()).key
    assert message.value is not None
    assert decode_supporter_status(message.key, message.value).subscribed


def test_a_status_line_that_forgets_is_as_described() -> None:
    """With "forget" in place of the last two fields it becomes a record without a value."""
    row = json.loads(STATUSES[0])
    first_two = dict(list(row.items())[:2])
    assert first_two.keys() == {"orgId", "contactRef"}
    assert status_message(json.dumps({**first_two, "forget": True}).encode()).value is None


def test_the_example_question_is_what_a_lookup_is_asked() -> None:
    """It fits the schema of the request."""
    (question,) = re.findall(r"with the JSON `(\{.*?\})`", README)
    schema = json.loads((ROOT / "schemas/lookup-request.json").read_text())
    Draft202012Validator(schema).validate(json.loads(question))


@pytest.mark.parametrize("reply", REPLIES)
def test_both_example_replies_mean_subscribed(reply: str) -> None:
    """Each is one of the two forms of a reply that says so, with custom fields that travel on."""
    outcome = decode_lookup_reply(reply.encode())
    assert outcome.outcome is Outcome.EXISTING
    assert outcome.custom_fields is not None


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ('{"privacy":{"optIn":true},"action":{"privacy":{"optIn":false}}}', Outcome.NON_EXISTING),
        ('{"privacy":{"optIn":true,"emailStatus":"unsub"}}', Outcome.NON_EXISTING),
        ("{}", Outcome.NON_EXISTING),
        ('{"customer":{"emailStatus":"already_subscribed"}}', Outcome.NON_EXISTING),
        ('{"subscribed":true}', Outcome.ERROR),
        ('{"privacy":{"optIn":"true"}}', Outcome.ERROR),
        ('{"privacy":{"optIn":1}}', Outcome.ERROR),
        ("subscribed", Outcome.ERROR),
        ("", Outcome.ERROR),
    ],
)
def test_replies_mean_what_the_table_of_answers_says(reply: str, outcome: Outcome) -> None:
    """One reply of each row that is about a body."""
    assert decode_lookup_reply(reply.encode()).outcome is outcome


def test_the_three_counters_can_be_asked_for() -> None:
    """Each query is valid PromQL, and its metric, labels and outcomes exist: one query for each outcome."""
    (queries,) = blocks("promql")
    asked = []
    for query in queries:
        promql_parser.parse(query)
        (name, outcome) = re.findall(r'(\w+)_total\{outcome="(\w+)"\}', query)[0]
        (metric,) = [each for each in CATALOGUE if each.name == name]
        (labels,) = re.findall(r"sum by \(([\w, ]+)\)", query)
        assert {"outcome", *labels.split(", ")} <= set(metric.labels)
        asked.append(outcome)
    assert asked == list(Outcome)
