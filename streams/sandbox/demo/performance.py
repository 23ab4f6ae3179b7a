"""The demo itself, from a worker that starts to the audit line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from streams.commands.feeder import FeedError, feed_statuses
from streams.sandbox.demo.audit import Audit, objections
from streams.sandbox.demo.feeder import Feeder
from streams.sandbox.demo.letters import NoLetters, letters
from streams.sandbox.demo.phases import Phase
from streams.sandbox.demo.reader import Reader
from streams.sandbox.demo.view import View
from streams.sandbox.errors import ProcessFailed, SandboxError
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import Behaviour, LookupService
from streams.sandbox.worker import WorkerProcess
from streams.settings.load import load_settings

_TOPICS = load_settings({})  # the worker's topics have their default names
_LEARNED_WITHIN = 20.0  # seconds
_STOPPED_WITHIN = 20.0  # seconds; the worker's own grace is five
_SETTLED_WITHIN = 20.0  # seconds without an email; one takes a lookup's deadline and a little
_READ_WITHIN = 15.0  # seconds
_POLL = 0.05
_CHECK = 1.0


class Performance:
    """One run on a stage that is set. Use it with ``async with``, and call the methods in their order."""

    def __init__(
        self,
        kafka: EmbeddedKafka,
        lookup: LookupService,
        worker: WorkerProcess,
        view: View,
        *,
        phases: Sequence[Phase],
        actions: Iterator[bytes],
        statuses: list[bytes],
        rate: float,
        mailer: str | None,
    ) -> None:
        """Take what is on the stage, and the script: `actions` at `rate` per second through the `phases`.

        `mailer` is the command that makes letters of some emails; None: there is no such act.
        """
        self._kafka = kafka
        self._lookup = lookup
        self._worker = worker
        self._view = view
        self._phases = phases
        self._mailer = mailer
        self._statuses = statuses
        self._audit = Audit(len(phases))
        self._feeder = Feeder(kafka.bootstrap_servers, _TOPICS.actions_topic, actions, rate)
        self._reader = Reader(kafka.bootstrap_servers, _TOPICS.emails_topic, _TOPICS.dead_letters_topic)
        self._objections: list[str] = []

    async def __aenter__(self) -> Performance:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._feeder.stop()
        await self._reader.stop()

    async def play(self) -> None:
        """Wait for the worker, go through the phases, and wait for the last email.

        Raises:
            SandboxError: something did not work.
            KafkaError: Kafka did not.
        """
        with self._view.step("Starting a worker and waiting until it is ready") as told:
            await asyncio.to_thread(self._worker.wait_ready, told=told)
        if self._statuses:
            with self._view.step(f"Telling it the status of {len(self._statuses)} supporters"):
                await self._tell_statuses()
        await self._reader.start()
        await self._feeder.start()
        reading = asyncio.create_task(self._reader.read(self._audit))
        try:
            for number in range(len(self._phases)):
                await self._play_phase(number, reading)
            await self._feeder.acknowledged()
            with self._view.step("Waiting for the last emails") as told:
                await self._settled(reading, told)
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def end_worker(self) -> int:
        """Stop the worker by SIGTERM; it must exit with 0. Returns 1 if it did not."""
        with self._view.step("Stopping the worker (SIGTERM)"):
            problem = await asyncio.to_thread(self._ended_wrongly)
        if not problem:
            return 0
        self._view.say(problem, "bold red")
        self._objections.append("the worker did not end in good order")
        return 1

    def _ended_wrongly(self) -> str:
        """Stop the worker; what was wrong with its end, or nothing."""
        try:
            self._worker.check()
            code = self._worker.stop(_STOPPED_WITHIN)
        except ProcessFailed as error:
            return str(error)
        return f"The worker stopped with exit code {code}, not 0.{self._worker.last_lines()}" if code else ""

    async def judge(self) -> int:
        """Read to the end, show all phases, letters and the audit line. Returns the exit code."""
        with self._view.step("Reading every email once more to the end of the topic"):
            try:
                await asyncio.wait_for(self._reader.read_to_end(self._audit), _READ_WITHIN)
            except TimeoutError:
                self._objections.append("the end of the emails could not be read")
        verdict, tallies = self._audit.verdict(), self._audit.phases
        self._view.final(self._phases, tallies)
        await self._make_letters()
        if verdict.ignored or verdict.dead_letters or self._feeder.too_large:
            self._view.say(
                f"{sum(tally.actions for tally in tallies)} actions were fed. {verdict.ignored} ask for no"
                f" confirmation and were ignored, {verdict.dead_letters} are dead letters in"
                f" {_TOPICS.dead_letters_topic}, and {self._feeder.too_large} more were too large to be sent."
            )
            self._view.say("Of the others:")
        against = objections(verdict, [phase.name for phase in self._phases], tallies) + self._objections
        self._view.say(str(verdict), "bold red" if against else "bold green")
        for objection in against:
            self._view.say(f"Not as it should be: {objection}.", "bold red")
        if against and (warnings := self._worker.last_warnings()):
            self._view.say(warnings)
        return 1 if against else 0

    async def _make_letters(self) -> None:
        if self._mailer is None or not self._reader.samples.emails:
            return
        with self._view.step("Making letters of some of the emails"):
            try:
                says = await letters(self._mailer, self._reader.samples.emails)
            except NoLetters as error:
                self._objections.append(str(error))
                return
        self._view.say(says)

    async def stay(self) -> None:
        """Say where everything is, and keep it running until Ctrl-C.

        Raises:
            SandboxError: the worker or a broker ended.
        """
        kafka, pages = self._kafka.bootstrap_servers, self._worker.pages
        self._view.say(
            f"\nEverything keeps running until Ctrl-C:\n"
            f"  Kafka           {kafka}\n"
            f"  lookup service  {self._lookup.url}\n"
            f"    to change it  curl -X PUT -d hanging {self._lookup.control_url}"
            f"   ({', '.join(Behaviour)})\n"
            f"  worker          {pages}/metrics\n"
            f"                  {pages}/livez\n"
            f"                  {pages}/readyz\n"
            f"  more actions    STREAMS_KAFKA_BOOTSTRAP_SERVERS={kafka} python -m streams feed FILE.jsonl"
        )
        try:
            while True:
                await self._check()
                await asyncio.sleep(_CHECK)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()  # Ctrl-C is how this is meant to end

    async def _tell_statuses(self) -> None:
        servers, topic = self._kafka.bootstrap_servers, _TOPICS.status_topic
        try:
            await feed_statuses({"bootstrap_servers": servers}, topic, self._statuses)
        except FeedError as error:
            raise SandboxError(f"The statuses could not be sent: {error}.") from error
        await asyncio.to_thread(
            self._worker.wait_counter,
            len(self._statuses),
            "confirmation_statuses_total",
            _LEARNED_WITHIN,
            result="applied",
        )

    async def _play_phase(self, number: int, reading: asyncio.Task[None]) -> None:
        phase = self._phases[number]
        await asyncio.to_thread(self._lookup.behave, phase.behaviour)
        self._view.phase(phase)
        ends = time.monotonic() + phase.seconds
        feeding = asyncio.create_task(self._feeder.feed(self._audit, number, phase.seconds))
        try:
            while not feeding.done():
                await asyncio.wait(
                    {feeding, reading}, timeout=self._view.interval, return_when=asyncio.FIRST_COMPLETED
                )
                _raise_failure(reading)
                await self._check()
                left = max(0.0, ends - time.monotonic())
                if not feeding.done():
                    self._view.running(self._phases, self._audit.phases, number, left)
            await feeding
        finally:
            feeding.cancel()
        self._view.ended(phase, self._audit.phases[number])

    async def _settled(self, reading: asyncio.Task[None], told: Callable[[str], None]) -> None:
        least, deadline = self._audit.awaited, time.monotonic() + _SETTLED_WITHIN
        while self._audit.awaited and time.monotonic() < deadline:
            if self._audit.awaited < least:  # slow, but it goes on
                least, deadline = self._audit.awaited, time.monotonic() + _SETTLED_WITHIN
            _raise_failure(reading)
            await self._check()
            told(f"{self._audit.awaited} to come")
            await asyncio.sleep(_POLL)
        if self._audit.awaited:
            says = await asyncio.to_thread(self._worker.problems)
            self._objections += [f"the worker says: {problem}" for problem in says]

    async def _check(self) -> None:
        await asyncio.to_thread(self._worker.check)
        await asyncio.to_thread(self._kafka.check)


def _raise_failure(reading: asyncio.Task[None]) -> None:
    """The reader never ends by itself but by an error."""
    if reading.done():
        reading.result()
