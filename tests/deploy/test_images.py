"""The images that the Dockerfile makes, looked through; test_stack.py runs them.

Their files are on this machine, unpacked: ``make check-images`` builds them.
"""

import email
import os
import re
import signal
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.deploy.images.base import base
from tests.deploy.images.building import TARGETS, BuiltImage, files
from tests.deploy.kustomize import ROOT
from tests.deploy.stack.images import FOREIGN, Content
from tests.deploy.stack.machine import Machine
from tests.deploy.stack.service import made, services

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]

USER = 10001
#: The lock file and the folder of each image's virtual environment.
ENVIRONMENTS = {
    "worker": ("requirements.worker.lock", "opt/streams"),
    "mailer": ("requirements.mailer.lock", "opt/mailer"),
    "bridge": ("requirements.proca.lock", "opt/bridge"),
}
COMPILERS = {"cc", "gcc", "g++", "c++", "clang", "make", "ld", "as", "cargo", "rustc", "go", "cython", "zig"}
#: Megabytes that an image may add to the one that it is built on.
LARGEST = {"worker": 160, "mailer": 140, "bridge": 140}
#: What the image that they are built on does not have, besides the virtual environment.
OURS = re.compile(
    r"opt(/.*)?|var/lib/streams|etc/(passwd|group|g?shadow|subuid|subgid)-?|var/log/(last|fail)log"
)

#: Where this build mounts files; buildah leaves empty ones there.
MOUNTED = {"etc/hosts", "etc/pip.conf"}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """One of the images."""
    name: str = request.param
    return name


@pytest.fixture
def built(built_images: dict[str, BuiltImage], target: str) -> BuiltImage:
    """One of the images, as it was built."""
    return built_images[target]


@pytest.fixture(scope="session")
def before() -> dict[str, tarfile.TarInfo]:
    """What the image has that they are built on, by path."""
    with tarfile.open(base()) as archive:
        return {os.path.normpath(each.name): each for each in archive}


def added(root: Path, before: dict[str, tarfile.TarInfo]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what an image has in addition."""
    return ((path, has) for path, has in files(root).items() if path not in before)


def test_an_image_says_what_the_dockerfile_says(built: BuiltImage, target: str) -> None:
    """User, command, environment, folder and health check are those that the stack is tested with."""
    assert built.image == made(target)
    assert built.image.user == USER
    assert built.config.get("StopSignal", "SIGTERM") in ("SIGTERM", "15")


def test_only_its_volume_can_be_written_to(built: BuiltImage, before: dict[str, tarfile.TarInfo]) -> None:
    """Its user owns the one folder, and nothing that was added may be written by everybody."""
    owned = {path for path, has in files(built.root).items() if USER in (has.st_uid, has.st_gid)}
    assert owned == {"var/lib/streams"}
    open_to_all = {
        path
        for path, has in added(built.root, before)
        if has.st_mode & stat.S_IWOTH and not stat.S_ISLNK(has.st_mode)
    }
    assert open_to_all == set()


def test_nothing_of_ours_gives_rights(built: BuiltImage, before: dict[str, tarfile.TarInfo]) -> None:
    """No file runs with the rights of its owner or group, nor has capabilities, but those of the system."""
    given = stat.S_ISUID | stat.S_ISGID
    theirs = {path for path, has in before.items() if has.mode & given}
    ours = {path for path, has in files(built.root).items() if has.st_mode & given}
    assert ours <= theirs
    capable = {
        path
        for path in files(built.root)
        if "security.capability" in os.listxattr(built.root / path, follow_symlinks=False)
    }
    assert capable <= before.keys()


def test_there_is_no_compiler_and_no_installer_of_ours(built: BuiltImage) -> None:
    """What could make a program, or fetch one into the virtual environment, is not there."""
    programs = {
        Path(path)
        for path, has in files(built.root).items()
        if stat.S_ISLNK(has.st_mode) or (stat.S_ISREG(has.st_mode) and has.st_mode & 0o111)
    }
    assert {path for path in programs if path.name in COMPILERS} == set()
    assert {
        path for path in programs if path.parts[0] == "opt" and re.match(r"pip|uv|hatch", path.name)
    } == set()


def test_nothing_else_is_added(built: BuiltImage, before: dict[str, tarfile.TarInfo]) -> None:
    """Besides the virtual environment and the examples there is only the user."""
    theirs = {path for path, has in added(built.root, before) if path in MOUNTED and has.st_size == 0}
    others = {path for path, _ in added(built.root, before) if not OURS.fullmatch(path)}
    assert others - theirs == set()
    folders = {path.split("/")[1] for path, _ in added(built.root, before) if path.startswith("opt/")}
    assert folders <= {"streams", "mailer", "bridge", "mailer-source", "bridge-source"}


def test_the_packages_are_those_of_the_lock_file(built: BuiltImage, target: str) -> None:
    """Each installed package has the version of the lock file, and there is none besides them and ours."""
    lock, environment = ENVIRONMENTS[target]
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE))
    installed = {}
    for file in (built.root / environment).glob("lib/python3*/site-packages/*.dist-info/METADATA"):
        said = email.message_from_bytes(file.read_bytes())
        installed[re.sub(r"[-_.]+", "-", said["Name"]).lower()] = said["Version"]
    assert installed.pop("confirmation-streams")
    assert installed.items() <= locked.items()
    assert {"faust-streaming" if target == "worker" else "aiokafka"} <= installed.keys()


def test_it_is_no_larger_than_it_must_be(
    built: BuiltImage, target: str, before: dict[str, tarfile.TarInfo]
) -> None:
    """What is added to the image below has a bound, so that a build tool that stays in is seen."""
    megabytes = sum(has.st_size for _, has in added(built.root, before)) / 1e6
    whole = sum(has.st_size for has in files(built.root).values()) / 1e6
    click.echo(f"{target}: {whole:.0f} MB, of which {megabytes:.0f} MB are added")
    assert megabytes < LARGEST[target]


def test_the_bridge_lives_without_rabbitmq_and_ends_in_good_order(
    built_images: dict[str, BuiltImage], tmp_path: Path
) -> None:
    """As compose starts it, read-only: alive while it waits for RabbitMQ, and ended by SIGTERM."""
    images = {target: each.image for target, each in built_images.items()}
    bridge = services(FOREIGN, "proca", built=images)["bridge-actions"]
    assert bridge.read_only
    assert bridge.image.health is not None
    with Machine(
        tmp_path, {bridge.name: bridge}, lambda _: Content(root=built_images["bridge"].root)
    ) as machine:
        process = machine.start(bridge.name)
        while machine.run(bridge.name, bridge.image.health).returncode != 0:
            process.check()
        machine.signal(bridge.name, signal.SIGTERM)
        assert process.wait(60) == 0
