"""Kubernetes' API server and kubectl, built once from the Go module proxy.

``go install`` does not take them: Kubernetes' module names parts of itself by their place in its repository.
They are modules, too, of the same version. So a module of ours names them in place of the folders.
"""

import os
import re
import tempfile
from pathlib import Path

from streams.sandbox.kafka.jars import cache_folder
from tests.deploy.go_programs import go, module
from tests.deploy.waiting import run

#: Its parts have the same number after "0.".
VERSION = "1.37.2"
PROGRAMS = ("kube-apiserver", "kubectl")


def programs() -> Path:
    """Return the folder with both programs; the first call takes ten minutes or more on two cores.

    Raises:
        AssertionError: they cannot be built.
    """
    folder = cache_folder() / f"kubernetes-{VERSION}"
    if not all((folder / name).exists() for name in PROGRAMS):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            _build(Path(made))
            for name in PROGRAMS:
                (Path(made) / name).replace(folder / name)
    return folder


def _build(folder: Path) -> None:
    """Compile both into the folder of a module that is made for it."""
    theirs = (module(f"k8s.io/kubernetes@v{VERSION}", cache_folder()) / "go.mod").read_text()
    parts = re.findall(r"(k8s\.io/[\w-]+) => \./staging/src/", theirs)
    own_version = VERSION.replace("1.", "0.", 1)
    lines = [
        "module cluster",
        *re.findall(r"^(?:go|godebug) .*$", theirs, re.MULTILINE),
        f"require k8s.io/kubernetes v{VERSION}",
        *(f"replace {part} => {part} v{own_version}" for part in parts),
    ]
    (folder / "go.mod").write_text("\n".join(lines) + "\n")
    packages = [f"k8s.io/kubernetes/cmd/{name}" for name in PROGRAMS]
    options = ("-v", "-mod=mod", "-trimpath", "-ldflags=-s -w", "-o", f"{folder}/")
    command = [go(cache_folder()), "build", *options, *packages]
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    doing = f"building {' and '.join(PROGRAMS)} {VERSION} (ten minutes or more, once)"
    run(command, doing, folder=folder, environment=environment)
