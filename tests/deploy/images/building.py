"""The images that the Dockerfile makes, built by buildah, with their files in folders of their own."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.images.base import base, name
from tests.deploy.kustomize import ROOT
from tests.deploy.stack.service import PATH, Image
from tests.deploy.waiting import run
from tests.tools import debian_tool, namespaces

#: The images by target; None for what is built without one.
TARGETS = {"worker": None, "mailer": "mailer", "bridge": "bridge"}
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


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
    """Images of buildah's in a folder."""

    def __init__(self, folder: Path) -> None:
        """Make it, with the image that the Dockerfile builds on."""
        self._folder = folder
        # What a command starts ends with it, and so do its mounts.
        self._mounting = namespaces("--mount-proc", "--pid", "--fork", "--kill-child")
        places = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah = [debian_tool("buildah"), *places]
        archive = base()
        container = self._run("from", "scratch").strip()
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
        self._run(
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
        run([*self._mounting, *copy, *self._buildah, "mount", container], f"unpacking {title}")
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

    def _run(self, *command: str) -> str:
        doing = f"buildah {command[0]} {command[-1]}"
        return run([*self._mounting, *self._buildah, *command], doing)


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
