"""The layout of topics."""

from dataclasses import replace

import pytest

from streams.commands.doctor.findings import Severity
from streams.commands.doctor.layout import check_layout
from streams.commands.installation import Described
from streams.kafka.topics import TopicNames

NAMES = TopicNames("actions", "status", "emails", "dlq", "changelog", "rekeyed", "marks")
WINDOW = 900.0  # seconds
SOUND = {
    name: {
        "min.insync.replicas": "2",
        "cleanup.policy": {"status": "compact", "changelog": "compact", "marks": "compact,delete"}.get(
            name, "delete"
        ),
    }
    for name in NAMES.all
}


def described(**changes: dict[str, str]) -> Described:
    configs = {name: {**SOUND[name], **changes.get(name, {})} for name in NAMES.all}
    three = dict.fromkeys(NAMES.all, 3)
    return Described(dict.fromkeys(NAMES.all, 8), three, three, configs)


def test_a_sound_layout_has_nothing_to_complain_of() -> None:
    """Equal counts, 3 replicas of which 2 in sync, a week of emails, compacted tables."""
    assert {finding.level for finding in check_layout(described(), NAMES, WINDOW)} == {Severity.OK}


@pytest.mark.parametrize(
    ("topic", "config", "value", "level", "said"),
    [
        ("emails", "cleanup.policy", "compact,delete", Severity.PROBLEM, "is compacted"),
        ("emails", "retention.ms", "86400000", Severity.WARNING, "keeps emails for 24 h"),
        ("emails", "retention.bytes", "1000000", Severity.WARNING, "retention.bytes"),
        ("emails", "max.message.bytes", "100000", Severity.WARNING, "becomes a dead letter"),
        ("emails", "max.message.bytes", "1000", Severity.PROBLEM, "with an action that is larger wait"),
        ("rekeyed", "max.message.bytes", "100000", Severity.WARNING, "if it has to be re-keyed"),
        ("rekeyed", "max.message.bytes", "1000", Severity.PROBLEM, "with an action that is larger wait"),
        ("dlq", "cleanup.policy", "compact", Severity.PROBLEM, "only the last is kept"),
        ("dlq", "max.message.bytes", "1000", Severity.WARNING, "is shortened"),
        ("status", "cleanup.policy", "delete", Severity.PROBLEM, "is not compacted"),
        ("changelog", "cleanup.policy", "compact,delete", Severity.WARNING, "also deletes by age"),
        ("marks", "cleanup.policy", "compact", Severity.WARNING, "deletes nothing by age"),
        ("marks", "retention.ms", "60000", Severity.PROBLEM, "less than STREAMS_DUPLICATE_WINDOW"),
        ("marks", "retention.ms", "86400000", Severity.WARNING, "no audit can say"),
        ("actions", "min.insync.replicas", "1", Severity.WARNING, "can be lost with one broker"),
        ("actions", "min.insync.replicas", "3", Severity.WARNING, "one broker away stops it"),
        ("actions", "min.insync.replicas", "4", Severity.PROBLEM, "nothing can be written"),
    ],
)
def test_each_wrong_configuration_is_named(
    topic: str, config: str, value: str, level: Severity, said: str
) -> None:
    """One setting wrong: one finding, of its level, with its topic and a remedy."""
    (finding,) = [
        each
        for each in check_layout(described(**{topic: {config: value}}), NAMES, WINDOW)
        if each.level is not Severity.OK
    ]
    assert (finding.level, said in finding.text, topic in finding.text) == (level, True, True)
    assert finding.remedy


def test_kept_for_ever_is_long_enough() -> None:
    """retention.ms of -1."""
    findings = check_layout(described(emails={"retention.ms": "-1"}), NAMES)
    assert any("for ever" in finding.text for finding in findings)


def test_different_counts_and_missing_topics_are_problems() -> None:
    """Both counts are named."""
    sound = described()
    found = check_layout(replace(sound, partitions={"actions": 8, "status": 4}), NAMES)
    texts = [finding.text for finding in found if finding.level is Severity.PROBLEM]
    assert "partition counts differ: actions 8, status 4" in texts
    assert sum("is missing" in text for text in texts) == 5


def test_one_replica_is_a_warning() -> None:
    """A lost disk is lost records."""
    one = dict.fromkeys(NAMES.all, 1)
    one = replace(described(), replicas=one, in_sync=one, configs={})
    assert sum("one replica" in finding.text for finding in check_layout(one, NAMES)) == 7


def test_configurations_that_may_not_be_read_are_no_fault() -> None:
    """It is said that they were not looked at."""
    sound = described()
    found = check_layout(replace(sound, configs={}), NAMES)
    assert any("may not read configurations" in finding.text for finding in found)


@pytest.mark.parametrize(
    ("in_sync", "level"), [(3, Severity.OK), (2, Severity.WARNING), (1, Severity.PROBLEM)]
)
def test_replicas_that_are_not_in_sync_are_told(in_sync: int, level: Severity) -> None:
    """As long as enough are, it is a warning; with fewer than min.insync.replicas, what is written waits."""
    found = list(check_layout(replace(described(), in_sync=described().in_sync | {"emails": in_sync}), NAMES))
    assert max(found, key=lambda each: list(Severity).index(each.level)).level is level
    assert any(each.text.startswith("emails: a partition has") for each in found) == (in_sync < 3)
