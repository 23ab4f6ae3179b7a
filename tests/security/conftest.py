"""One broker for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.security.broker import SecureBroker, secure_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    """A started broker with all its listeners, users and certificates."""
    with secure_broker(tmp_path_factory.mktemp("certificates")) as started:
        yield started
