"""A real kustomize of one exact version, built once into .cache."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.go_programs import built

ROOT = Path(__file__).parents[2]
VERSION = "v5.7.1"
FOLDER = ROOT / ".cache" / "deploy"


def kustomize() -> Path:
    """Return the program.

    Raises:
        subprocess.CalledProcessError: it cannot be built.
    """
    return built("sigs.k8s.io/kustomize/kustomize/v5", VERSION, FOLDER)


def build(folder: Path) -> list[dict[str, Any]]:
    """Return the documents of a kustomization.

    Raises:
        subprocess.CalledProcessError: it cannot be built; ``stderr`` says why.
    """
    command = [kustomize(), "build", "--load-restrictor", "LoadRestrictionsRootOnly", folder]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return [document for document in yaml.safe_load_all(result.stdout) if document]
