"""Nothing that a worker or a command says names anybody, whatever goes wrong."""

import asyncio
import contextlib
import signal
import ssl
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import trustme
from click.testing import CliRunner

from streams.__main__ import main
from streams.observability.page.live import FILES
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import free_port
from streams.sandbox.worker import Installation, WorkerProcess
from tests.integration.steps import settled, table
from tests.integration.topics import keyed, read, send
from tests.lookup.faulty_server import FaultyServer, healthy
from tests.privacy.buggy_worker import CALLBACK, CLIENT, LETHAL, LIBRARY, WRITE
from tests.privacy.faults import LOOKUPS, odd, person, statuses, unreadable
from tests.privacy.people import EMAIL, REF, SECRETS
from tests.privacy.receivers import Receivers, receiving
from tests.privacy.scanner import Scanner

pytestmark = pytest.mark.kafka

#: Actions for each organisation whose lookup fails: enough to open its circuit breaker.
EACH = 10
#: Failures of one kind.
MANY = 10_000
#: Of one event in ten seconds; see streams.observability.logs.Bounded.
MOST, SECONDS = 20, 10.0

#: What is an ERROR in this run, by event, with the reason why a person must act.
ERRORS = {
    "action_failed": "our own code has a bug; the action is kept as a dead letter until it is mended",
    "lookup_client_raised": "our own code has a bug; the organisation's supporters all get two buttons",
    "organisations_refused": "somebody has just changed the file, and it is not in force",
    "asyncio": "a bug in a callback or task of ours or of a library",
    "faust.agents": "an agent's exception: a bug",
    "faust.agents.actor": "an agent's exception: a bug",
    "bug": "the test's own line",
    "crashed": "the agent's exception ends the worker, which says so in its last line",
    "faust.worker": "the same, in Faust's words",
}
#: Events that every run must have had, or the catalogue did not bite.
SEEN = {"action_failed", "lookup_client_raised", "organisations_refused", "asyncio", "bug"}

SAMPLED = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
FORGED = f"00-{EMAIL}".encode().ljust(55, b"-")[:55]
scanner = Scanner(SECRETS)


class Run:
    """One worker that met the whole catalogue, and all that it said."""

    def __init__(self, place: Installation, worker: WorkerProcess, receivers: Receivers) -> None:
        self.place, self.worker, self.receivers = place, worker, receivers
        self.pages: dict[str, str] = {}
        self.seconds = 0.0

    @property
    def output(self) -> str:
        return self.worker.log.read_text(errors="replace")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log as JSON: standard output and standard error, all of it."""
        return [orjson.loads(line) for line in self.output.splitlines()]


@contextlib.asynccontextmanager
async def lookups(folder: Path) -> AsyncIterator[Path]:
    """Serve every fault to an organisation of its own; yield their organisations file."""
    certificate = trustme.CA().issue_cert("zyxwanda.pii-canary.test")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    servers = [FaultyServer(behaviour) for behaviour in LOOKUPS.values()] + [FaultyServer(tls=context)]
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.listening())
        answering = await stack.enter_async_context(FaultyServer(healthy()).listening())
        urls = [server.url for server in servers] + [f"http://127.0.0.1:{free_port()}/"]
        tables = [table(None, [f'url = "{answering.url}"', "deadline = 0.4"])]
        tables += [table(500 + index, [f'url = "{url}"']) for index, url in enumerate(urls)]
        file = folder / "organisations.toml"
        file.write_text("".join(tables))
        yield file


def organisations() -> range:
    """Those whose lookups fail: LOOKUPS, then TLS, then a refused port."""
    return range(500, 500 + len(LOOKUPS) + 2)


async def meet_everything(run: Run, file: Path) -> None:
    """Send all of it, and wait until the worker is through."""
    place, worker = run.place, run.worker
    servers, names = place.bootstrap_servers, place.names
    await send(servers, names.statuses, statuses())
    rows = len(list(statuses()))
    broken = list(unreadable())
    await send(servers, names.actions, broken)
    letters = [*odd(), *(person(n, org_id) for org_id in organisations() for n in range(EACH))]
    await send(servers, names.actions, map(keyed, letters), headers=[("traceparent", SAMPLED)])
    buggy = [person(n, org_id) for org_id in (CLIENT, CALLBACK, LIBRARY) for n in range(3)]
    await send(
        servers, names.actions, map(keyed, [*buggy, person(1, WRITE)]), headers=[("traceparent", FORGED)]
    )
    await settled(place, lambda: worker.counter("confirmation_emails_total") >= len(letters) + len(buggy), 40)
    await settled(place, lambda: worker.counter("confirmation_dead_letters_total") >= rows + len(broken), 40)
    await asyncio.to_thread(spoil, file)
    worker.send(signal.SIGHUP)
    await settled(place, lambda: "not taken over" in run.output)
    for path in ("/metrics", "/readyz", "/livez", "/live", "/nothing/here", "/?email=x", *FILES):
        run.pages[path] = worker.get(path)[1]


def spoil(file: Path) -> None:
    """Put somebody's data where an organisation belongs."""
    with file.open("a") as text:
        text.write(f'[organisation."{EMAIL}"]\nurl = "http://{REF}/"\n"{EMAIL}" = "{REF}"\n')


@contextlib.contextmanager
def installed(kafka: EmbeddedKafka, name: str, folder: Path, **settings: object) -> Iterator[Run]:
    """Start a buggy worker with both extras on."""
    with (
        receiving() as receivers,
        Installation(kafka.bootstrap_servers, name, folder, dead_letter_ceiling=1, **settings) as place,
    ):
        worker = place.worker(sentry_dsn=receivers.sentry_dsn, otlp_endpoint=receivers.otlp_endpoint)
        worker.start((sys.executable, "-m", "tests.privacy.buggy_worker"))
        worker.wait_ready(90)
        yield Run(place, worker, receivers)


async def met_everything(
    kafka: EmbeddedKafka, folder: Path, then: Callable[[Run], Awaitable[None]], **settings: object
) -> Run:
    """Run a worker that meets everything and `then` something more, until it is stopped."""
    async with lookups(folder) as file:
        with installed(kafka, folder.name, folder, organisations_file=file, **settings) as run:
            await meet_everything(run, file)
            await then(run)
            run.worker.stop()
    return run


@pytest.fixture(scope="module")
def thorough(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """JSON lines at DEBUG, every logger of every library included, to the last word of a crash."""

    async def crash(run: Run) -> None:
        await send(run.place.bootstrap_servers, run.place.names.statuses, [(LETHAL, EMAIL.encode())])
        await settled(run.place, lambda: "buggy_read" in run.output)

    folder = tmp_path_factory.mktemp("thorough")
    return asyncio.run(met_everything(kafka, folder, crash, log_level="debug", log_style="json"))


@pytest.fixture(scope="module")
def usual(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Text at INFO, and ten thousand failures of one kind."""

    async def fail(run: Run) -> None:
        began = time.monotonic()
        actions = (keyed(person(number, WRITE)) for number in range(MANY))
        await send(run.place.bootstrap_servers, run.place.names.actions, actions)
        counter = partial(run.worker.counter, "confirmation_dead_letters_total")
        await settled(run.place, lambda: counter(error_class="internal_error") > MANY, 40)
        run.seconds = time.monotonic() - began

    return asyncio.run(met_everything(kafka, tmp_path_factory.mktemp("usual"), fail, log_style="text"))


@pytest.fixture(params=["thorough", "usual"])
def run(request: pytest.FixtureRequest) -> Run:
    """Either."""
    found: Run = request.getfixturevalue(request.param)
    return found


def test_no_line_names_anybody(run: Run) -> None:
    """Nor a traceback, nor what stands on standard error."""
    assert len(run.output) > 10_000
    assert scanner.found(run.output) == []


def test_no_page_names_anybody(run: Run) -> None:
    """Every path that the worker serves, the live page's document and a page that is none."""
    assert "confirmation_emails_total" in run.pages["/metrics"]
    assert '"errors":[{"' in run.pages["/live"]
    assert {path: found for path, body in run.pages.items() if (found := scanner.found(body))} == {}


def test_no_sentry_event_names_anybody(run: Run) -> None:
    """And there are events, of exceptions too, with their classes."""
    events = run.receivers.of("/envelope")
    assert b"KeyError" in b"".join(events)
    assert [found for event in events if (found := scanner.found(event))] == []


def test_no_span_names_anybody(run: Run) -> None:
    """And there are spans."""
    spans = run.receivers.of("/v1/traces")
    assert b"lookup_failed" in b"".join(spans)
    assert [found for each in spans if (found := scanner.found(each))] == []


def test_an_error_is_what_a_person_must_act_on(run: Run) -> None:
    """Each has its reason in the list; no dead lookup, bad reply or unreadable record is one."""
    events = list(_errors(run))
    assert set(events) - set(ERRORS) == set()
    assert SEEN - set(events) == set()


def _errors(run: Run) -> Iterator[str]:
    for body in run.receivers.of("/envelope"):
        for line in body.splitlines():
            event = orjson.loads(line)
            if "logger" in event:
                yield event.get("extra", {}).get("event") or event["logger"]
    if run.receivers is not None and '"level":' in run.output:
        yield from (line["event"] for line in run.lines if line["level"] in ("error", "critical"))


def test_every_line_can_be_counted_and_placed(thorough: Run) -> None:
    """JSON, one event, level, time; topic, partition and offset where it is about a record."""
    lines = thorough.lines
    assert all({"time", "level", "event", "message", "logger"} <= line.keys() for line in lines)
    assert all(line["event"] and line["level"] in LEVELS for line in lines)
    about = [line for line in lines if line["event"] == "action_failed"]
    assert about
    assert all({"topic", "partition", "offset"} <= line.keys() for line in about)
    assert "forged" not in {line["event"] for line in lines}
    ours = [line for line in lines if line["logger"].startswith("streams.")]
    ours = [line for line in ours if not line["message"].startswith("[^")]  # Faust's, of our subclasses
    assert ours
    assert all(line["event"] != line["logger"] for line in ours)


LEVELS = {"debug", "info", "warning", "error", "critical"}


def test_ten_thousand_failures_are_a_few_lines(usual: Run) -> None:
    """And as few events at Sentry; what was left out is counted in the next line."""
    most = MOST * (usual.seconds // SECONDS + 2)
    failed = [line for line in usual.output.splitlines() if "our own code failed" in line]
    assert 0 < len(failed) <= most
    sent = Counter(_errors(usual))
    assert 0 < sent["action_failed"] <= most


async def test_no_dead_letter_s_own_header_names_anybody(usual: Run) -> None:
    """What the worker adds to the record that nobody could read says why and from where, not whose."""
    records = await read(
        usual.place.bootstrap_servers, usual.place.names.dead_letters, lambda found: len(found) > 100
    )
    own = [(name, value) for record in records for name, value in record.headers if name != "traceparent"]
    assert len(own) > 100
    assert [header for header in own if scanner.found(b"%s: %s" % (header[0].encode(), header[1]))] == []


COMMANDS = [
    ("dead-letters", "list", "--json"),
    ("dead-letters", "retry"),
    ("audit", "--json"),
    ("doctor",),
    ("check",),
    ("trace", "1"),
    ("supporter", "get", f"310:{REF}"),
    ("supporter", "forget", f"310:{REF}", "--json"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_names_anybody(
    usual: Run, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They show places. Only `dead-letters show` shows a record: that is what it is for, and it warns."""
    for name, value in usual.place.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("STREAMS_ORGANISATIONS_FILE")
    result = CliRunner().invoke(main, command)
    assert result.output
    assert scanner.found(result.output + repr(result.exception)) == []
