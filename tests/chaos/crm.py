"""The lookup service, a process of its own: slow, failing in part, and for some seconds now and then wholly.

``python -m tests.chaos.crm`` writes its URL on standard output and ends when standard input does.
"""

from __future__ import annotations

import asyncio
import sys
import time

from aiohttp import web

from tests.chaos.load import subscribed, supporter_of

#: Seconds of each minute in which every question fails: circuit breakers open, and close again.
_DARK = range(40, 45)


async def _answer(request: web.Request) -> web.StreamResponse:
    question = await request.json()
    supporter = supporter_of(question["contactRef"])
    draw = supporter * 7919 % 100
    if draw < 6 or int(time.time()) % 60 in _DARK:
        return web.Response(status=503)
    if draw < 8:
        await asyncio.sleep(30)  # longer than any deadline
    await asyncio.sleep(draw / 250)  # up to 0.4 s, so that answers overtake one another
    return web.json_response({"privacy": {"optIn": subscribed(supporter)}})


async def _serve() -> None:
    app = web.Application()
    app.router.add_post("/", _answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"http://{host}:{port}/\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve())
