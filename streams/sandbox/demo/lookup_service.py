"""A lookup service that can be told to fail: a real HTTP server in a thread of its own.

``PUT <control_url>`` with the name of a behaviour as the body does the same as ``behave``, so that a demo
that is kept running can be played with from a shell. The control has its own port: the service's own really
is closed while it refuses connections.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Coroutine
from enum import StrEnum
from itertools import cycle
from typing import Any

import msgspec
from aiohttp import web

from streams.sandbox.ports import HeldPort

HOST = "127.0.0.1"
SLOW = 0.3  # seconds
_GRACE = 0.1  # seconds that a request under way gets when the port is closed
_CHANGED_WITHIN = 10.0  # seconds; a change of behaviour takes _GRACE at most


class Behaviour(StrEnum):
    """How the service treats a question."""

    HEALTHY = "healthy"  # answers at once
    SLOW = "slow"  # answers, after SLOW seconds
    ERRORS = "errors"  # HTTP status 500
    RUBBISH = "rubbish"  # status 200 with what is no answer
    HANGING = "hanging"  # takes the question and says nothing
    REFUSING = "refusing"  # nobody listens on its port


class _Question(msgspec.Struct):
    contactRef: str


# Both dialects that lookup services speak (schemas/ has them), what a service says of somebody it does not
# know, and an opt-in of somebody whose address bounces.
_SUBSCRIBED = (
    b'{"privacy":{"optIn":true,"givenAt":"2026-03-01T09:30:00Z","emailStatus":"double_opt_in",'
    b'"emailStatusChanged":"2026-03-01T09:35:00Z"},"action":{"customFields":{"segment":"regular"}}}',
    b'{"customer":{"emailStatus":"already_subscribed"},'
    b'"action":{"customFields":{"isSubscribed":true},"privacy":{"optIn":true}}}',
)
_BOUNCES = b'{"privacy":{"optIn":true,"emailStatus":"bounce"}}'
_UNKNOWN = b"{}"
_ANSWERS = (*_SUBSCRIBED * 2, _BOUNCES, *[_UNKNOWN] * 5)

_RUBBISH = (
    b"<!doctype html><title>Maintenance</title><p>We will be back soon.",
    b'{"privacy":{"optIn":tr',
    b"",
    b"[true]",
    b"\xff\xfe\x00",
    b'{"padding":"' + b"x" * 100_000 + b'"}',
)

_decode = msgspec.json.Decoder(_Question).decode


class LookupService:
    """Start, change and stop it from any thread but its own; each call returns when it is done."""

    def __init__(self, host: str = HOST, port: int = 0, control_port: int = 0) -> None:
        """Describe a healthy one that listens on `host`; port 0 is a free one. Nothing runs yet."""
        self._host = host
        self._wanted = port, control_port
        self.behaviour = Behaviour.HEALTHY
        self._rubbish = cycle(_RUBBISH)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lookup-service", daemon=True)
        self._ports: tuple[HeldPort, HeldPort] | None = None
        self._service: web.AppRunner | None = None
        self._control: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where questions are asked."""
        return f"http://{HOST}:{self._held()[0].number}/lookup"

    @property
    def control_url(self) -> str:
        """Where its behaviour is shown (GET) and changed (PUT)."""
        return f"http://{HOST}:{self._held()[1].number}/"

    def start(self) -> None:
        """Listen on both ports.

        Raises:
            OSError: it cannot listen.
            SandboxError: there is no free port.
        """
        self._ports = HeldPort(self._wanted[0]), HeldPort(self._wanted[1])
        self._thread.start()
        self._run(self._open())

    def behave(self, behaviour: Behaviour) -> None:
        """Behave so from now on. Questions under way are treated as they began, unless the port is closed.

        Raises:
            OSError: it was refusing connections and cannot listen again.
        """
        self._run(self._change(behaviour))

    def stop(self) -> None:
        """Close everything. Harmless when it is stopped, or never was started."""
        if self._thread.is_alive():
            self._run(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.close()
        for port in self._ports or ():
            port.release()

    def _held(self) -> tuple[HeldPort, HeldPort]:
        if self._ports is None:
            raise RuntimeError("the lookup service is not started")
        return self._ports

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CHANGED_WITHIN)

    async def _open(self) -> None:
        control = web.Application()
        control.router.add_get("/", self._show)
        control.router.add_put("/", self._told)
        self._control = await _listen(control, self._host, self._held()[1])
        await self._change(self.behaviour)

    async def _change(self, behaviour: Behaviour) -> None:
        if behaviour is Behaviour.REFUSING:
            if self._service is not None:
                await self._service.cleanup()
                self._service = None
        elif self._service is None:
            app = web.Application()
            app.router.add_post("/lookup", self._answer)
            self._service = await _listen(app, self._host, self._held()[0])
        self.behaviour = behaviour

    async def _close(self) -> None:
        for runner in (self._service, self._control):
            if runner is not None:
                await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        match self.behaviour:
            case Behaviour.SLOW:
                await asyncio.sleep(SLOW)
            case Behaviour.ERRORS:
                return web.Response(status=500, text="Internal Server Error")
            case Behaviour.RUBBISH:
                return web.Response(body=next(self._rubbish), content_type="application/json")
            case Behaviour.HANGING:
                await asyncio.Event().wait()
            case Behaviour.REFUSING if request.transport is not None:
                # A connection that was accepted at the very moment of closing is not seen by aiohttp's
                # clean-up; whoever uses it shall find it closed.
                request.transport.abort()
                await asyncio.Event().wait()
            case _:
                pass
        try:
            reference = _decode(body).contactRef
        except msgspec.MsgspecError:
            return web.Response(status=400, text="the question has no contactRef")
        answer = _ANSWERS[zlib.crc32(reference.encode()) % len(_ANSWERS)]
        return web.Response(body=answer, content_type="application/json")

    async def _show(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"{self.behaviour}\n")

    async def _told(self, request: web.Request) -> web.Response:
        try:
            behaviour = Behaviour((await request.text()).strip())
        except ValueError:
            return web.Response(status=400, text=f"one of: {', '.join(Behaviour)}\n")
        await self._change(behaviour)
        return web.Response(text=f"{behaviour}\n")


async def _listen(app: web.Application, host: str, port: HeldPort) -> web.AppRunner:
    # A question whose asker hung up is given up: hung ones would pile up otherwise.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE)
    await runner.setup()
    port.make_way()
    try:
        await web.TCPSite(runner, host, port.number, reuse_address=True).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner
