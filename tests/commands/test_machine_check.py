"""What a worker needs of its machine is looked at before it starts."""

import pwd
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from streams.commands.machine_check import unmet
from streams.sandbox.ports import free_port
from streams.settings.load import load_settings
from tests.test_main import streams

NOBODYS_ADDRESS = "192.0.2.1"  # RFC 5737: no machine has it


def found(*arguments: str, **environ: object) -> list[str]:
    return unmet(load_settings({f"STREAMS_{name}": str(value) for name, value in environ.items()}), arguments)


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def free() -> int:
    """A port at which nobody listens."""
    return free_port()


def test_a_machine_that_has_everything_is_left_as_it_was(tmp_path: Path, free: int) -> None:
    """A new folder is made with those above it, nothing is left in it, and the address is free again."""
    folder = tmp_path / "new/state"
    for _ in range(2):
        assert found(STORE_FOLDER=folder, WEB_PORT=free) == []
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path, free: int) -> None:
    """The setting is named with the reason, and with the way to do without a folder."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file/state"
    assert found(STORE_FOLDER=folder, WEB_PORT=free) == [
        f"STREAMS_STORE_FOLDER={folder} cannot be written (Not a directory); "
        "with STREAMS_STORE=memory no folder is needed"
    ]


def test_a_folder_with_a_long_name_is_one_sentence(free: int) -> None:
    """No file system takes a name of 5,000 characters, and nobody reads it."""
    (sentence,) = found(STORE_FOLDER="x" * 5_000, WEB_PORT=free)
    assert "xxx cannot be written (File name too long)" in sentence
    assert len(sentence) < 300


def test_a_table_in_memory_needs_no_folder(tmp_path: Path, free: int) -> None:
    """Nobody looks at the folder then."""
    (tmp_path / "file").touch()
    assert found(STORE="memory", STORE_FOLDER=tmp_path / "file/state", WEB_PORT=free) == []


def test_a_user_without_a_home_is_told_so(free: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user of a container may have no entry in passwd, and ~ means nothing then."""

    def unknown(_: int) -> NoReturn:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    (sentence,) = found(STORE_FOLDER="~/state", WEB_PORT=free)
    assert sentence == "STREAMS_STORE_FOLDER=~/state: this user has no home folder, so name one without ~"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_port_in_use_is_one_sentence(port: int, host: str) -> None:
    """The setting is named, and who may have the port."""
    (sentence,) = found(STORE="memory", WEB_HOST=host, WEB_PORT=port)
    assert sentence.startswith(f"STREAMS_WEB_PORT={port} is in use at {host}: another worker")


@pytest.mark.parametrize("host", [NOBODYS_ADDRESS, "no-such-host.invalid"])
def test_an_address_of_another_machine_is_one_sentence(host: str, free: int) -> None:
    """An address that this machine does not have, and a name that nobody knows."""
    (sentence,) = found(STORE="memory", WEB_HOST=host, WEB_PORT=free)
    assert sentence.startswith(f"STREAMS_WEB_HOST={host} is no address ")


def test_ipv6_alone_can_be_listened_at(port: int) -> None:
    """`::` is every address of IPv6 and none of IPv4, where somebody else may have the port."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    assert found(STORE="memory", WEB_HOST="::", WEB_PORT=port) == []


@pytest.mark.parametrize("option", ["--web-port=1", "-p", "--without-web", "--web-bind"])
def test_an_address_that_faust_is_told_is_not_looked_for(option: str, port: int) -> None:
    """Options of Faust's own put the web server elsewhere than the settings say."""
    assert found(option, STORE="memory", WEB_PORT=port) == []


def test_the_worker_says_everything_that_is_missing_at_once(tmp_path: Path, port: int) -> None:
    """Exit code 2 and two sentences, on standard error, instead of a log with a stack."""
    (tmp_path / "file").touch()
    done = streams("worker", WEB_PORT=str(port), STORE_FOLDER=str(tmp_path / "file/state"))
    assert done.returncode == 2
    assert done.stdout == ""
    head, *sentences = done.stderr.splitlines()
    assert head == "Error: 2 settings are wrong:"
    assert [each.split("=")[0].strip() for each in sentences] == ["STREAMS_STORE_FOLDER", "STREAMS_WEB_PORT"]
