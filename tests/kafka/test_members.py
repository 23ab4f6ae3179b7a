"""What a worker publishes in its group; tests/observability/test_group_overview.py reads it from a broker."""

import json
from functools import partial
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.partition_assignor import PartitionAssignor

from streams.kafka import members
from streams.kafka.faust_options import faust_options
from streams.kafka.members import Published, PublishingAssignor, group_of, host_of, published_by
from streams.settings.load import load_settings

MINE = Published("worker-0", "10.1.0.4:6066", "a1")
TOPICS = {"actions", "supporter-status"}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members.socket, "gethostname", lambda: "machine-7")


@pytest.mark.parametrize(
    ("environ", "address"),
    [
        ({}, "127.0.0.1:6066"),
        ({"WEB_HOST": "0.0.0.0", "WEB_PORT": "7000"}, "machine-7:7000"),
        ({"WEB_HOST": "::"}, "machine-7:6066"),
        ({"WEB_HOST": "::1"}, "[::1]:6066"),
        ({"WEB_HOST": "10.0.0.9"}, "10.0.0.9:6066"),
        ({"WEB_HOST": "0.0.0.0", "WEB_ADDRESS": "10.1.0.4"}, "10.1.0.4:6066"),
        ({"WEB_HOST": "0.0.0.0", "WEB_ADDRESS": "fd00::5"}, "[fd00::5]:6066"),
        ({"WEB_ADDRESS": "[fd00::5]:80"}, "[fd00::5]:80"),
        ({"WEB_ADDRESS": "workers.example.org:8080", "WEB_PORT": "7000"}, "workers.example.org:8080"),
    ],
)
def test_a_worker_publishes_where_it_listens_unless_a_setting_says_where(
    environ: dict[str, str], address: str
) -> None:
    """A worker that listens at every address of its machine publishes the machine's name."""
    settings = load_settings({f"STREAMS_{name}": text for name, text in environ.items()})
    assert published_by(settings).address == address


def test_a_worker_s_name_is_its_instance_id_else_its_machine_s_and_each_start_has_its_own_run() -> None:
    """Two processes of one name and one address can be told apart."""
    settings = load_settings({"STREAMS_GROUP_INSTANCE_ID": "worker-0"})
    first, second = published_by(settings), published_by(settings)
    assert first.worker == "worker-0"
    assert published_by(load_settings({})).worker == "machine-7"
    assert first.run != second.run


@pytest.mark.parametrize(
    "wrong", ["a:b:c", "host:", "host:0", "host:99999", "http://host", "a b", "[fd00::5]"]
)
def test_an_address_is_a_host_or_a_host_and_a_port(wrong: str) -> None:
    """What is neither stops the start, by name."""
    with pytest.raises(ValueError, match="STREAMS_WEB_ADDRESS"):
        load_settings({"STREAMS_WEB_ADDRESS": wrong})


def test_a_host_is_given_as_requests_name_it() -> None:
    """Without the port, and an IPv6 address without its brackets."""
    assert [host_of(each) for each in ("worker-1:6066", "[fd00::5]:6066")] == ["worker-1", "fd00::5"]


# -- a group of old and new workers ------------------------------------------------------------------------


def app(publishing: bool) -> Any:
    options = {"PartitionAssignor": partial(PublishingAssignor, MINE)} if publishing else {}
    return faust.App(
        "g", broker="kafka://127.0.0.1:1", store="memory://", canonical_url="http://worker", **options
    )


class Cluster:
    """A cluster in which each topic has four partitions."""

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0, 1, 2, 3}


@pytest.fixture(params=["old leads", "new leads"])
def group(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    """An assignor of Faust's own, one that publishes, and the one of them that leads the group."""
    old, new = app(publishing=False).assignor, app(publishing=True).assignor
    assert type(old) is PartitionAssignor
    return old, new, old if request.param == "old leads" else new


def over_the_wire(sent: Any) -> Any:
    return type(sent).decode(sent.encode())


def test_workers_that_publish_and_workers_that_do_not_share_a_group(group: tuple[Any, Any, Any]) -> None:
    """In a rolling upgrade either may lead; each takes what the leader assigns, round after round."""
    old, new, leader = group
    for _ in range(3):
        sent = {name: over_the_wire(each.metadata(TOPICS)) for name, each in (("old", old), ("new", new))}
        assigned = {name: over_the_wire(each) for name, each in leader.assign(Cluster(), sent).items()}
        for name, each in (("old", old), ("new", new)):
            each.on_assignment(assigned[name])
        shares = [assigned[name].partitions() for name in ("old", "new")]
        assert [len(share) for share in shares] == [4, 4]
        assert len({*shares[0], *shares[1]}) == 8


def test_faust_s_own_metadata_stay_as_they_are() -> None:
    """Its canonical URL too: an assignment must bear it, whoever had the partitions before."""
    old, new = app(publishing=False).assignor.metadata(TOPICS), app(publishing=True).assignor.metadata(TOPICS)
    own, sent = json.loads(old.user_data), json.loads(new.user_data)
    assert sent.pop(members.FIELD) == {"worker": "worker-0", "address": "10.1.0.4:6066", "run": "a1"}
    assert sent == own
    assert own["url"] == "http://worker"
    options = faust_options(load_settings({}), {"bootstrap_servers": ["127.0.0.1:1"]})
    assert options["canonical_url"] == "http://worker"


# -- what others may have put there ------------------------------------------------------------------------


class Admin:
    """The coordinator's answer; `members` by their metadata."""

    def __init__(self, *metadata: bytes, state: str = "Stable") -> None:
        rows = [(f"id-{at}", "faust", "/10.0.0.1", each, b"") for at, each in enumerate(metadata)]
        self._group = (0, "g", state, "consumer", "faust", rows)

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        return [SimpleNamespace(groups=[self._group])]


def metadata(pages: object) -> bytes:
    user_data = json.dumps({members.FIELD: pages}).encode()
    return ConsumerProtocolMemberMetadata(2, ["actions"], user_data).encode()  # type: ignore[no-any-return]


GOOD = {"worker": "w", "address": "h:1", "run": "r"}


@pytest.mark.parametrize(
    "strange",
    [
        b"\xff",
        ConsumerProtocolMemberMetadata(2, ["actions"], b"").encode(),
        ConsumerProtocolMemberMetadata(2, ["actions"], b"[]").encode(),
        metadata(None),
        metadata({"worker": "w", "run": "r"}),
        metadata({**GOOD, "address": "h/../x:1"}),
        metadata({**GOOD, "address": "user@h:1"}),
        metadata({**GOOD, "address": ["h:1"]}),
        metadata({**GOOD, "address": "h:1,i:2"}),
        metadata({**GOOD, "address": " h:1"}),
        metadata({**GOOD, "worker": "w\x1b[2J"}),
        metadata({**GOOD, "worker": "w" * 301}),
    ],
)
async def test_what_cannot_be_asked_counts_as_not_published(strange: bytes) -> None:
    """Whatever another client sends to the group, there is a member, and no address."""
    admin: Any = Admin(strange, metadata(GOOD))
    first, second = (await group_of(admin, "g")).members
    assert (first.published, first.told) == (None, True)
    assert second.published == Published("w", "h:1", "r")


async def test_a_group_that_rebalances_does_not_tell() -> None:
    """Kafka tells no member's metadata then: that is not the same as publishing nothing."""
    admin: Any = Admin(b"", state="PreparingRebalance")
    group = await group_of(admin, "g")
    assert (group.state, group.members[0].told) == ("PreparingRebalance", False)
