"""Every command in the documents does what it is there for."""

import asyncio
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.ports import free_port
from streams.sandbox.worker import Installation
from streams.settings.table import describe
from tests.docs.commands import ROOT, commands, documents
from tests.integration.topics import action, keyed, send

#: A document, or a section of one, whose commands a test of its own types, in their order.
TYPED_IN_ORDER = {"docs/commands.md", "One incident, step by step"}
TYPED = [each for each in commands() if not TYPED_IN_ORDER & {each.document, each.section}]
#: Exit codes that are an answer, not a failure. An installation on one broker gets remarks from the doctor.
#: A lookup service that is down is an answer too, and so is that an action or a supporter is not known.
#: A worker that an earlier command has kept busy may be silent.
ANSWERS = dict.fromkeys(("breaker", "decide", "doctor", "lookup", "top", "trace", "supporter"), range(2))
#: Said of commands that need an engine, a cluster or a registry: what of them can be checked without.
ELSEWHERE = ("docker", "kubectl", "kustomize")


def of(*programs: str) -> list[str]:
    """Return what starts with one of `programs`, each once."""
    return list(dict.fromkeys(each.text for each in TYPED if _program(each.text) in programs))


def _program(text: str) -> str:
    words = [word for word in shlex.split(text.lstrip("(")) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    if words[0] == "cd":
        words = shlex.split(text.partition("&&")[2])
    return "python -m" if words[0] == "python" else words[0]


def test_each_command_is_of_a_kind_that_is_tested_here() -> None:
    """A document cannot tell people to type what no test knows."""
    known = {"streams", "make", "python -m", "export", "curl", "pip", ".", "eval", *ELSEWHERE}
    unknown = [each for each in TYPED if _program(each.text) not in known]
    assert not unknown
    assert len(TYPED) > 20


@pytest.mark.parametrize("text", of("make"))
def test_make_has_the_target(text: str) -> None:
    """A make command is one that make can plan."""
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(text)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", of("export"))
def test_an_exported_setting_exists(text: str) -> None:
    """A variable that a document exports is one that is read."""
    name = shlex.split(text)[1].partition("=")[0]
    names = {setting.name for setting in describe()}
    assert name.removesuffix("_FILE") in names or f"STREAMS_{name}" in names


@pytest.mark.parametrize("text", of(*ELSEWHERE))
def test_what_a_cluster_is_told_to_use_is_there(text: str) -> None:
    """Folders, files, services and names in commands for containers and clusters are those of the project."""
    words = shlex.split(text.strip("()").replace("&&", " && "))
    for folder in [words[at + 1] for at, word in enumerate(words) if word in ("-k", "cd")]:
        assert (ROOT / folder / "kustomization.yaml").exists()
    for component in re.findall(r"\.\./components/[\w-]+", text):
        assert (ROOT / "k8s" / component.removeprefix("../") / "kustomization.yaml").exists()
    for target in re.findall(r"--target (\S+)", text):
        assert f" AS {target}\n" in (ROOT / "Dockerfile").read_text()
    for image in re.findall(r"confirmation-streams(?:-[a-z]+)?:(\d+\.\d+\.\d+)", text):
        assert f'version = "{image}"' in (ROOT / "pyproject.toml").read_text()
    for workload in re.findall(r"statefulset/([a-z-]+)", text):
        assert (
            yaml.safe_load((ROOT / "k8s/base/stateful-set.yaml").read_text())["metadata"]["name"] == workload
        )
    if words[:2] == ["docker", "compose"]:
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        for service in re.findall(r"(?:exec (?:-T )?|logs (?:-f )?|restart )([a-z][a-z0-9-]*)", text):
            assert service in services


@pytest.mark.parametrize("text", of("python -m"))
def test_a_module_that_is_run_exists(text: str) -> None:
    """What is run by python -m can be run."""
    module = shlex.split(text[text.index("python -m") :])[2]
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.submodule_search_locations is None or importlib.util.find_spec(f"{module}.__main__")


@pytest.mark.parametrize("text", of("."))
def test_a_file_that_the_shell_reads_is_the_virtual_environment_s(text: str) -> None:
    """It puts the command `streams` on the path: both are in the folder where make installs."""
    assert text == ". .venv/bin/activate"
    assert Path(sysconfig.get_path("scripts"), "activate").exists()
    assert Path(sysconfig.get_path("scripts"), "streams").exists()


@pytest.mark.parametrize("text", of("eval"))
def test_tab_completion_is_made_by_the_command_line(text: str) -> None:
    """The command between the brackets prints a script for bash that completes `streams`."""
    (command,) = re.findall(r"\$\((.*)\)", text)
    setting, program = command.split()
    assert program == "streams"
    environ = {"PATH": os.environ["PATH"], **dict([setting.split("=")])}
    done = subprocess.run(
        [Path(sysconfig.get_path("scripts"), program)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "complete -o nosort -F _streams_completion streams" in done.stdout


def test_links_between_documents_lead_somewhere() -> None:
    """A relative link, with the heading that it names, is there."""
    for document in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            there = document if not path else (document.parent / path).resolve()
            assert there.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in _anchors(there), f"{document.name}: {target}"


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# -- the app's own, on an installation ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A running installation, and the folder in which somebody types."""

    environ: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
def place(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """An installation with one email, one dead letter, and the files that the documents mention."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "my.jsonl").write_text(json.dumps(action(2)) + "\n")
    (folder / "actions.jsonl").write_text(json.dumps(action(3)) + "\n")
    row = {"orgId": 310, "contactRef": "ref00000009", "subscribed": True, "asOf": "2026-11-24T10:00:00Z"}
    (folder / "statuses.jsonl").write_text(json.dumps(row) + "\n")
    (folder / "organisations.toml").write_text(
        '[organisation.310]\nurl = "http://127.0.0.1:9/"\ndeadline = 0.1\n'
    )
    with Installation(kafka.bootstrap_servers, "documented", folder, topic_partitions=1) as made:
        worker = made.worker()
        worker.start()
        worker.wait_ready()
        records = [keyed(action(1)), (b"310:b", b"no action")]
        asyncio.run(send(kafka.bootstrap_servers, made.names.actions, records))
        worker.wait_counter(1, "confirmation_dead_letters_total")
        worker.wait_counter(1, "confirmation_emails_total")
        environ = made.environ
        environ["STREAMS_ORGANISATIONS_FILE"] = str(folder / "organisations.toml")
        environ["STREAMS_WEB_PORT"] = str(worker.port)
        yield Place({"PATH": os.environ["PATH"], **environ}, folder)


@pytest.mark.kafka
@pytest.mark.parametrize("text", of("streams"))
def test_the_app_s_commands_do_what_they_say(place: Place, text: str) -> None:
    """Each is typed at a running installation and ends well; what runs until it is stopped can be stopped."""
    typed = text.replace("127.0.0.1:6066", f"127.0.0.1:{place.environ['STREAMS_WEB_PORT']}")
    words = shlex.split(typed.partition("<")[0])
    arguments = [sys.executable, "-m", "streams", *words[1:]]
    if words[1] in ("worker", "kafka") or words[1:] == ["top"]:
        environ = place.environ | {"STREAMS_WEB_PORT": str(free_port()), "STREAMS_GROUP_ID": "documented-2"}
        process = subprocess.Popen(
            [*arguments, *(["--port", str(free_port()), "--folder", "k"] if words[1] == "kafka" else [])],
            env=environ,
            cwd=place.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        return
    done = subprocess.run(
        arguments,
        env=place.environ,
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in ANSWERS.get(words[1], (0,)), done.stdout + done.stderr
