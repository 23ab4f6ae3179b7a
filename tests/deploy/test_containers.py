"""Dockerfile, compose file and lock files, as far as no engine is needed."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from examples.mailer.settings import Settings as MailerSettings
from examples.proca.settings import Settings as BridgeSettings
from examples.settings import describe
from streams.kafka.topics import TopicNames, _new
from streams.messages.decode import decode_action
from streams.sandbox.kafka.jars import KAFKA_VERSION
from streams.settings.load import load_settings
from streams.settings.organisations_file import load_organisations
from tests.deploy.kustomize import ROOT
from tests.http_server import answering
from tests.node import NODE, installed

DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
BIN = Path(sys.executable).parent


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_the_image_s_versions_are_those_that_are_tested() -> None:
    """Every package of the images has the version of requirements.lock, and none is for development."""
    tested = locked("requirements.lock")
    for image in ("worker", "mailer", "proca", "build"):
        packages = locked(f"requirements.{image}.lock")
        assert packages
        differing = {
            each: version for each, version in packages.items() if tested.get(each, version) != version
        }
        assert differing == {}
    worker = locked("requirements.worker.lock")
    assert {"faust-streaming", "sentry-sdk", "opentelemetry-sdk"} <= worker.keys()
    assert not {"pytest", "mypy", "matplotlib", "confluent-kafka"} & worker.keys()


def test_hadolint_has_nothing_to_say() -> None:
    """The Dockerfile passes hadolint, warnings and all."""
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_from_an_exact_tag() -> None:
    """A numbered user, exec form for PID 1, an exact tag, and only files that exist are copied."""
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"] * 3
    entries = re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", DOCKERFILE, re.MULTILINE)
    assert entries
    assert all(entry.startswith("[") for entry in entries)
    assert re.search(r"^ARG PYTHON_IMAGE=python:3\.11\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in (ROOT / ".dockerignore").read_text().split()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_follows_livez(status: int, code: int) -> None:
    """The image's own command says what /livez says."""

    def livez(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status if request.path == "/livez" else 404)
        request.end_headers()

    found = re.search(r"^HEALTHCHECK .*\n    CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    with answering(livez) as port:
        environment = {**os.environ, "STREAMS_WEB_PORT": str(port)}
        command = [sys.executable, *json.loads(found[1])[1:]]
        assert subprocess.run(command, env=environment).returncode == code


def test_compose_has_its_schema_s_form() -> None:
    """The compose file is what the compose specification allows."""
    vendored = next(BIN.parent.rglob("check_jsonschema/builtin_schemas/vendor/compose-spec.json"))
    jsonschema.validate(COMPOSE, json.loads(vendored.read_text()))


#: What dclint wants and we do not, with the reason.
UNWANTED = {
    "service-keys-order": "keys stand as they are read",
    "services-alphabetical-order": "services stand in the order in which they start",
    "service-dependencies-alphabetical-order": "so do those that one waits for",
    "top-level-properties-order": "what is shared stands first",
    "require-quotes-in-ports": "they are quoted, in [lists], which it does not read",
    "no-build-and-image": "what is built gets the name that Kubernetes knows it by",
}


def test_the_compose_linter_has_nothing_to_say() -> None:
    """The compose file passes dclint, warnings and all."""
    linter = installed(ROOT / "tests/deploy/dclint") / ".bin" / "dclint"
    rules = [part for rule in UNWANTED for part in ("--disable-rule", rule)]
    done = subprocess.run(
        [NODE, linter, ROOT / "docker-compose.yml", "--max-warnings", "0", *rules],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_names_what_exists() -> None:
    """Settings, mounted files, images and start conditions are real and spelt right."""
    for name, service in COMPOSE["services"].items():
        environment = {
            key: value for key, value in service.get("environment", {}).items() if key.startswith("STREAMS_")
        }
        environment.pop("STREAMS_ORGANISATIONS_FILE", None)
        load_settings(environment)
        if name == "mailer":
            assert service["environment"].keys() <= {each.name for each in describe(MailerSettings)}
        if name.startswith("bridge-"):
            assert service["environment"].keys() <= {each.name for each in describe(BridgeSettings)}
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], (
                source
            )
        for needed, how in service.get("depends_on", {}).items():
            assert needed in COMPOSE["services"]
            if how["condition"] == "service_healthy" and "worker" not in needed:
                assert "healthcheck" in COMPOSE["services"][needed], needed
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.parametrize("name", ["kafka", "rabbitmq"])
def test_a_broker_is_healthy_while_it_listens_and_the_check_starts_no_program(name: str) -> None:
    """The check is run every five seconds for ever: bash asks by itself, without a Java or an Erlang."""
    _, _, *words = COMPOSE["services"][name]["healthcheck"]["test"]
    bash = shutil.which("bash")
    assert bash is not None

    def code(port: int) -> int:
        command = [re.sub(r"(?<=/dev/tcp/).*(?=\b)", f"127.0.0.1/{port}", word) for word in words]
        return subprocess.run([bash, *command], env={"PATH": ""}, capture_output=True).returncode

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert code(port) == 0
    assert code(port) != 0


def test_compose_s_workers_ask_each_other() -> None:
    """Each publishes the name by which the others reach it, and none has a network of its own."""
    workers = {name: each for name, each in COMPOSE["services"].items() if name.startswith("worker-")}
    assert len(workers) > 1
    for name, service in workers.items():
        assert service["environment"]["STREAMS_WEB_ADDRESS"] == service["hostname"] == name
        assert not {"networks", "network_mode"} & service.keys()


def test_compose_makes_the_topics_that_a_worker_makes() -> None:
    """The topics job gives every topic the name and configuration that a worker would, with a window too."""
    names = TopicNames.of(load_settings({"STREAMS_DUPLICATE_WINDOW": "15m"}))
    script = (ROOT / "compose/topics.sh").read_text()
    made = {
        topic: dict(re.findall(r"--config (\S+)=(\S+)", rest))
        for topic, rest in re.findall(r"^make_topic ([a-z.-]+)(.*)$", script, re.MULTILINE)
    }
    assert made.pop("confirmation-emails.dlq") == {}  # the mailer's own
    assert made == {name: _new(name, names, 8, 1).topic_configs for name in names.all}


def test_the_samples_are_actions_and_organisations() -> None:
    """What compose feeds asks for emails, and its organisations file is read."""
    lines = (ROOT / "compose/actions.jsonl").read_bytes().splitlines()
    assert len(lines) > 3
    assert all(decode_action(line) is not None for line in lines)
    load_organisations(ROOT / "compose/organisations.toml", {})
    for overlay in ("dev", "production"):
        load_organisations(ROOT / f"k8s/overlays/{overlay}/organisations.toml", {"CRM_TOKEN": "x"})


def test_yaml_is_tidy() -> None:
    """Yamllint has nothing to say about what is deployed."""
    rules = "{extends: default, rules: {line-length: {max: 120}, braces: {max-spaces-inside: 1}}}"
    folders = [ROOT / "docker-compose.yml", ROOT / "compose", ROOT / "k8s"]
    done = subprocess.run([BIN / "yamllint", "-s", "-d", rules, *folders], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
