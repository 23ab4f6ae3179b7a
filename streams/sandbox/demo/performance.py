"""The demo itself, from a worker that starts to the line of the audit."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from itertools import islice
from typing import Any

from streams.commands.audit.auditing import audit
from streams.commands.audit.outcome import AuditRange, AuditResult
from streams.commands.audit.report import as_lines
from streams.commands.feed_report import FeedReport
from streams.commands.feeder import FeedError, feed, feed_statuses
from streams.commands.installation import installation_of
from streams.commands.keyed_lines import action_message
from streams.kafka.topics import TopicNames
from streams.sandbox.account import Account, Tally
from streams.sandbox.demo.letters import NoLetters, Samples, letters
from streams.sandbox.demo.phases import Phase
from streams.sandbox.demo.view import View
from streams.sandbox.errors import ProcessFailed, SandboxError
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.lookup_service import Behaviour, LookupService
from streams.sandbox.mailer import Mailer
from streams.sandbox.worker import WorkerProcess
from streams.settings.invocation import invocation
from streams.settings.load import load_settings

_LEARNED_WITHIN = 20.0  # seconds
_STOPPED_WITHIN = 20.0  # seconds; the worker's own grace is five
_SETTLED_WITHIN = 20.0  # seconds without an email; one takes a lookup's deadline and a little
_POLL = 0.2  # seconds
_CHECK = 1.0  # seconds
_BLOCK = 4  # actions that are sent together: at 200 a second, each 20 ms
_LISTED = 5  # missing or doubled actions that are named


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
        explained: Collection[str],
    ) -> None:
        """Take what is on the stage, and the script: `actions` at `rate` per second through the `phases`.

        `mailer` is the command that makes letters of some emails; None: there is no such act. `explained` are
        error classes of dead letters that the content of the actions may explain.
        """
        self._kafka = kafka
        self._lookup = lookup
        self._worker = worker
        self._view = view
        self._phases = phases
        self._letters_by = mailer
        self._actions = actions
        self._statuses = statuses
        self._rate = rate
        self._explained = explained
        # The worker's topics and group have their default names.
        settings = load_settings({"STREAMS_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers})
        self._installation = installation_of(settings)
        self._names: TopicNames = self._installation.names
        self._mailer = Mailer(
            kafka.bootstrap_servers, (self._names.actions, self._names.emails, self._names.dead_letters)
        )
        self._account = Account(self._names, self._phase_of)
        self._samples = Samples()
        self._begins: list[float] = []  # of the phases so far, seconds since the epoch
        self._over = False
        self._objections: list[str] = []
        self._too_large = 0

    async def __aenter__(self) -> Performance:
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        await asyncio.to_thread(self._mailer.__exit__, kind, error, trace)

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
        await asyncio.to_thread(self._mailer.__enter__)
        feeding = asyncio.create_task(self._feed())
        try:
            for number in range(len(self._phases)):
                await self._play_phase(number, feeding)
            self._over = True
            self._too_large = (await feeding).not_sent
        finally:
            feeding.cancel()
            await asyncio.wait({feeding})
        with self._view.step("Waiting for the last emails") as told:
            await self._settled(told)

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
        """Audit the topics, show all phases, letters and the audit's line. Returns the exit code."""
        with self._view.step("Auditing every action and email once more, from the topics"):
            try:
                self._take(await asyncio.to_thread(self._mailer.finish))
            except SandboxError as error:
                self._objections.append(str(error).rstrip("."))
            found = await self._audit()
        self._view.final(self._phases, self._tallies)
        await self._make_letters()
        counts = found.counts
        if counts.ignored or counts.dead_lettered or self._too_large:
            self._view.say(
                f"{counts.records} actions were fed. {counts.ignored} ask for no confirmation and were"
                f" ignored, {counts.dead_lettered} are dead letters in {self._names.dead_letters}, and"
                f" {self._too_large} more were too large to be sent."
            )
            self._view.say("Of the others:")
        against = objections(found, self._phases, self._tallies, self._explained) + self._objections
        *details, line = as_lines(found, self._names.actions, _LISTED)
        if against:
            self._view.say("\n".join(details))
        self._view.say(line, "bold red" if against else "bold green")
        for objection in against:
            self._view.say(f"Not as it should be: {objection}.", "bold red")
        if against and (warnings := self._worker.last_warnings()):
            self._view.say(warnings)
        return 1 if against else 0

    async def _make_letters(self) -> None:
        if self._letters_by is None or not self._samples.emails:
            return
        with self._view.step("Making letters of some of the emails"):
            try:
                says = await letters(self._letters_by, self._samples.emails)
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
            f"  more actions    STREAMS_KAFKA_BOOTSTRAP_SERVERS={kafka} {invocation()} feed FILE.jsonl"
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
        try:
            await feed_statuses(self._installation.connection, self._names.statuses, self._statuses)
        except FeedError as error:
            raise SandboxError(f"The statuses could not be sent: {error}.") from error
        await asyncio.to_thread(
            self._worker.wait_counter,
            len(self._statuses),
            "confirmation_statuses_total",
            _LEARNED_WITHIN,
            result="applied",
        )

    async def _feed(self) -> FeedReport:
        """Feed actions until the phases are over. No line waits for others: their delays are shown."""

        async def blocks() -> AsyncIterator[list[bytes]]:
            while not self._over:
                yield list(islice(self._actions, _BLOCK))

        connection, topic = self._installation.connection, self._names.actions
        try:
            return await feed(connection, topic, blocks(), action_message, rate=self._rate, linger=0)
        except FeedError as error:
            raise SandboxError(f"The actions could not be sent: {error}.") from error

    async def _play_phase(self, number: int, feeding: asyncio.Task[FeedReport]) -> None:
        phase = self._phases[number]
        await asyncio.to_thread(self._lookup.behave, phase.behaviour)
        self._begins.append(time.time())
        self._view.phase(phase)
        ends = time.monotonic() + phase.seconds
        while (left := ends - time.monotonic()) > 0:
            await asyncio.wait({feeding}, timeout=min(self._view.interval, left))
            if feeding.done():
                feeding.result()
            self._take(self._mailer.take())
            await self._check()
            if (left := ends - time.monotonic()) > 0:
                self._view.running(self._phases, self._tallies, number, left)
        self._view.ended(phase, self._tallies[number])

    async def _settled(self, told: Callable[[str], None]) -> None:
        """Wait until the worker has settled every action, or settles none any more."""
        least, deadline = None, time.monotonic() + _SETTLED_WITHIN
        while (left := (await self._audit()).in_flight) and time.monotonic() < deadline:
            if least is None or left < least:  # slow, but it goes on
                least, deadline = left, time.monotonic() + _SETTLED_WITHIN
            await self._check()
            told(f"{left} to come")
            await asyncio.sleep(_POLL)
        if left:
            says = await asyncio.to_thread(self._worker.problems)
            self._objections += [f"the worker says: {problem}" for problem in says]

    async def _audit(self) -> AuditResult:
        return await audit(self._installation, AuditRange())

    def _take(self, arrivals: Sequence[Any]) -> None:
        self._account.take(arrivals)
        for record, _ in arrivals:
            if record.topic == self._names.emails:
                self._samples.add(record.value)

    @property
    def _tallies(self) -> list[Tally]:
        return [self._account.parts[number] for number in range(len(self._phases))]

    def _phase_of(self, record: Any) -> int:
        return max(0, bisect_right(self._begins, record.timestamp / 1000) - 1)

    async def _check(self) -> None:
        await asyncio.to_thread(self._worker.check)
        await asyncio.to_thread(self._kafka.check)


def objections(
    found: AuditResult, phases: Sequence[Phase], tallies: Sequence[Tally], explained: Collection[str]
) -> list[str]:
    """Return why a demo did not show what it should, half a sentence each; empty: all is well.

    `explained` are error classes of dead letters that the content of the actions may explain.
    """
    reasons = []
    if not found.holds:
        reasons.append("actions and emails do not match one to one")
    if open_ones := found.in_flight + found.held_back:
        reasons.append(f"{open_ones} actions are not settled")
    if strangers := found.unasked + found.unattributed + found.counts.foreign:
        reasons.append(f"{strangers} emails were asked for by no action")
    dead: Counter[str] = sum((tally.dead_letters for tally in tallies), Counter())
    if wrong := {error_class: count for error_class, count in dead.items() if error_class not in explained}:
        classes = ", ".join(sorted(wrong))
        reasons.append(
            f"{sum(wrong.values())} actions without fault became dead letters (error classes: {classes})"
        )
    reasons += [
        f"no email left for the actions of phase {number}, {phase.name}"
        for number, (phase, tally) in enumerate(zip(phases, tallies, strict=True), start=1)
        if not tally.emails_out
    ]
    return reasons
