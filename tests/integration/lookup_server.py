"""A lookup service in a thread of its own, whose answers a test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

SUBSCRIBED = {"privacy": {"optIn": True}, "action": {"customFields": {"isSubscribed": True}}}

Answer = Callable[[dict[str, Any]], Awaitable[web.StreamResponse]]


class LookupServer:
    """Serves POST / with whatever `answer` gives for the question."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.questions: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []  # of each question, in the same order
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._started = threading.Event()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()

    async def _listen(self) -> None:
        async def post(request: web.Request) -> web.StreamResponse:
            question = await request.json()
            self.questions.append(question)
            self.authorizations.append(request.headers.get("Authorization"))
            return await self.answer(question)

        app = web.Application()
        app.router.add_post("/", post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/"
        self._started.set()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    def __enter__(self) -> LookupServer:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def not_subscribed(_: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({})


async def failing(_: dict[str, Any]) -> web.StreamResponse:
    return web.Response(status=500)


async def hanging(_: dict[str, Any]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def subscribed(_: dict[str, Any]) -> web.StreamResponse:
    return web.json_response(SUBSCRIBED)
