"""Which version of the transaction protocol a cluster speaks."""

from types import SimpleNamespace

import pytest

from streams.delivery.transaction_protocol import FiveRequests, ThreeRequests, spoken


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, FiveRequests),  # the cluster has agreed on nothing
        ({2: b"\x01"}, FiveRequests),
        ({2: b"\x02\x14transaction.version\x00\x01\x00\x00\x00"}, FiveRequests),
        ({2: b"\x02\x14transaction.version\x00\x02\x00\x00\x00"}, ThreeRequests),
        ({2: b"\x03\x02x\x00\x09\x00\x00\x00\x14transaction.version\x00\x03\x00\x00\x00"}, ThreeRequests),
    ],
)
def test_the_cluster_says_which_version_it_speaks(tags: dict[int, bytes], expected: type) -> None:
    """Its feature transaction.version at 2 or more, and nothing else, means version 2."""
    assert type(spoken(SimpleNamespace(tags=tags))) is expected
