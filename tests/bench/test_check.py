"""The reader must see what is wrong, or its silence says nothing."""

from collections.abc import Callable

import pytest

from bench.check import Checked, check
from bench.topics import Topics
from bench.workload import Workload
from streams.sandbox.kafka import EmbeddedKafka

pytestmark = pytest.mark.kafka


def test_the_reader_sees_what_is_wrong(kafka: EmbeddedKafka, unique_name: Callable[[str], str]) -> None:
    """An email that is missing, doubled, of the wrong kind or altered is counted; right ones are not."""
    work = Workload(20, people=10)
    topics = Topics(kafka.bootstrap_servers)

    def email(number: int, **changed: bytes) -> tuple[bytes, bytes]:
        variant = changed.get("variant", work.variant(number).encode())
        return changed.get("key", work.key(number)), b'{"variant":"%b",%b' % (variant, work.value(number)[1:])

    def problems(*emails: tuple[bytes, bytes]) -> list[str]:
        topic = unique_name("checked")
        topics.make(topic, 2)
        topics.fill(topic, emails)
        return check(kafka.bootstrap_servers, topic, 2, work).problems

    right = [email(number) for number in range(20)]
    assert problems(*right) == []
    assert problems(*right[:-1]) == ["1 emails missing"]
    assert problems(*right, right[3]) == ["1 emails doubled"]
    assert problems(*right[:-1], email(19, variant=b"one_button")) == ["1 emails with a wrong variant"]
    assert problems(email(0, key=b"310:another"), *right[1:]) == ["1 emails altered"]


def test_a_lookup_without_an_answer_is_counted_apart(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str]
) -> None:
    """Two buttons after a failed lookup are right, but no part of the rate; most of them is a failure."""
    work = Workload(20, people=10, missing_every=2, missing=((310, "one_button"),))
    topics = Topics(kafka.bootstrap_servers)

    def checked(unanswered: int) -> Checked:
        topic = unique_name("checked")
        topics.make(topic, 2)
        asked = [number for number in range(20) if work.is_missing(number)]
        failed = b'{"variant":"two_button","reason":"lookup_failed","lookup":{"cause":"saturated"},%b'
        plain = b'{"variant":"%b",%b'
        topics.fill(
            topic,
            (
                (work.key(number), failed % work.value(number)[1:])
                if number in asked[:unanswered]
                else (work.key(number), plain % (work.variant(number).encode(), work.value(number)[1:]))
                for number in range(20)
            ),
        )
        return check(kafka.bootstrap_servers, topic, 2, work)

    few = checked(4)
    assert few.unanswered == 4
    assert len(few.stamps) == 16
    many = checked(6)
    assert many.problems == ["6 saturated: lookups without an answer, though the service gives one"]
