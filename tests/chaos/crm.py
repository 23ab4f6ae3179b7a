"""The lookup service, a process of its own: slow, failing in part, and for some seconds now and then wholly.

``python -m tests.chaos.crm`` writes its URL on standard output and ends when standard input does.
"""

import asyncio
import sys
import time

from aiohttp import web

from streams.sandbox.lookup_service import LookupService, Question
from streams.sandbox.people import number_of
from tests.chaos.load import subscribed

#: Seconds of each minute in which every question fails: circuit breakers open, and close again.
_DARK = range(40, 45)


async def _answer(question: Question) -> web.StreamResponse:
    supporter = number_of(question["contactRef"])
    draw = supporter * 7919 % 100
    if draw < 6 or int(time.time()) % 60 in _DARK:
        return web.Response(status=503)
    if draw < 8:
        await asyncio.sleep(30)  # longer than any deadline
    await asyncio.sleep(draw / 250)  # up to 0.4 s, so that answers overtake one another
    return web.json_response({"privacy": {"optIn": subscribed(supporter)}})


if __name__ == "__main__":
    with LookupService(_answer) as service:
        sys.stdout.write(f"{service.url}\n")
        sys.stdout.flush()
        sys.stdin.read()
