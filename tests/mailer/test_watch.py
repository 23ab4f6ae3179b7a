"""What Prometheus and the probes see of a mailer."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.mailer.watch import FRESH, InHand, Watch
from examples.web import WITHIN, Web
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import free_port
from streams.sandbox.worker import page
from tests.clients import make_topics
from tests.integration.topics import producing
from tests.mailer.processes import Mailbox, MailerProcess
from tests.mailer.test_mailer import email
from tests.timing import Clock

Sample = tuple[str, frozenset[str]]


def metrics(port: int) -> dict[Sample, float]:
    """The samples, by name and the values of their labels."""
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page(port, "/metrics")[1])
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def of(name: str, *labels: str) -> Sample:
    return name, frozenset(labels)


AGE, READY = of("mailer_oldest_letter_age_seconds"), of("mailer_ready")


@pytest.fixture
def watched() -> Iterator[tuple[Watch, Clock, int]]:
    """A watch, its clock, and the port on which it is served."""
    clock = Clock(1_000.0)
    watch = Watch(clock)
    web = Web(watch, "127.0.0.1", 0)
    yield watch, clock, web.port
    web.close()


def test_what_is_not_known_is_not_shown(watched: tuple[Watch, Clock, int]) -> None:
    """Before Kafka told how much waits, and when it has not told for half a minute, no number says 0."""
    watch, clock, port = watched
    lag = of("mailer_lag_records", "3")
    assert not {lag, AGE} & metrics(port).keys()
    watch.beat()
    watch.know_lags({3: 0})
    seen = metrics(port)
    assert (seen[lag], seen[AGE], seen[READY]) == (0, 0, 1)
    clock.now += FRESH
    watch.beat()
    seen = metrics(port)
    assert not {lag, AGE} & seen.keys()
    assert seen[READY] == 0
    watch.in_hand[3] = InHand(7, clock.now - 90)
    assert metrics(port)[AGE] == 90  # which needs no Kafka


def test_a_record_that_waits_unseen_has_no_age(watched: tuple[Watch, Clock, int]) -> None:
    """While records are known to wait and none is in hand, nobody can tell for how long."""
    watch, _, port = watched
    watch.beat()
    watch.know_lags({0: 0, 1: 5})
    seen = metrics(port)
    assert seen[of("mailer_lag_records", "1")] == 5
    assert AGE not in seen


def test_the_oldest_of_all_partitions_counts(watched: tuple[Watch, Clock, int]) -> None:
    """Each partition has a letter in hand; the age is that of the oldest."""
    watch, clock, port = watched
    watch.in_hand |= {0: InHand(1, clock.now - 5), 1: InHand(1, clock.now - 70), 2: InHand(1, clock.now + 3)}
    assert metrics(port)[AGE] == 70


def test_the_probes_follow_the_loop(watched: tuple[Watch, Clock, int]) -> None:
    """Alive while it makes rounds, ready while it reads and nobody has told it to end."""
    watch, clock, port = watched

    def probes() -> tuple[int, int]:
        return page(port, "/livez")[0], page(port, "/readyz")[0]

    assert probes() == (503, 503)
    watch.beat()
    assert probes() == (200, 503)
    watch.know_lags({})
    assert probes() == (200, 200)
    watch.ending = True
    assert probes() == (200, 503)
    clock.now += WITHIN
    assert probes() == (503, 503)
    assert page(port, "/")[0] == 404


@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_a_mailer_shows_what_it_did_and_what_waits(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    """While no server listens, letters wait and grow old; then they are sent, and nothing waits."""
    topic = unique_name("emails")
    mailbox, port = Mailbox(), free_port()

    async def put() -> None:
        await make_topics(kafka.bootstrap_servers, 1, topic, f"{topic}.dlq")
        async with (
            producing(kafka.bootstrap_servers, transactional_id=topic) as producer,
            producer.transaction(),
        ):
            for value in (email("a"), email("b", "two_button"), b"{poison"):
                await producer.send_and_wait(topic, value)

    asyncio.run(put())
    lag = of("mailer_lag_records", "0")
    with MailerProcess(kafka.bootstrap_servers, topic, mailbox.port, tmp_path, web_port=port) as mailer:
        # The topic ends with the marker of a transaction, which counts as long as records before it wait.
        mailer.until(lambda: metrics(port).get(lag) in (3, 4) and metrics(port).get(AGE, 0) > 0)
        mailer.until(
            lambda: metrics(port).get(of("mailer_attempts_failed_total", "ConnectionRefusedError"), 0) > 1
        )
        assert page(port, "/livez")[0] == page(port, "/readyz")[0] == 200
        with mailbox:
            mailer.until(lambda: metrics(port).get(lag) == metrics(port).get(AGE) == 0)
        seen = metrics(port)
        for variant in ("one_button", "two_button"):
            assert seen[of("mailer_letters_sent_total", variant)] == 1
        assert seen[of("mailer_letters_failed_total", "not_an_email_record")] == 1
        assert seen[READY] == 1
        assert mailer.end(signal.SIGTERM) == 0


def test_a_port_that_is_taken_is_told_before_the_first_letter(tmp_path: Path) -> None:
    """One sentence with the settings' names, and exit code 2."""
    with (
        closing(Web(Watch(), "127.0.0.1", 0)) as web,
        MailerProcess("127.0.0.1:1", "t", 1, tmp_path, web_port=web.port) as mailer,
    ):
        assert mailer.process is not None
        assert mailer.process.wait(60) == 2
    assert mailer.log.read_text() == (
        "MAILER_WEB_HOST and MAILER_WEB_PORT must be a free address of this machine.\n"
    )
