"""A file of the user's own actions, fed over and over."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from streams.commands.lines import LINE_LIMIT
from streams.sandbox.errors import SandboxError


def own_actions(path: Path, most: int) -> Iterator[bytes]:
    """The lines of a file, over and over, each as it is; blank ones are left out.

    No more than `most` lines are kept: a demo does not get further.

    Raises:
        SandboxError: it cannot be read, or holds no action.
    """
    try:
        with path.open("rb") as file:
            lines = iter(partial(file.readline, LINE_LIMIT), b"")
            kept = list(islice((line.rstrip(b"\r\n") for line in lines if line.strip()), most))
    except OSError as error:
        raise SandboxError(f"{path} cannot be read: {error.strerror}.") from error
    if not kept:
        raise SandboxError(f"{path} holds no action: one JSON object a line is expected.")
    return cycle(kept)
