"""A real Prometheus scrapes a real worker, and is asked all that the dashboard and the rules ask."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest

from streams.native.build import build
from streams.observability.metric_catalogue import AUDIT_CATALOGUE
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import LookupService, failing, hanging, subscribed
from streams.sandbox.worker import Installation, WorkerProcess
from tests.integration.steps import act, table
from tests.integration.topics import action, keyed, send, status
from tests.monitoring.prometheus import Prometheus, Refused
from tests.monitoring.queries import RULES, of_dashboard, read_dashboard, rules, selectors, substituted
from tests.tools import debian_tool

#: What Grafana puts into the queries while "All" is chosen.
VARIABLES = {
    "job": "confirmation-streams",
    "instance": ".*",
    "mailer": ".*",
    "bridge": ".*",
    "organisation": ".*",
    "__rate_interval": "1m",
    "__interval": "1s",
    "__range": "1m",
}

#: Queries of the dashboard without samples here, by panel, with the reason.
SILENT = {
    "Failed transactions A": "no transaction fails here",
    "Oldest waiting letter A": "no mailer is scraped here",
    "Letters A": "no mailer is scraped here",
    "Letters B": "no mailer is scraped here",
    "Failed attempts to send a letter A": "no mailer is scraped here",
    "Records without letter A": "no mailer is scraped here",
    "Records without letter B": "no mailer is scraped here",
    "Messages in RabbitMQ A": "no bridge is scraped here",
    "Messages in RabbitMQ B": "no bridge is scraped here",
    "Oldest message in hand A": "no bridge is scraped here",
    "Messages from RabbitMQ A": "no bridge is scraped here",
    "Messages from RabbitMQ B": "no bridge is scraped here",
    "Messages from RabbitMQ C": "no bridge is scraped here",
    "Trouble of the bridge A": "no bridge is scraped here",
    "Trouble of the bridge B": "no bridge is scraped here",
    "Trouble of the bridge C": "no bridge is scraped here",
}

#: Series that rules ask for and that are not here, by metric, with the reason.
ABSENT = {
    "bridge_ready": "no bridge runs here; tests/proca sees it",
    "bridge_messages_too_large_total": "no bridge runs here; tests/proca sees it",
    "confirmation_transactions_failed_total": "no transaction fails here",
    **dict.fromkeys((described.name for described in AUDIT_CATALOGUE), "an audit writes them, and no worker"),
    **dict.fromkeys(("mailer_ready", "mailer_oldest_letter_age_seconds"), "the mailer shows them"),
}


class Watched(NamedTuple):
    """A worker that has done all that can be counted, and the Prometheus that saw it."""

    worker: WorkerProcess
    prometheus: Prometheus


@pytest.fixture(scope="module")
def watched(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One organisation's lookup answers, one's fails, one's hangs, one has none; a fifth is in no file."""
    program = debian_tool("prometheus")
    build()  # the native pass counts, too
    folder = tmp_path_factory.mktemp("scrape")
    with ExitStack() as stack:
        healthy, broken, silent = (
            stack.enter_context(LookupService(answer)) for answer in (subscribed, failing, hanging)
        )
        organisations = folder / "organisations.toml"
        tables = [
            table(None, [f'url = "{healthy.url}"']),
            table(310, [f'url = "{healthy.url}"']),
            table(311, [f'url = "{broken.url}"', "breaker_minimum_calls = 5"]),
            table(312, ['lookup = "none"']),
            table(313, [f'url = "{silent.url}"', "deadline = 2.5"]),
        ]
        organisations.write_text("".join(tables))
        place = stack.enter_context(
            Installation(
                kafka.bootstrap_servers, "scraped", folder, organisations_file=organisations, store="rocksdb"
            )
        )
        worker = place.worker()
        worker.start()
        jobs = {"confirmation-streams": [f"127.0.0.1:{worker.port}"]}
        prometheus = stack.enter_context(Prometheus(program, folder, jobs, RULES))
        worker.wait_ready()
        prometheus.wait(lambda: prometheus.query("confirmation_ready == 1"))
        asyncio.run(act(place, action(1, org_id=313)))
        for emails in (84, 168, 252):
            asyncio.run(feed(place, emails * 10))
            seen = f"sum(confirmation_emails_total) >= {emails}"
            prometheus.wait(lambda seen=seen: prometheus.query(seen))
        prometheus.wait(lambda: prometheus.query("sum(confirmation_emails_total) == 253"))
        yield Watched(worker, prometheus)


async def feed(place: Installation, first: int) -> None:
    """Write 84 actions that ask for an email, one that does not, and what nobody can read."""
    known = [status(first + number, number % 2 == 0) for number in range(4)]
    await send(place.bootstrap_servers, place.names.statuses, known)
    asking = [
        action(first + number, org_id=org_id) for org_id in (310, 311, 312, 999) for number in range(4, 24)
    ]
    asking += [action(first + number) for number in range(4)]
    other = [action(first + 90, stage="action_confirm")]
    records: list[tuple[bytes | None, bytes | None]] = [
        *map(keyed, [*asking, *other]),
        (b"310:x", b"no JSON"),
    ]
    await send(place.bootstrap_servers, place.names.actions, records)


def test_the_worker_is_up_and_each_scrape_is_read(watched: Watched) -> None:
    """Prometheus' parser takes all of /metrics, scrape after scrape."""
    (target,) = watched.prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert watched.prometheus.query("min_over_time(up[2s])")[0][1] == 1


def test_promtool_accepts_the_exposition(watched: Watched) -> None:
    """Names, help texts and types are as Prometheus' own linter wants them."""
    shown = watched.worker.get("/metrics")[1]
    done = subprocess.run(
        [debian_tool("promtool", "prometheus"), "check", "metrics"],
        input=shown,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_organisations_of_the_file_have_a_label_and_the_others_share_one(watched: Watched) -> None:
    """An organisation that is in no file is ``other``, so that actions cannot make up label values."""
    found = watched.prometheus.query("sum by (organisation, outcome) (confirmation_lookups_total)")
    counted = {(labels["organisation"], labels["outcome"]): value for labels, value in found if value}
    assert counted.keys() == {("310", "existing"), ("311", "error"), ("313", "error"), ("other", "existing")}
    assert watched.prometheus.ask("label/organisation/values") == ["310", "311", "313", "other"]


def test_every_query_of_the_dashboard_has_samples(watched: Watched) -> None:
    """Each is understood, and shows something, but for those with a reason."""
    wrong = []
    for place, expression in of_dashboard(read_dashboard()):
        query = substituted(expression, VARIABLES)
        assert "$" not in query, place
        if bool(watched.prometheus.query(query)) == (place in SILENT):
            wrong.append(f"{place}: {query}")
    assert wrong == []


def test_one_organisation_can_be_chosen(watched: Watched) -> None:
    """With one organisation in the drop-down list, panels that know organisations show no other."""
    chosen = VARIABLES | {"organisation": "311"}
    for _, expression in of_dashboard(read_dashboard()):
        if "$organisation" in expression:
            found = watched.prometheus.query(substituted(expression, chosen))
            assert {labels["organisation"] for labels, _ in found} == {"311"}, expression


def test_a_wrong_query_is_noticed(watched: Watched) -> None:
    """A misspelt name has no samples and wrong syntax is refused, so that these tests can fail."""
    assert watched.prometheus.query("sum(confirmation_email_total)") == []
    with pytest.raises(Refused, match="parse error"):
        watched.prometheus.query("sum(confirmation_emails_total")


def test_the_first_screen_is_calm_when_all_is_done(watched: Watched) -> None:
    """Nobody waits, nothing lags, every action is accounted for; dead letters are those that were fed."""
    asked = {place: substituted(query, VARIABLES) for place, query in of_dashboard(read_dashboard())}
    calm = {"Oldest waiting action", "Unaccounted actions", "Lag", "Not ready"}
    for title in calm:
        watched.prometheus.wait(lambda title=title: watched.prometheus.query(f"({asked[f'{title} A']}) == 0"))
    waited = "max_over_time((time() - max(confirmation_oldest_action_timestamp_seconds))[1m:1s])"
    assert 1 < watched.prometheus.query(waited)[0][1] < 10
    counted = "sum(confirmation_actions_taken_total)", "sum(confirmation_dead_letters_total)"
    assert [watched.prometheus.query(query)[0][1] for query in counted] == [3 * 86 + 1, 3]


def test_the_dashboard_s_variables_find_their_values(watched: Watched) -> None:
    """What the drop-down lists ask has answers: job, instance and organisations."""
    found = {}
    for variable in read_dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            inner = substituted(variable["query"], VARIABLES).removeprefix("label_values(").removesuffix(")")
            selector, _, label = inner.rpartition(",")
            found[variable["name"]] = watched.prometheus.ask(
                f"label/{label.strip()}/values", **{"match[]": selector}
            )
    assert found == {
        "job": ["confirmation-streams"],
        "instance": [f"127.0.0.1:{watched.worker.port}"],
        "mailer": [],
        "bridge": [],
        "organisation": ["310", "311", "313", "other"],
    }


def test_every_rule_is_evaluated_without_error(watched: Watched) -> None:
    """Prometheus loads every rule, and evaluates it in good health."""

    def evaluated() -> bool:
        groups = watched.prometheus.ask("rules")["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    watched.prometheus.wait(evaluated)
    groups = watched.prometheus.ask("rules")["groups"]
    assert {rule["lastError"] for group in groups for rule in group["rules"] if "lastError" in rule} <= {""}
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    assert sum(len(group["rules"]) for group in groups) == len(rules())


def test_every_recording_has_samples(watched: Watched) -> None:
    """What is recorded for alerts to ask is there."""
    names = {rule["record"] for _, rule in rules() if "record" in rule}
    assert names
    missing = {name for name in names if not watched.prometheus.ask("series", **{"match[]": name})}
    assert missing == set()


def test_an_alert_that_should_fire_does(watched: Watched) -> None:
    """Dead letters were fed, so their ticket is open; and nothing pages."""
    firing = 'count by (alertname, severity) (ALERTS{alertstate="firing"})'
    watched.prometheus.wait(lambda: watched.prometheus.query(firing))
    found = {(labels["alertname"], labels["severity"]) for labels, _ in watched.prometheus.query(firing)}
    assert found == {("ConfirmationDeadLetters", "ticket")}


def test_every_rule_asks_for_series_that_exist(watched: Watched) -> None:
    """Each selector finds series, but for those with a reason: an alert on a misspelt one never fires."""
    for group, rule in rules():
        watched.prometheus.query(rule["expr"])
        for selector in selectors(rule["expr"]):
            text = f"{selector.name or ''}{selector.matchers}"
            found = watched.prometheus.ask("series", **{"match[]": text})
            assert bool(found) != (selector.name in ABSENT), (
                f"{group} {rule.get('alert', rule.get('record'))}: {text}"
            )
