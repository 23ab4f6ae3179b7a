"""The images of the Dockerfile, built once for all tests that run or read them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.images.building import TARGETS, BuiltImage, Storage
from tests.deploy.waiting import run


@pytest.fixture(scope="session")
def built_images() -> Iterator[dict[str, BuiltImage]]:
    """Every image by its target; skips the test where this user may not build them."""
    # Not pytest's folder, which is kept: these are large.
    folder = Path(tempfile.mkdtemp(prefix="images-"))
    try:
        storage = Storage(folder)
        yield {title: storage.build(title, target) for title, target in TARGETS.items()}
    finally:
        run(["rm", "-r", folder], "removing the images")
