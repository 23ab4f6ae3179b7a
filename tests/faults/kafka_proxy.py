"""A TCP proxy between a client and the brokers that understands Kafka's framing and breaks what a test names.

>>> with KafkaProxy(kafka.bootstrap_servers) as proxy:  # doctest: +SKIP
...     worker = installation(kafka_bootstrap_servers=proxy.bootstrap_servers).worker()
...     lost = proxy.add(Api.END_TXN, LoseResponse())  # the next one; `times=None` for all
...     lost.wait()
...     proxy.cut(); proxy.heal()

Every broker has a listening port of its own here; the addresses in Metadata and FindCoordinator responses are
replaced, so the client never learns where the brokers are. Everything runs in one thread with its own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.faults.kafka_wire import (
    TRANSACTIONAL,
    Address,
    Api,
    Request,
    brokers_in,
    read_frame,
    readdressed,
    write_frame,
)

_BUFFER = 4 << 20  # bytes
_KEPT = 20_000  # transactional requests that are remembered


# -- what can go wrong with one request -------------------------------------------------------------------


class HoldRequest:
    """It reaches the broker when the rule is released, even if its client has gone."""


class Straggle:
    """The connection breaks, and the request reaches the broker all the same, when the rule is released."""


class Pass:
    """Nothing: the rule only keeps the broker's answers."""


class LoseRequest:
    """The broker never sees it, and the connection is silent from then on."""


class LoseResponse:
    """The broker has it; nothing comes back over this connection any more."""


class CutBefore:
    """The connection breaks before the broker saw it."""


class CutAfter:
    """The connection breaks after the broker answered; the answer is lost."""


class Duplicate:
    """The broker gets it twice in a row; the client sees the first answer."""


@dataclass(frozen=True)
class Answer:
    """The broker never sees it; the client gets this error code."""

    code: int


Fault = Pass | HoldRequest | Straggle | LoseRequest | LoseResponse | CutBefore | CutAfter | Duplicate | Answer


@dataclass
class Rule:
    """A fault for some requests of one kind. `hits` were affected; `answers` are the broker's to them."""

    api: Api
    fault: Fault
    skip: int = 0  # pass so many matching requests first
    times: int | None = 1  # None: all
    where: Callable[[Request], bool] = lambda _: True
    hits: int = 0
    answers: list[Any] = field(default_factory=list)
    _hit: threading.Event = field(default_factory=threading.Event)
    _answered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let go of what is held."""
        self.released.set()

    def takes(self, request: Request) -> bool:
        """Whether this request is affected; counts it."""
        if request.api != self.api or (self.times is not None and self.hits >= self.times):
            return False
        if not self.where(request):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.hits += 1
        self._hit.set()
        return True

    def answered(self, request: Request, frame: bytes) -> None:
        """Keep the broker's answer to an affected request."""
        self.answers.append(request.response(frame))
        self._answered.set()

    def wait(self, seconds: float = 20) -> None:
        """Wait until a request was affected: a fault that did not bite proves nothing."""
        assert self._hit.wait(seconds), f"no {self.api.name} request in {seconds} s"

    def wait_answered(self, seconds: float = 20) -> Any:
        """Wait for the broker's first answer to an affected request, and return it."""
        assert self._answered.wait(seconds), f"no answer to {self.api.name} in {seconds} s"
        return self.answers[0]


def of_transactional_id(transactional_id: str) -> Callable[[Request], bool]:
    """Return a condition for a rule: only requests of this transactional.id."""
    return lambda request: request.transactional_id == transactional_id


class Seen(NamedTuple):
    """A transactional request as it came from the client."""

    api: Api
    transactional_id: str
    producer_id: int  # -1 for InitProducerId and Produce
    producer_epoch: int
    commits: bool | None  # of EndTxn


class KafkaProxy:
    """See the module. All methods may be called from any thread but the proxy's own."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Stand before these brokers."""
        self._bootstrap = [_address(server) for server in bootstrap_servers.split(",")]
        self._rules: list[Rule] = []
        self._seen: deque[Seen] = deque(maxlen=_KEPT)
        self._doors: dict[Address, Address] = {}  # broker -> where we listen for it
        self._servers: list[asyncio.Server] = []
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-proxy", daemon=True)

    # -- for tests --------------------------------------------------------------------------------------

    @property
    def bootstrap_servers(self) -> str:
        """What the client is given instead of the brokers' addresses."""
        return ",".join("{}:{}".format(*self._doors[broker]) for broker in self._bootstrap)

    def add(self, api: Api, fault: Fault, **which: Any) -> Rule:
        """Let `fault` befall the next request, or those that the fields of a Rule choose."""
        rule = Rule(api, fault, **which)
        self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()

    def cut(self) -> None:
        """Break every connection, and each new one at once."""
        self._cut = True
        self._run(self._break_all)

    def heal(self) -> None:
        """Let connections through again."""
        self._cut = False

    def pause(self) -> None:
        """Pass nothing on, in either direction, over connections that stay up."""
        self._run(self.open.clear)

    def resume(self) -> None:
        """Pass on what was held up, and all that follows."""
        self._run(self.open.set)

    def transactional(self, transactional_id: str) -> list[Seen]:
        """Return the transactional requests of an id so far, oldest first."""
        seen = self._run(lambda: list(self._seen))
        return [each for each in seen if each.transactional_id == transactional_id]

    def __enter__(self) -> KafkaProxy:
        self._thread.start()
        self._await(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    # -- inside -----------------------------------------------------------------------------------------

    def _await(self, job: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(job, self._loop).result(10)

    def _run(self, job: Callable[[], Any]) -> Any:
        async def within_the_loop() -> Any:
            return job()

        return self._await(within_the_loop())

    async def _start(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        for broker in self._bootstrap:
            await self.door_for(broker)

    async def _stop(self) -> None:
        for server in self._servers:
            server.close()
        self.open.set()
        running = list(self._tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _break_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    async def door_for(self, broker: Address) -> Address:
        """Return where we listen for `broker`, beginning to listen if it is new."""
        if broker not in self._doors:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.spawn(self._serve(broker, reader, writer))

            server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_BUFFER)
            self._servers.append(server)
            host, port = server.sockets[0].getsockname()[:2]
            self._doors[broker] = (host, port)
        return self._doors[broker]

    async def _serve(
        self, broker: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = _Connection(self, broker, reader, writer)
        self._connections.add(connection)
        try:
            if not self._cut:
                await connection.run()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # either side went away, or the test is over
        finally:
            self._connections.discard(connection)
            connection.abort()

    def rule_for(self, request: Request) -> Rule | None:
        """Note a request, and return the rule that takes it, if any."""
        if request.api in TRANSACTIONAL and (transactional_id := request.transactional_id) is not None:
            self._seen.append(_seen(request, transactional_id))
        return next((rule for rule in list(self._rules) if rule.takes(request)), None)

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run something that may outlive the connection that it came from."""
        task = self._loop.create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _seen(request: Request, transactional_id: str) -> Seen:
    producer_id = producer_epoch = -1
    commits = None
    if request.api not in (Api.INIT_PRODUCER_ID, Api.PRODUCE):
        producer_id, producer_epoch = request.body.producer_id, request.body.producer_epoch
    if request.api == Api.END_TXN:
        commits = bool(request.body.commit if request.flexible else request.body.transaction_result)
    return Seen(Api(request.api), transactional_id, producer_id, producer_epoch, commits)


def _address(server: str) -> Address:
    host, _, port = server.rpartition(":")
    return host, int(port)


class _Connection:
    """One connection of the client, and the one to its broker. Answers come in the requests' order."""

    def __init__(
        self, proxy: KafkaProxy, broker: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._broker = broker
        self._client_reader, self._client_writer = reader, writer
        self._broker_writer: asyncio.StreamWriter | None = None
        #: Of the answers that the broker owes us, in order.
        self._awaited: deque[tuple[Request, asyncio.Future[bytes]]] = deque()
        #: Of the answers that we owe the client, in order.
        self._owed: asyncio.Queue[asyncio.Future[bytes]] = asyncio.Queue()

    def abort(self) -> None:
        """Break both connections at once."""
        for writer in (self._client_writer, self._broker_writer):
            if writer is not None:
                writer.transport.abort()

    async def run(self) -> None:
        """Pass requests and answers on until one side ends."""
        await self._proxy.open.wait()
        broker_reader, self._broker_writer = await asyncio.open_connection(*self._broker, limit=_BUFFER)
        jobs = [
            asyncio.ensure_future(job)
            for job in (self._requests(), self._answers_from(broker_reader), self._answers())
        ]
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _requests(self) -> None:
        while True:
            request = Request(await read_frame(self._client_reader))
            await self._proxy.open.wait()
            rule = self._proxy.rule_for(request)
            if rule is not None:
                self._owed.put_nowait(self._suffered(request, rule))
            elif (answer := self._forward(request)) is not None:
                self._owed.put_nowait(answer)
            assert self._broker_writer is not None
            await self._broker_writer.drain()

    def _forward(self, request: Request) -> asyncio.Future[bytes] | None:
        assert self._broker_writer is not None
        write_frame(self._broker_writer, request.frame)
        if not request.expects_answer:
            return None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._awaited.append((request, answer))
        return answer

    def _suffered(self, request: Request, rule: Rule) -> asyncio.Future[bytes]:
        """Do what `rule` says, and return the answer that the client gets, or never gets."""
        given: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def forward() -> asyncio.Future[bytes]:
            answer = self._forward(request)
            assert answer is not None, "a produce request with acks=0 has no answer to play with"
            answer.add_done_callback(noted)
            return answer

        def noted(answer: asyncio.Future[bytes]) -> None:
            if not answer.cancelled():
                rule.answered(request, answer.result())

        match rule.fault:
            case Pass():
                return forward()
            case Answer(code):
                given.set_result(request.refusal(code))
            case LoseRequest():
                pass
            case LoseResponse():
                forward()
            case CutBefore():
                self.abort()
            case CutAfter():
                forward().add_done_callback(lambda _: self.abort())
            case Duplicate():
                answer = forward()
                forward()
                return answer
            case HoldRequest():
                self._proxy.spawn(self._straggle(request, rule, given))
            case Straggle():
                self._proxy.spawn(self._straggle(request, rule, given))
                self.abort()
        return given

    async def _straggle(self, request: Request, rule: Rule, given: asyncio.Future[bytes]) -> None:
        # On a connection of its own, so that it arrives even when its client has hung up.
        while not rule.released.is_set():  # noqa: ASYNC110 - another thread's event
            await asyncio.sleep(0.005)
        await self._proxy.open.wait()
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(*self._broker, limit=_BUFFER)
            try:
                write_frame(writer, request.frame)
                frame = await read_frame(reader)
            finally:
                writer.close()
            rule.answered(request, frame)
            if not given.done():
                given.set_result(frame)

    async def _answers_from(self, reader: asyncio.StreamReader) -> None:
        while True:
            frame = await read_frame(reader)
            request, answer = self._awaited.popleft()
            if request.api in (Api.METADATA, Api.FIND_COORDINATOR):
                doors = {broker: await self._proxy.door_for(broker) for broker in brokers_in(request, frame)}
                frame = readdressed(request, frame, doors.__getitem__)
            answer.set_result(frame)

    async def _answers(self) -> None:
        while True:
            answer = await self._owed.get()
            frame = await answer
            await self._proxy.open.wait()
            write_frame(self._client_writer, frame)
            await self._client_writer.drain()
