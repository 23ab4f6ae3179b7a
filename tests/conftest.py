"""What tests of more than one folder need."""

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from hypothesis import settings

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation
from tests.clients import administering
from tests.lookup.virtual_time import VirtualLoop, nothing_left

# An example's time is the machine's, which is shared: hypothesis fails those of more than 200 ms by default.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# The background job of a script ignores Ctrl-C, and so would each process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


#: Folders whose files take long. They begin first: no process shall work on one when the others have ended.
_LONG = [
    f"tests/{name}/"
    for name in ("integration", "docs", "security", "sandbox", "privacy", "bench", "mailer", "deploy")
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of the long folders first, and leave the rest in its order."""
    items.sort(key=lambda item: not item.nodeid.startswith(tuple(_LONG)))


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka]:
    """A started one-broker cluster for the whole session; topics and groups in it have unique names."""
    with EmbeddedKafka() as cluster:
        yield cluster


@pytest.fixture
async def admin(kafka: EmbeddedKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client of that cluster."""
    async with administering(kafka.bootstrap_servers) as client:
        yield client


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """A function from a prefix to the name of a topic, group or transactional id that no other test has."""
    return lambda prefix: f"{prefix}-{secrets.token_hex(4)}"


def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, type[asyncio.AbstractEventLoop]]:
    """Run the async tests that use ``virtual_time`` on a loop whose clock jumps."""
    virtual = "virtual_time" in item.fixturenames
    return {"virtual": VirtualLoop} if virtual else {"real": asyncio.SelectorEventLoop}


@pytest.fixture
async def virtual_time() -> AsyncIterator[None]:
    """Time jumps to the next timer; a task that is left, or a callback that failed, fails the test."""
    yield
    nothing_left()


@pytest.fixture
def installation(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., Installation]]:
    """Make an installation: topics, group and settings of its own. Its workers are killed in the end."""
    with ExitStack() as made:

        def make(cluster: EmbeddedKafka = kafka, **settings: object) -> Installation:
            place = Installation(cluster.bootstrap_servers, unique_name("t"), tmp_path, **settings)
            return made.enter_context(place)

        yield make


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """A command that runs within a test may silence its libraries; the next test hears them again."""
    loggers = [logging.getLogger(name) for name in ("aiokafka", "asyncio")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
