"""Settled offsets as commit metadata lists them, made in the plainest way."""

from collections.abc import Iterable


def runs(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last offset of each gapless run, in their order."""
    found: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if found and found[-1][1] == offset - 1:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found
