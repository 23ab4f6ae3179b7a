"""A stand-in for the image that the Dockerfile builds on: Debian, with its own Python of the same version.

No registry of images is asked. Debian's debootstrap makes it from packages, once, and it is kept.
"""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from streams.sandbox.kafka.jars import cache_folder
from tests.deploy.stack.service import DOCKERFILE
from tests.deploy.waiting import run
from tests.tools import debian_tool, namespaces

#: The release of Debian by the version of its Python.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
PACKAGES = "ca-certificates,python-is-python3,python3-pip"


def name() -> str:
    """Return the image that the Dockerfile names."""
    found = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def base() -> Path:
    """Return the archive of its files; the first call takes a minute or more.

    Raises:
        AssertionError: it cannot be made.
    """
    version = re.search(r":(\d+\.\d+)\.", name())
    assert version is not None
    suite = SUITES[version[1]]
    recipe = hashlib.sha256(PACKAGES.encode()).hexdigest()[:8]
    archive = cache_folder() / f"image-base-{suite}-{recipe}.tar"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=f"{archive.stem}-") as folder:
            _make(suite, Path(folder)).replace(archive)
    return archive


def _make(suite: str, folder: Path) -> Path:
    root, archive = folder / "root", folder / "archive.tar"
    # What it mounts goes with it, however it ends.
    command = [*namespaces("--mount"), debian_tool("debootstrap"), "--variant=minbase"]
    command += [f"--include={PACKAGES}", suite, str(root), *_mirror()]
    run(command, f"making {name()} of Debian's packages ({suite}; minutes, once)")
    shutil.rmtree(root / "var/cache/apt/archives")
    # The devices are the container's; the rest is as the packages made it.
    left_out = ("--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*")
    run(["tar", "--create", "--file", archive, *left_out, "--directory", root, "."], "packing it")
    return archive


def _mirror() -> list[str]:
    """Where this machine has Debian from; nothing where that is not known."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)", "Origin: Debian", "Label: Debian"]
    environment = {**os.environ, "LC_ALL": "C"}
    asked = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return asked.stdout.split()[:1]
