"""A lookup service that can be told to fail: a real HTTP server in a thread of its own.

It answers ``POST`` at every path. A path that is the name of a behaviour (``/hanging``) is treated so; at any
other path the behaviour in force counts. ``PUT <control_url>`` with the name of a behaviour as the body does
the same as ``behave``, so that it can be changed from a shell. The control has its own port: the service's
own port really is closed while it refuses connections.
"""

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from itertools import cycle
from typing import Any, Self

import msgspec
from aiohttp import web

from streams.sandbox.ports import HOST, HeldPort

SLOW = 0.3  # seconds
_GRACE = 0.1  # seconds that a request under way gets when the port is closed
_CHANGED_WITHIN = 10.0  # seconds; a change of behaviour takes _GRACE at most
_KEPT = 10_000  # questions

Question = dict[str, Any]
Answer = Callable[[Question], Awaitable[web.StreamResponse]]


class Behaviour(StrEnum):
    """How the service treats a question."""

    HEALTHY = "healthy"  # answers at once
    SLOW = "slow"  # answers, after some time
    ERRORS = "errors"  # HTTP status 500
    RUBBISH = "rubbish"  # status 200 with what is no answer
    HANGING = "hanging"  # takes the question and says nothing
    REFUSING = "refusing"  # nobody listens on its port


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


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


async def by_reference(question: Question) -> web.StreamResponse:
    """Answer the same for the same contactRef: half of the people are known, most of them subscribed."""
    return _json(_ANSWERS[zlib.crc32(str(question["contactRef"]).encode()) % len(_ANSWERS)])


async def subscribed(_: Question) -> web.StreamResponse:
    """Say that everybody is subscribed."""
    return _json(_SUBSCRIBED[1])


async def not_subscribed(_: Question) -> web.StreamResponse:
    """Say that nobody is known."""
    return _json(_UNKNOWN)


async def failing(_: Question) -> web.StreamResponse:
    """Answer with status 500."""
    return web.Response(status=500, text="Internal Server Error")


def failing_after(seconds: float) -> Answer:
    """Answer with status 500, as late as a service that first tries its CRM again and again."""

    async def answer(question: Question) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await failing(question)

    return answer


async def hanging(_: Question) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


class LookupService:
    """Start, change and stop it from any thread but its own; each call returns when it is done.

    As a context manager, starts and stops.

    Attributes:
        behaviour: in force; changed by ``behave``.
        answer: who answers while it is healthy or slow; may be replaced at any time.
        asked: how many questions came.
        questions: the first 10,000 of them.
        authorizations: the Authorization headers of these, in the same order.
    """

    def __init__(
        self,
        answer: Answer = by_reference,
        behaviour: Behaviour = Behaviour.HEALTHY,
        *,
        host: str = HOST,
        port: int = 0,
        control_port: int = 0,
        slow: float = SLOW,
    ) -> None:
        """Describe one that listens on `host`; port 0 is a free one. Nothing runs yet.

        Args:
            answer: who answers while it is healthy or slow.
            behaviour: from the start.
            host: the address to listen on.
            port: for questions.
            control_port: shows and changes the behaviour.
            slow: seconds that a slow answer takes.
        """
        self.answer = answer
        self.behaviour = behaviour
        self.asked = 0
        self.questions: list[Question] = []
        self.authorizations: list[str | None] = []
        self._host = host
        self._wanted = port, control_port
        self._slow = slow
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

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

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
            app.router.add_post("/{path:.*}", self._asked)
            self._service = await _listen(app, self._host, self._held()[0])
        self.behaviour = behaviour

    async def _close(self) -> None:
        for runner in (self._service, self._control):
            if runner is not None:
                await runner.cleanup()

    async def _asked(self, request: web.Request) -> web.StreamResponse:
        question = _question(await request.read())
        self.asked += 1
        if len(self.questions) < _KEPT:
            self.questions.append(question)
            self.authorizations.append(request.headers.get("Authorization"))
        path = request.match_info["path"]
        match Behaviour(path) if path in set(Behaviour) else self.behaviour:
            case Behaviour.SLOW:
                await asyncio.sleep(self._slow)
            case Behaviour.ERRORS:
                return await failing(question)
            case Behaviour.RUBBISH:
                return _json(next(self._rubbish))
            case Behaviour.HANGING:
                await hanging(question)
            case Behaviour.REFUSING if request.transport is not None:
                # A connection that was accepted at the very moment of closing is not seen by aiohttp's
                # clean-up; whoever uses it shall find it closed.
                request.transport.abort()
                await hanging(question)
            case _:
                pass
        if "contactRef" not in question:
            return web.Response(status=400, text="the question has no contactRef")
        return await self.answer(question)

    async def _show(self, _request: web.Request) -> web.Response:
        return web.Response(text=f"{self.behaviour}\n")

    async def _told(self, request: web.Request) -> web.Response:
        try:
            behaviour = Behaviour((await request.text()).strip())
        except ValueError:
            return web.Response(status=400, text=f"one of: {', '.join(Behaviour)}\n")
        await self._change(behaviour)
        return web.Response(text=f"{behaviour}\n")


def _question(body: bytes) -> Question:
    """Return the question in a body; an empty one where there is none."""
    try:
        return msgspec.json.decode(body, type=Question)
    except msgspec.MsgspecError:
        return {}


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
