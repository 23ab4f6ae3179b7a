"""Kubernetes' API server and kubectl, built once from the Go module proxy.

``go install`` does not take them: Kubernetes' module names parts of itself by their place in its repository.
They are modules, too, of the same version. So a module of ours names them in place of the folders.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import click

from streams.sandbox.kafka.jars import cache_folder
from tests.deploy.go_programs import go, module

#: Its parts have the same number after "0.".
VERSION = "1.37.2"
PROGRAMS = ("kube-apiserver", "kubectl")
_TELL_EACH = 200  # packages that are compiled


def programs() -> Path:
    """Return the folder with both programs; the first call takes ten minutes or more on two cores.

    Raises:
        subprocess.CalledProcessError: they cannot be built.
    """
    folder = cache_folder() / f"kubernetes-{VERSION}"
    if not all((folder / name).exists() for name in PROGRAMS):
        folder.mkdir(parents=True, exist_ok=True)
        click.echo(
            f"building {' and '.join(PROGRAMS)} {VERSION} into {folder} (ten minutes or more, once) ..."
        )
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
    log = folder / "log"
    with (
        log.open("w") as kept,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        compiled = 0
        for line in process.stdout:
            kept.write(line)
            compiled += not line.startswith("go: ")
            if compiled and compiled % _TELL_EACH == 0:
                click.echo(f"{compiled} packages compiled ...")
    assert process.returncode == 0, "".join(log.read_text().splitlines(keepends=True)[-40:])
