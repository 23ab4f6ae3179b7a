"""The generated server.properties."""

from pathlib import Path

import pytest

from streams.sandbox.kafka.properties import Node, render, server_properties


def cluster(size: int) -> tuple[Node, ...]:
    return tuple(Node(i, 9000 + i, 9100 + i, Path(f"/kafka/broker-{i}")) for i in range(1, size + 1))


@pytest.mark.parametrize(("brokers", "copies", "in_sync"), [(1, 1, 1), (3, 3, 2), (5, 3, 2)])
def test_copies_follow_the_number_of_brokers(brokers: int, copies: int, in_sync: int) -> None:
    """Where there are brokers for it, everything is kept three times, two of them in sync."""
    nodes = cluster(brokers)
    properties = server_properties(nodes[0], nodes, {})
    for prefix in ("default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert properties[f"{prefix}.replication.factor"] == copies
    for key in (
        "min.insync.replicas",
        "transaction.state.log.min.isr",
        "share.coordinator.state.topic.min.isr",
    ):
        assert properties[key] == in_sync


def test_every_node_votes_and_listens_on_loopback_only() -> None:
    """All three nodes are in the quorum, and each listens on its own two ports of 127.0.0.1."""
    nodes = cluster(3)
    properties = server_properties(nodes[1], nodes, {})
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:9002,CONTROLLER://127.0.0.1:9102"
    assert properties["log.dirs"] == "/kafka/broker-2/data"


def test_the_callers_properties_win() -> None:
    """An extra property replaces a generated one."""
    nodes = cluster(1)
    assert server_properties(nodes[0], nodes, {"num.partitions": 12})["num.partitions"] == 12


def test_rendered_as_java_reads_it() -> None:
    """Booleans are lower case, and a backslash or a line end cannot begin another property."""
    assert render({"a": True, "b": 5, "c": "x\\y\nz=1"}) == "a=true\nb=5\nc=x\\\\y\\nz=1\n"
