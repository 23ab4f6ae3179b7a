"""What docker-compose.yml and the Dockerfile say of each service, as it is started."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from tests.deploy.kustomize import ROOT

FILE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"  # of an image that says nothing of it


@dataclass(frozen=True)
class Image:
    """What an image says of the containers that are made from it.

    Attributes:
        entrypoint: the beginning of the command.
        command: the rest of it, which compose may replace.
        environment: by name.
        folder: in which the command runs.
        user: number of user and group; 0 for root.
        health: the command that says whether a container is healthy; None: there is none.
    """

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    folder: str = "/"
    user: int = 0
    health: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Service:
    """One service of docker-compose.yml.

    Attributes:
        name: of the service, under which the others know it.
        argv: its whole command.
        image: with compose's environment and health check in place of its own.
        tag: name and version of the image.
        target: of the Dockerfile, that makes the image; None for an image of others.
        mounts: target by source: a volume's name, or a path from the repository's root.
        memory: folders that are kept in memory.
        needs: the condition by the name of the service that must fulfil it before this one starts.
        read_only: whether its root file system is.
        restart: whether it is started again when it has ended.
        ports: those that are published on this machine.
    """

    name: str
    argv: tuple[str, ...]
    image: Image
    tag: str
    target: str | None
    mounts: dict[str, str]
    memory: tuple[str, ...]
    needs: dict[str, str]
    read_only: bool
    restart: bool
    ports: tuple[int, ...]


def composed(*profiles: str) -> dict[str, Any]:
    """Return what the file says of the services that start with these profiles, by name."""
    said: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
    return {name: service for name, service in said.items() if {*service.get("profiles", ())} <= {*profiles}}


def services(
    foreign: dict[str, Image], *profiles: str, built: Mapping[str, Image] | None = None
) -> dict[str, Service]:
    """Return the services by name.

    Args:
        foreign: images that the Dockerfile does not make, by name without the version; a service whose image
            is in neither is left out.
        profiles: those that the services are started with.
        built: images by the Dockerfile's target, in place of what the Dockerfile says of them.
    """
    found = {}
    for name, said in composed(*profiles).items():
        target = said.get("build", {}).get("target")
        image = (
            foreign.get(said["image"].rpartition(":")[0])
            if target is None
            else made(target)
            if built is None
            else built[target]
        )
        if image is not None:
            found[name] = _service(name, said, image)
    return found


def _service(name: str, said: dict[str, Any], image: Image) -> Service:
    entrypoint = tuple(said.get("entrypoint", image.entrypoint))
    # As Docker does: another entry point takes the image's command away.
    command = tuple(said.get("command", () if "entrypoint" in said else image.command))
    health = said.get("healthcheck", {}).get("test")
    assert health is None or health[0] == "CMD", f"{name}: a health check in a shell's words"
    return Service(
        name=name,
        argv=(*entrypoint, *command),
        image=replace(
            image,
            environment={**image.environment, **_interpolated(said.get("environment", {}))},
            health=image.health if health is None else tuple(health[1:]),
        ),
        tag=said["image"],
        target=said.get("build", {}).get("target"),
        mounts=dict(volume.split(":")[:2] for volume in said.get("volumes", ())),
        memory=tuple(said.get("tmpfs", ())),
        needs={needed: how["condition"] for needed, how in said.get("depends_on", {}).items()},
        read_only=said.get("read_only", False),
        restart=said.get("restart", "no") != "no",
        ports=tuple(int(port.split(":")[2]) for port in said.get("ports", ())),
    )


def _interpolated(environment: dict[str, str]) -> dict[str, str]:
    """Variables of the person who starts compose have their defaults."""
    return {key: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", value) for key, value in environment.items()}


def made(target: str) -> Image:
    """Return what the Dockerfile says of the image that this target makes."""
    stages: dict[str, Image] = {}
    image = Image()
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE))
    name = ""
    for word, rest in re.findall(r"^([A-Z]+) +(.*)$", text, re.MULTILINE):
        match word:
            case "FROM":
                parent, _, name = rest.partition(" AS ")
                image = stages.get(parent, Image())
            case "ENV":
                pairs = dict(pair.split("=", 1) for pair in shlex.split(rest))
                path = image.environment["PATH"]
                values = {key: value.replace("$PATH", path) for key, value in pairs.items()}
                image = replace(image, environment={**image.environment, **values})
            case "WORKDIR":
                image = replace(image, folder=rest)
            case "USER":
                image = replace(image, user=int(rest.partition(":")[0]))
            case "ENTRYPOINT":
                image = replace(image, entrypoint=tuple(json.loads(rest)), command=())
            case "CMD":
                image = replace(image, command=tuple(json.loads(rest)))
            case "HEALTHCHECK":
                image = replace(image, health=tuple(json.loads(rest.partition("CMD ")[2])))
        stages[name] = image
    return stages[target]
