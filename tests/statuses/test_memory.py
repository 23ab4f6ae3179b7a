"""Free memory goes back to the system, in a process of its own, since others' memory is in the way here."""

import ctypes
import subprocess
import sys

import pytest

#: Fills a heap, frees nearly all of it, and prints what is resident then, and after it is given back.
HEAP = """
import asyncio, os
from streams.statuses import memory

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    pieces = [bytes(1_000) for _ in range(100_000)]
    pieces = pieces[::1_000]
    before = resident()
    await memory.give_back()
    print(before, resident())

asyncio.run(main())
"""


def test_memory_that_is_free_in_small_pieces_is_given_back() -> None:
    """Of 100 MB, of which 100 pieces stay in use, most is the system's again."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    ran = subprocess.run([sys.executable, "-c", HEAP], check=True, capture_output=True, text=True)
    before, after = map(int, ran.stdout.split())
    assert before > 90e6
    assert after < before / 2
