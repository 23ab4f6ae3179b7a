"""One broker for all tests of this folder, and a user of it without rights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.security.broker import SecureBroker, secure_broker
from tests.security.test_least_rights import Limited


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A started broker with all its listeners, users and certificates."""
    with secure_broker(tmp_path_factory.mktemp("certificates")) as started:
        yield started


@pytest.fixture
def limited(broker: SecureBroker, unique_name: Callable[[str], str], tmp_path: Path) -> Iterator[Limited]:
    """The user, who is allowed nothing before and after the test."""
    user = Limited(broker, unique_name("t"), tmp_path)
    user.take_everything_away()
    with user.place:
        yield user
    user.take_everything_away()
