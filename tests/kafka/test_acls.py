"""The least a worker must be allowed, by its settings, and as it is printed; tests/security proves it."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import yaml
from aiokafka import TopicPartition
from click.testing import CliRunner

from streams.__main__ import main
from streams.delivery.kafka_transaction import KafkaTransactions
from streams.delivery.topic_limits import TopicLimits
from streams.kafka.acls import Acl, commands, least, strimzi, to_make_topics
from streams.kafka.topics import TopicNames
from streams.settings.load import load_settings

COMPONENTS = Path(__file__).parents[2] / "k8s" / "components"
USER = COMPONENTS / "strimzi" / "user.yaml"
SETTINGS = load_settings({"STREAMS_GROUP_ID": "g", "STREAMS_ACTIONS_TOPIC": "signatures"})
NAMES = TopicNames.of(SETTINGS)


def rights(entries: list[dict[str, object]]) -> list[dict[str, object]]:
    return sorted(entries, key=str)


def test_the_strimzi_user_has_exactly_these() -> None:
    """The KafkaUser under k8s/ allows what the default settings and a window need, and nothing more."""
    settings = load_settings({"STREAMS_DUPLICATE_WINDOW": "15m"})
    needed = least(TopicNames.of(settings), settings.group_id)
    document = yaml.safe_load(USER.read_text())
    assert rights(document["spec"]["authorization"]["acls"]) == rights(
        yaml.safe_load("\n".join(strimzi(needed)))
    )


def test_names_are_those_of_the_settings() -> None:
    """Topics, group and transactional.ids are the ones that this worker uses, and no wildcard."""
    needed = least(NAMES, "g")
    assert {acl.name for acl in needed if acl.resource == "topic"} == set(NAMES.all)
    assert {acl.name for acl in needed if acl.resource == "group"} == {"g"}
    assert all(acl.name not in {"*", ""} for acl in needed)
    prefixes = tuple(acl.name for acl in needed if acl.resource == "transactionalId")
    for topic in (NAMES.actions, NAMES.rekeyed):
        assert transactions(topic).transactional_id.startswith(prefixes)
    assert not transactions("g2").transactional_id.startswith(prefixes)


def test_a_window_for_duplicates_needs_one_topic_more() -> None:
    """Without a window, a worker that is upgraded needs no right that its user does not have."""
    names = TopicNames.of(load_settings({"STREAMS_GROUP_ID": "g", "STREAMS_DUPLICATE_WINDOW": "15m"}))
    more = {(acl.name, acl.operation) for acl in least(names, "g")}
    more -= {(acl.name, acl.operation) for acl in least(replace(names, marks=None), "g")}
    assert more == {("g-letter-marks", operation) for operation in ("Read", "Write", "DescribeConfigs")}


def transactions(topic: str) -> KafkaTransactions:
    return KafkaTransactions(
        TopicPartition(topic, 3),
        group="g",
        connection={},
        committed=lambda _: None,  # type: ignore[arg-type,return-value]  # never called
        limits=TopicLimits({}),
        transaction_timeout=1,
    )


def test_no_right_is_listed_that_another_one_implies() -> None:
    """Describe comes with Read and Write; a worker makes no topic unless that is asked for."""
    needed = least(NAMES, "g")
    assert len(set(needed)) == len(needed)
    assert {acl.operation for acl in needed} == {"Read", "Write", "DescribeConfigs"}
    assert {(acl.name, acl.operation) for acl in to_make_topics(NAMES)} == {
        (name, "Create") for name in NAMES.all
    }


def test_commands_are_for_a_shell() -> None:
    """A principal with spaces and quotes stays one word, and one resource is one command."""
    lines = commands(
        [
            Acl("topic", "t", "literal", "Read", ""),
            Acl("topic", "t", "literal", "Write", ""),
            Acl("transactionalId", "g-t-", "prefix", "Write", ""),
        ],
        "User:CN=it's, O=x",
    )
    first, second = map(shlex.split, lines)
    assert first[first.index("--allow-principal") + 1] == "User:CN=it's, O=x"
    assert first[-8:] == shlex.split(
        "--operation Read --operation Write --topic t --resource-pattern-type literal"
    )
    assert second[-4:] == ["--transactional-id", "g-t-", "--resource-pattern-type", "prefixed"]


def printed(*arguments: str, **environ: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["acls", *arguments], env=environ)
    return result.exit_code, result.output


def test_the_command_prints_them() -> None:
    """As commands for the SASL user, as YAML, and as JSON with reasons; topics to be made on request."""
    code, output = printed(
        STREAMS_KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        STREAMS_KAFKA_SASL_MECHANISM="PLAIN",
        STREAMS_KAFKA_SASL_USER="me",
        STREAMS_KAFKA_SASL_PASSWORD="secret",
    )
    assert (code, output.count("kafka-acls.sh "), output.count("User:me ")) == (0, 9, 9)
    assert "secret" not in output
    _, output = printed("--format", "strimzi")
    assert len(yaml.safe_load(output)["acls"]) == 9
    _, output = printed("--format", "json", "--make-topics")
    found = json.loads(output)
    assert all(each["why"] for each in found)
    assert sum(each["operation"] == "Create" for each in found) == 6


def test_a_mailer_s_are_those_of_its_user_in_kubernetes() -> None:
    """With the default settings, `--for mailer` prints what the KafkaUser under k8s/ has."""
    _, output = printed("--for", "mailer", "--format", "strimzi")
    document = yaml.safe_load((COMPONENTS / "mailer-strimzi" / "user.yaml").read_text())
    assert rights(yaml.safe_load(output)["acls"]) == rights(document["spec"]["authorization"]["acls"])


def test_each_role_has_its_own() -> None:
    """A producer writes one topic, a CRM another, an auditor none; only workers make topics."""
    for role, operations in (
        ("producer", {("actions", "Write")}),
        ("crm", {("supporter-status", "Write")}),
        ("mailer", {("confirmation-emails", "Read"), ("confirmation-emails.dlq", "Write"), ("g", "Read")}),
    ):
        code, output = printed("--for", role, "--mailer-group", "g", "--format", "json")
        assert code == 0
        assert {(each["name"], each["operation"]) for each in json.loads(output)} == operations
    _, output = printed("--for", "auditor", "--format", "json")
    assert {each["operation"] for each in json.loads(output)} == {"Read", "Describe", "DescribeConfigs"}
    code, output = printed("--for", "auditor", "--make-topics")
    assert (code, "only a worker makes topics" in output) == (2, True)
    code, output = printed("--for", "auditor")
    assert (code, "--principal" in output) == (2, True)


def test_the_command_asks_for_whom() -> None:
    """Without a SASL user the principal is nobody that the settings know."""
    code, output = printed()
    assert code == 2
    assert "--principal" in output
