"""The images that the Dockerfile makes, built by buildah, with their files in folders of their own."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tests.deploy.images.base import base, name
from tests.deploy.kustomize import ROOT
from tests.deploy.stack.service import PATH, Image
from tests.tools import debian_tool, namespaces

#: The images by target; None for what is built without one.
TARGETS = {"worker": None, "mailer": "mailer", "bridge": "bridge"}
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_LAST_LINES = 40


@dataclass(frozen=True)
class BuiltImage:
    """An image.

    Attributes:
        image: what it says of its containers.
        root: the folder with its files.
        config: all that it says, as Docker has it.
    """

    image: Image
    root: Path
    config: dict[str, Any]


class Storage:
    """Images of buildah's in a folder. Nothing of it stays mounted: each command has mounts of its own."""

    def __init__(self, folder: Path) -> None:
        """Make it, with the image that the Dockerfile builds on."""
        self._folder = folder
        self._mounting = namespaces("--mount")
        places = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah = [debian_tool("buildah"), *places]
        archive = base()
        container = self._run("from", "scratch").strip()
        click.echo(f"importing {name()} ...")
        self._run("add", container, str(archive), "/")
        self._run("config", "--env", f"PATH={PATH}", container)
        self._run("commit", "--quiet", "--format", "docker", "--rm", container, name())

    def build(self, title: str, target: str | None) -> BuiltImage:
        """Build an image as ``docker build`` does, and unpack it.

        Args:
            title: of the image.
            target: of the Dockerfile; None for that which is built without one.
        """
        chosen = () if target is None else ("--target", target)
        self._told(
            *("build", "--layers", "--pull-never", "--isolation", "chroot", "--format", "docker"),
            *(*self._of_the_machine(), *chosen, "--tag", title, str(ROOT)),
        )
        config = json.loads(self._run("inspect", "--type", "image", title))["Docker"]["config"]
        return BuiltImage(_image(config), self._unpack(title), config)

    def _unpack(self, title: str) -> Path:
        root = self._folder / title
        container = self._run("from", "--pull-never", title).strip()
        # One command: what is mounted goes with it.
        copy = ["sh", "-ec", 'place=$("$@"); cp --archive "$place" "$0"', str(root)]
        subprocess.run([*self._mounting, *copy, *self._buildah, "mount", container], check=True)
        self._run("rm", container)
        return root

    def _of_the_machine(self) -> list[str]:
        """Give the build this machine's way to its packages: what pip is told here, and certificates."""
        pip = [sys.executable, "-m", "pip", "config", "list"]
        told = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
        settings = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", told, re.MULTILINE))
        settings["break-system-packages"] = "true"  # Debian's pip is the base's, and installs beside Debian's
        file = self._folder / "pip.conf"
        lines = (f"{key} = {value}\n" for key, value in settings.items())
        file.write_text("[global]\n" + "".join(lines))
        options = ["--volume", f"{file}:/etc/pip.conf:ro"]
        if _CERTIFICATES.exists():
            options += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        return options

    def _told(self, *command: str) -> None:
        """Run a command, and show its steps, which take long."""
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        with subprocess.Popen(
            [*self._mounting, *self._buildah, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if "STEP" in line:
                    click.echo(line, nl=False)
        assert process.returncode == 0, "".join(lines)

    def _run(self, *command: str) -> str:
        whole = [*self._mounting, *self._buildah, *command]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _image(config: dict[str, Any]) -> Image:
    """What an image says, in the words of the compose file's services."""
    user, _, group = config["User"].partition(":")
    assert user == group
    health = (config.get("Healthcheck") or {}).get("Test")
    assert health is None or health[0] == "CMD"
    return Image(
        entrypoint=tuple(config["Entrypoint"]),
        command=tuple(config["Cmd"] or ()),
        environment=dict(each.split("=", 1) for each in config["Env"]),
        folder=config["WorkingDir"],
        user=int(user),
        health=None if health is None else tuple(health[1:]),
    )


def files(root: Path) -> dict[str, os.stat_result]:
    """Return what a folder has, by path from there; links are not followed."""
    found = {}
    for folder, folders, names in os.walk(root):
        for each in (*folders, *names):
            path = os.path.join(folder, each)
            found[os.path.relpath(path, root)] = os.lstat(path)
    return found
