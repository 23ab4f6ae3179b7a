"""The limit with lookups: a bare loop of httpx on httpx-aiohttp that asks, and does nothing else. No Kafka.

As many at once as this app in the same scenario. The first fifth is not counted, as with every contender.
"""

import asyncio
import json
import sys
import time

import httpx
import httpx_aiohttp

SETTLING = 0.2


async def main(url: str, count: int, at_once: int) -> None:
    """Ask `count` questions, `at_once`, and print what that took."""
    numbers = iter(range(count))
    answered, begin, used = 0, 0.0, 0.0

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal answered, begin, used
        for number in numbers:
            question = {"email": f"s{number}@example.org", "contactRef": f"ref{number:012d}"}
            reply = await client.post(url, json=question)
            assert reply.json()["action"]["privacy"]["optIn"] is True
            answered += 1
            if answered == int(count * SETTLING):
                begin, used = time.perf_counter(), time.process_time()

    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx_aiohttp.HttpxAiohttpClient(limits=limits, timeout=10) as client:
        await asyncio.gather(*(ask(client) for _ in range(at_once)))
    seconds, counted = time.perf_counter() - begin, count - int(count * SETTLING)
    cpu_us = (time.process_time() - used) / counted * 1e6
    print(json.dumps({"rate": counted / seconds, "cpu_us": cpu_us, "seconds": seconds, "actions": count}))  # noqa: T201 - its result


asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
