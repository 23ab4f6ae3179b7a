"""A lookup service: POST /answers says *subscribed* after so many seconds, POST /hangs says nothing."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

_SUBSCRIBED = b'{"customer":{"emailStatus":"already_subscribed"},"action":{"privacy":{"optIn":true}}}'


def main() -> None:
    """Serve on the port, with the seconds, of the command line."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])

    async def answers(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(seconds)
        return web.Response(body=_SUBSCRIBED, content_type="application/json")

    async def hangs(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/answers", answers)
    app.router.add_post("/hangs", hangs)
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        print=None,
        access_log=None,
        shutdown_timeout=0.1,
        handler_cancellation=True,
    )


if __name__ == "__main__":
    main()
