"""The whole of docker-compose.yml as it is started: its commands, its environment, its order, its files."""

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.kustomize import ROOT
from tests.deploy.stack.images import ABSENT
from tests.deploy.stack.running import Stack
from tests.deploy.stack.service import composed

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
SAMPLES = [json.loads(line) for line in (ROOT / "compose/actions.jsonl").read_text().splitlines()]


#: From the files of this machine, or from the images that the Dockerfile makes.
KINDS = ["machine", pytest.param("images", marks=[pytest.mark.images, pytest.mark.timeout(3600)])]


@pytest.fixture(scope="module", params=KINDS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services, healthy."""
    built = request.getfixturevalue("built_images") if request.param == "images" else None
    with Stack(tmp_path_factory.mktemp("stack"), built) as made:
        made.start()
        yield made


def asked(stack: Stack, service: str, port: int, path: str) -> Any:
    """Return what a service's page says: JSON, or text."""
    with stack.machine.network():
        url = f"http://{stack.machine.addresses[service]}:{port}{path}"
        with urllib.request.urlopen(url, timeout=5) as response:
            text = response.read().decode()
    return json.loads(text) if text.startswith(("{", "[")) else text


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def letters(stack: Stack) -> list[str]:
    """Return to whom Mailpit has letters, in order."""
    found = asked(stack, "mailpit", 8025, "/api/v1/messages?limit=1000")["messages"]
    return sorted(to["Address"] for letter in found for to in letter["To"])


def samples(stack: Stack, query: str) -> dict[str, float]:
    """Return what Prometheus has for a query now, by instance."""
    found = asked(stack, "prometheus", 9090, f"/api/v1/query?query={query}")["data"]["result"]
    return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}


def test_every_service_stands_for_itself_or_is_named() -> None:
    """What is not started here is named with its reason, and nothing else is left out."""
    assert composed().keys() - Stack(Path()).services.keys() == ABSENT.keys()


def test_what_is_published_is_served(stack: Stack) -> None:
    """Behind each port that compose publishes there is somebody who listens."""
    for name, service in stack.services.items():
        for port in service.ports:
            with stack.machine.network():
                socket.create_connection((stack.machine.addresses[name], port), timeout=5).close()


def test_each_sample_gets_its_letter_and_a_killed_worker_costs_none(stack: Stack) -> None:
    """One letter an action: of the samples, and of those that come while one worker is dead."""
    fed = sorted(sample["contact"]["email"] for sample in SAMPLES)
    until(lambda: len(letters(stack)) >= len(fed))
    assert letters(stack) == fed

    stack.machine.signal("worker-2", signal.SIGKILL)
    assert stack.processes["worker-2"].wait() != 0
    more = [
        {
            **sample,
            "actionId": sample["actionId"] + 1000 * number,
            "contact": {**sample["contact"], "contactRef": f"again-{number}-{place}"},
        }
        for number in range(1, 6)
        for place, sample in enumerate(SAMPLES)
    ]
    lines = "".join(json.dumps(action) + "\n" for action in more)
    done = stack.machine.run("worker-1", ["streams", "feed", "-"], lines)
    assert done.returncode == 0, done.stderr
    stack.restart("worker-2")
    fed = sorted([*fed, *(action["contact"]["email"] for action in more)])
    until(lambda: len(letters(stack)) >= len(fed))
    assert letters(stack) == fed
    counted = stack.machine.run("worker-1", ["streams", "audit"])
    assert counted.returncode == 0, counted.stdout + counted.stderr


def test_prometheus_scrapes_workers_and_mailer_and_has_the_rules(stack: Stack) -> None:
    """Each target is up under its name, each rule is evaluated, and the letters are counted."""
    targets = {"worker-1:6066": 1, "worker-2:6066": 1, "mailer:6067": 1}
    until(lambda: samples(stack, "up") == targets)
    until(lambda: list(samples(stack, "sum(mailer_letters_sent_total)").values()) == [len(letters(stack))])

    def rules() -> list[str]:
        groups = asked(stack, "prometheus", 9090, "/api/v1/rules")["data"]["groups"]
        return [rule["health"] for group in groups for rule in group["rules"]]

    assert rules()
    until(lambda: set(rules()) == {"ok"})


@pytest.mark.parametrize("name", ["mailer", "worker-2", "worker-1", "lookup", "kafka"])
def test_process_1_ends_in_good_order(stack: Stack, name: str) -> None:
    """SIGTERM ends each service as process 1, without a first process that hands it on."""
    assert stack.stop(name) == (143 if name == "kafka" else 0)
