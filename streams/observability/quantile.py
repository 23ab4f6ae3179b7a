"""The one quantile of this project: audit, worker page, drill, demo and bench use it. Pure."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


def quantile(ordered: Sequence[float], share: float, counts: Sequence[int] | None = None) -> float | None:
    """Return the smallest value that at least `share` of all values do not exceed (nearest rank).

    The result is always one of the values: nothing is interpolated.

    Args:
        ordered: the values, in ascending order.
        share: between 0 and 1; 0.99 for the 99th percentile.
        counts: how often each value occurs; None: once.

    Returns:
        None when there are no values.
    """
    up_to: Sequence[int] = range(1, len(ordered) + 1) if counts is None else list(accumulate(counts))
    if not up_to or not up_to[-1]:
        return None
    rank = max(1, math.ceil(share * up_to[-1]))
    return ordered[bisect_left(up_to, rank)]
