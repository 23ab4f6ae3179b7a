"""The folders of a cluster on disk: one a broker, formatted once by Kafka's own tool."""

import fcntl
import re
import signal
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from streams.sandbox.kafka.errors import BrokerFailed, EmbeddedKafkaError
from streams.sandbox.kafka.properties import Node, PropertyValue, render, server_properties
from streams.sandbox.supervised import SupervisedProcesses

_FORMAT_SECONDS = 60.0
_LOG_LINES = 15


def properties_file(node: Node) -> Path:
    """The broker's generated configuration."""
    return node.folder / "server.properties"


def log_file(node: Node) -> Path:
    """What the broker wrote to its output, all runs of it."""
    return node.folder / "kafka.log"


def claim(folder: Path) -> IO[str]:
    """Make a kept folder ours: a locked file, to be inherited by the process that owns the brokers.

    Raises:
        EmbeddedKafkaError: another cluster runs in it, or it cannot be made.
    """
    if "," in str(folder):
        raise EmbeddedKafkaError(f"Kafka takes {folder} for several folders: choose one without a comma.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".in-use", "w")  # noqa: SIM115 it is the caller's to close
    except OSError as error:
        raise EmbeddedKafkaError(
            f"Kafka cannot keep its files in {folder} ({error.strerror}): choose another folder."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise EmbeddedKafkaError(
            f"Another Kafka runs in {folder}: stop it, or choose another folder."
        ) from error
    return lock


def lay_out(cluster: tuple[Node, ...], extra: Mapping[str, PropertyValue]) -> None:
    """Make every broker's folder, and write its server.properties anew: ports change from run to run.

    Raises:
        EmbeddedKafkaError: the folder holds a cluster with another number of brokers.
    """
    root = cluster[0].folder.parent
    existing = set(root.glob("broker-*"))
    if existing and existing != {node.folder for node in cluster}:
        raise EmbeddedKafkaError(f"{root} holds a cluster of {len(existing)} broker(s), not {len(cluster)}.")
    for node in cluster:
        node.folder.mkdir(exist_ok=True)
        properties_file(node).write_text(render(server_properties(node, cluster, extra)))


def format_storage(
    cluster: tuple[Node, ...], processes: SupervisedProcesses, command: Callable[..., list[str]]
) -> None:
    """Format the storage of every broker that has none, all at once, under one cluster id.

    Args:
        cluster: the brokers, laid out.
        processes: runs the tool, so that it ends with us.
        command: makes a command line from a main class and its arguments.

    Raises:
        BrokerFailed: the tool failed.
    """
    formatted = [meta for node in cluster if (meta := node.folder / "data" / "meta.properties").exists()]
    cluster_id = _cluster_id(formatted[0]) if formatted else _new_cluster_id()
    tools = {
        f"format-{node.id}": node
        for node in cluster
        if not (node.folder / "data" / "meta.properties").exists()
    }
    for name, node in tools.items():
        program = ["kafka.tools.StorageTool", "format"]
        program += ["--cluster-id", cluster_id, "--config", str(properties_file(node))]
        processes.start(name, command(*program), log_file(node))
    deadline = time.monotonic() + _FORMAT_SECONDS
    for name, node in tools.items():
        while (code := processes.wait(name, timeout=0.2)) is None and time.monotonic() < deadline:
            pass
        if code != 0:
            how = "did not end" if code is None else ended(code)
            raise BrokerFailed(f"Formatting the storage of broker {node.id} {how}.{last_lines(node)}")


def _new_cluster_id() -> str:
    """Like `kafka-storage random-uuid`: 16 bytes in URL-safe base64, with no dash to look like an option."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def _cluster_id(meta_properties: Path) -> str:
    found = re.search(r"^cluster\.id=(\S+)$", meta_properties.read_text(), re.MULTILINE)
    if found is None:
        raise EmbeddedKafkaError(f"{meta_properties} names no cluster.id.")
    return found.group(1)


def ended(code: int) -> str:
    """How a process ended, in words."""
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def last_lines(node: Node) -> str:
    """The end of a broker's log for an error message, without the many frames of its stack traces."""
    try:
        lines = log_file(node).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    told = [line for line in lines if line.strip() and not re.match(r"\s+at |\s*\.\.\. \d+ more", line)]
    if not told:
        return " Its log is empty."
    return "".join(f"\n  {line}" for line in ["Its log ends with:", *told[-_LOG_LINES:]])
