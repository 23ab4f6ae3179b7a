"""The command line in locales whose encodings lack what is to be written, as real processes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.commands.lookup_by_hand import made_up_ref
from streams.sandbox.lookup_service import LookupService, subscribed
from streams.sandbox.ports import free_port
from tests.integration.steps import Make

ROOT = Path(__file__).parent.parent
#: Python's own remedies are off, so that the encoding is the one of an old machine wherever this runs.
NARROW = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ENCODINGS = ["ascii", "iso-8859-1"]


def run(encoding: str, *command: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **NARROW, "PYTHONIOENCODING": encoding, **environ},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    """What standard output and standard error are encoded in."""
    return str(request.param)


def test_settings_are_shown(encoding: str) -> None:
    """A folder whose name the encoding does not have is shown by escapes, as a table and as JSON."""
    for arguments in (["settings"], ["settings", "--json"]):
        done = run(encoding, "streams", *arguments, STREAMS_STORE_FOLDER="/tmp/Żółw")
        assert done.returncode == 0, done.stderr
        assert b"/tmp/" in done.stdout


def test_doctor_shows_its_remedies(encoding: str) -> None:
    """Findings come whole, with a remedy below them, where there is no arrow to point at it."""
    done = run(encoding, "streams", "doctor", STREAMS_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert done.returncode == 3, done.stderr
    assert "PROBLEM" in done.stdout.decode()
    assert done.stdout.rstrip().endswith(b"1 problem")


def test_a_wrong_name_of_a_file_is_named(encoding: str) -> None:
    """A file that is not there is a sentence, whatever its name."""
    done = run(encoding, "streams", "feed", "Żółw…\udcff.jsonl")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: cannot read ")
    assert b"No such file" in done.stderr


def test_the_mailer_lists_its_settings(encoding: str) -> None:
    """The example mailer's table has a dash where nothing is set."""
    done = run(encoding, "examples.mailer", "settings")
    assert done.returncode == 0, done.stderr
    assert b"MAILER_SENT_FILE" in done.stdout


@pytest.fixture
def lookup() -> Iterator[LookupService]:
    """A lookup service that knows everybody."""
    with LookupService(subscribed) as running:
        yield running


def test_an_address_is_asked_about_as_it_was_typed(
    encoding: str, lookup: LookupService, tmp_path: Path
) -> None:
    """The service is given the typed address, and the contactRef that Proca makes of it."""
    address = "żółw@example.org"
    file = tmp_path / "organisations.toml"
    file.write_text(f'[organisation.310]\nurl = "{lookup.url}"\nname = "Żółw…"\n', encoding="utf-8")
    done = run(
        encoding, "streams", "lookup", "--org", "310", "--email", address, ORGANISATIONS_FILE=str(file)
    )
    assert done.returncode == 0, done.stderr
    assert lookup.questions == [{"email": address, "contactRef": made_up_ref(address)}]


def test_a_password_that_the_locale_cannot_read_is_named() -> None:
    """The sentence says what is wrong with it, without it: any text would be allowed."""
    environ = {"STREAMS_LOOKUP_PASSWORD": "Żółw", "STREAMS_LOOKUP_URL": "http://127.0.0.1:9/"}
    done = run("ascii", "streams", "settings", **environ)
    assert done.returncode == 2
    assert b"STREAMS_LOOKUP_PASSWORD is not text in this locale's encoding, ascii" in done.stderr


def test_a_folder_that_rocksdb_would_write_otherwise_is_refused(tmp_path: Path) -> None:
    """RocksDB's library writes names in UTF-8: it would look for the table in another folder, in vain."""
    environ = {"STREAMS_STORE_FOLDER": str(tmp_path / "Żółw"), "STREAMS_WEB_PORT": str(free_port())}
    done = run("ascii", "streams", "worker", **environ)
    assert done.returncode == 2
    assert done.stderr.rstrip().endswith(
        b"in a locale of ascii, a folder's name may have letters of ASCII only"
    )


def test_an_address_in_no_known_encoding_is_refused() -> None:
    """Bytes that are no UTF-8 are a usage error, and the service is not asked."""
    done = run("ascii", "streams", "lookup", "--org", "310", "--email", "\udcff@example.org")
    assert done.returncode == 2
    assert b"it is not UTF-8 text" in done.stderr


@pytest.mark.kafka
@pytest.mark.parametrize("style", ["json", "text"])
def test_a_worker_writes_every_line_of_its_log(installation: Make, encoding: str, style: str) -> None:
    """From its start to its end no line is lost to the encoding, Faust's own lines among them."""
    worker = installation(topic_partitions=2).worker(log_style=style)
    given = [f"{name}={value}" for name, value in (NARROW | {"PYTHONIOENCODING": encoding}).items()]
    worker.start(("/usr/bin/env", *given, sys.executable, "-m", "streams", "worker"))
    worker.wait_ready()
    assert worker.stop() == 0
    lines = worker.log.read_bytes().decode(encoding).splitlines()
    assert not [line for line in lines if "Logging error" in line or "UnicodeEncodeError" in line]
    if style == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)
    else:
        assert lines
