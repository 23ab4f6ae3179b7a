"""How fast one core is at a moment: others may share it, and a guest's kernel does not see them."""

import time

_TURNS = 500_000  # some 20 to 60 ms


def core_speed() -> float:
    """Million turns of a Python loop a second, of wall-clock time."""
    begin = time.perf_counter()
    total = 0
    for number in range(_TURNS):
        total += number
    return _TURNS / 1e6 / (time.perf_counter() - begin)
