"""One run: set up, feed and break, drain, stop, judge."""

import asyncio
import contextlib
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import TopicPartition

from streams.sandbox.kafka import EmbeddedKafka
from tests.chaos import verdict
from tests.chaos.damage import DAMAGE, full_store
from tests.chaos.faults import FAULTS, Scene, in_sync
from tests.chaos.feed import Feed
from tests.chaos.fleet import Child, Fleet
from tests.chaos.load import KNOWN
from tests.chaos.reading import ends, open_transactions, read_all
from tests.chaos.roles import Membership, Roles, Unbitten, until
from tests.chaos.schedule import QUIET, Fault
from tests.chaos.verdict import Ledgers, Produced, Verdict
from tests.chaos.watch import Watch

Say = Callable[[str], None]

_WORKERS = 2
_REPORT_EVERY = 10.0  # seconds
_DRAIN_SECONDS = 240.0
#: An abandoned transaction hides what comes behind it for its time-out of 5 s, and as long as it takes the
#: cluster to find a new coordinator. Longer than this is stuck.
_STUCK_SECONDS = 45.0
#: For so long a damaged store or a shortened log may stop a partition, beyond what an orderly restart or no
#: fault at all takes on this machine in the same run.
_SILENT_SECONDS = 10.0
_USUAL = (QUIET, "term")


@dataclass
class Outcome:
    """What a run came to."""

    verdict: Verdict
    injected: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether every promise was kept and every fault bit."""
        return self.verdict.clean and not self.problems


async def run(actions: int, rate: float, schedule: Sequence[Fault], say: Say) -> Outcome:
    """Feed `actions` records at `rate` a second while `schedule` happens; returns the verdict."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = None
    try:
        async with _scene(folder, say) as scene:
            outcome = await _Run(scene, actions, rate, schedule, say).run()
    finally:
        if outcome is not None and outcome.clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs of the workers and brokers are kept in {folder}")
    return outcome


@asynccontextmanager
async def _scene(folder: Path, say: Say) -> AsyncIterator[Scene]:
    kafka = EmbeddedKafka(3, folder / "kafka", heap="384m", progress=say)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, kafka.stop)
        await asyncio.to_thread(kafka.start)
        children = [
            await asyncio.to_thread(Child, "tests.chaos.crm"),
            await asyncio.to_thread(Child, "tests.chaos.cutter", kafka.bootstrap_servers),
        ]
        for child in children:
            stack.callback(child.close)
        crm, cable = children
        fleet = Fleet(kafka.bootstrap_servers, cable, folder, "chaos", crm.first_line)
        stack.callback(fleet.kill_all)
        yield Scene(kafka, Roles(kafka.bootstrap_servers), fleet, cable, lambda *_: None)


class _Run:
    """A run under way."""

    def __init__(self, scene: Scene, actions: int, rate: float, schedule: Sequence[Fault], say: Say) -> None:
        self._scene = scene
        self._schedule = schedule
        self._say = say
        self._began = time.monotonic()
        self._rate = rate
        self._seconds = actions / rate
        self._next_at = schedule[0].at if schedule else self._seconds
        names, servers = scene.fleet.names, scene.kafka.bootstrap_servers
        self._ledgers = Ledgers(names.actions, actions, scene.fleet.partitions)
        scene.note_action = self._ledgers.action
        self._feed = Feed(servers, names.actions, names.statuses, self._ledgers.produced, self._pace)
        self._watch = Watch(
            servers, scene.fleet.group, names.actions, names.emails, scene.fleet.partitions, actions
        )
        self._outcome = Outcome(Verdict())

    async def run(self) -> Outcome:
        await self._start()
        self._began = time.monotonic()
        feeding = asyncio.create_task(self._feed.run(), name="feed")
        background = [
            asyncio.create_task(job, name=name)
            for name, job in (
                ("read", self._watch.read()),
                ("sample", self._watch.sample()),
                ("report", self._report()),
                ("muster", self._muster()),
            )
        ]
        try:
            await self._break(feeding)
            await feeding
            self._note("faults and feed are over; draining")
            await self._drain()
            await self._stop()
            await self._catch_up_reading()
        finally:
            for task in (feeding, *background):
                task.cancel()
            ended = await asyncio.gather(feeding, *background, return_exceptions=True)
        for task, end in zip((feeding, *background), ended, strict=True):
            if isinstance(end, Exception):
                self._problem(f"our own {task.get_name()} failed: {end!r}")
        await self._judge()
        return self._outcome

    # -- steps ------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        fleet = self._scene.fleet
        first = await fleet.start()
        await fleet.ready(first)
        self._note("writing statuses")
        await self._feed.statuses()
        await asyncio.to_thread(
            first.wait_counter, KNOWN, "confirmation_statuses_total", 60, result="applied"
        )
        for _ in range(_WORKERS - 1):
            await fleet.start()
        await fleet.ready()
        await self._scene.grouped(_WORKERS)

    async def _break(self, feeding: asyncio.Task[None]) -> None:
        following = [fault.at for fault in self._schedule[1:]] + [self._seconds]
        for fault, next_at in zip(self._schedule, following, strict=True):
            wait = self._began + fault.at - time.monotonic()
            await asyncio.wait({feeding}, timeout=max(0.0, wait))
            if feeding.done():
                self._problem(f"{fault.kind} of second {fault.at:g} came too late: the feed was over")
                continue
            self._next_at = next_at
            self._watch.begin(fault.kind)
            await self._inject(fault)
        with contextlib.suppress(Unbitten):
            await in_sync(self._scene)

    async def _inject(self, fault: Fault) -> None:
        if fault.kind == QUIET:
            self._note("quiet")
            self._outcome.injected[QUIET] += 1
            return
        self._note(f"{fault.kind} …")
        self._ledgers.store_was_away |= fault.kind == full_store.__name__
        try:
            evidence = await (FAULTS | DAMAGE)[fault.kind](self._scene, fault.pick)
        except Unbitten as exc:
            self._problem(f"{fault.kind} did not go as it must: {exc}")
        else:
            self._outcome.injected[fault.kind] += 1
            self._note(f"{fault.kind}: {evidence}")

    async def _drain(self) -> None:
        scene, fleet = self._scene, self._scene.fleet
        self._watch.end()

        async def drained() -> bool:
            committed = await scene.roles.committed(fleet.group, fleet.names.actions, fleet.partitions)
            places = [TopicPartition(fleet.names.actions, number) for number in committed]
            reached = await ends(scene.kafka.bootstrap_servers, places, "read_uncommitted")
            return committed == {place.partition: end for place, end in reached.items()}

        try:
            seconds = await until("everything is committed", drained, _DRAIN_SECONDS)
        except Unbitten as exc:
            self._problem(f"it does not drain: {exc}; committed {self._watch.committed}")
        else:
            self._note(f"drained within {seconds:.1f} s")

    async def _stop(self) -> None:
        fleet = self._scene.fleet
        for worker in list(fleet.running):
            try:
                await fleet.terminate(worker)
            except Unbitten as exc:
                self._problem(str(exc))

        async def empty() -> bool:
            return await self._scene.roles.membership(fleet.group) == Membership("Empty", 0)

        try:
            await until("the group is empty", empty, 15)
        except Unbitten as exc:
            self._problem(str(exc))

    async def _catch_up_reading(self) -> None:
        seen = -1
        while seen != self._watch.count:
            seen = self._watch.count
            await asyncio.sleep(3)

    async def _judge(self) -> None:
        scene, ledgers, outcome = self._scene, self._ledgers, self._outcome
        names, partitions = scene.fleet.names, scene.fleet.partitions
        servers = scene.kafka.bootstrap_servers
        self._note("reading the topics from the beginning")
        await read_all(
            servers,
            names.actions,
            partitions,
            lambda record: ledgers.action(record.partition, record.offset, record.value),
        )
        await read_all(
            servers,
            names.emails,
            partitions,
            lambda record: ledgers.email(record.partition, record.offset, record.value),
        )
        await read_all(
            servers, names.dead_letters, partitions, lambda record: ledgers.dead_letter(record.value)
        )
        ledgers.samples = self._watch.samples
        outcome.verdict = await asyncio.to_thread(ledgers.verdict)
        if self._watch.seen != ledgers.in_emails:
            differing = sum(a != b for a, b in zip(self._watch.seen, ledgers.in_emails, strict=True))
            self._problem(f"whoever read along saw {differing} actions' emails a different number of times")
        outputs = (names.emails, names.dead_letters, names.rekeyed, names.changelog)
        for place, (stable, high) in (await open_transactions(servers, outputs, partitions)).items():
            self._problem(f"{place}: a transaction is open ({stable} of {high} can be read)")
        if self._watch.longest_open > _STUCK_SECONDS:
            self._problem(f"the last stable offset stood still for {self._watch.longest_open:.0f} s")
        usual = max((each for kind in _USUAL for each in self._watch.silences.get(kind, ())), default=0.0)
        for kind in DAMAGE:
            if (silence := max(self._watch.silences.get(kind, ()), default=0.0)) > usual + _SILENT_SECONDS:
                self._problem(f"{kind}: no email in some partition for {silence:.1f} s")
        for deserter in scene.fleet.deserters:
            self._problem(f"unasked, {deserter}")
        outcome.report = list(self._lines())

    def _lines(self) -> list[str]:
        outcome, watch = self._outcome, self._watch
        produced = Counter(self._ledgers.produced)
        feed = ", ".join(f"{produced[each]} {each.name.lower()}" for each in Produced if each)
        found = [f"fed: {feed}", f"{len(watch.samples)} commits looked at while they happened"]
        found.append(f"dead letters {outcome.verdict.dead_letters}, as many as records without sense")
        if self._ledgers.store_was_away:
            found.append(f"{outcome.verdict.not_known} emails of known supporters while a store was away")
        found.append(f"the last stable offset stood still {watch.longest_open:.1f} s at the most")
        found.append("seconds without an email in some partition, from the fault on:")
        for kind, silences in sorted(watch.silences.items()):
            p50, most = statistics.median(silences), max(silences)
            found.append(f"  {kind:24} {len(silences):3} times   p50 {p50:5.1f}   max {most:5.1f}")
        found += verdict.lines(outcome.verdict)
        found += [f"PROBLEM {problem}" for problem in outcome.problems]
        injected = ", ".join(f"{kind} {number}" for kind, number in sorted(outcome.injected.items()))
        found.append(f"injected: {injected}")
        result = outcome.verdict
        found.append(
            f"actions {result.actions} emails {result.emails} missing {result.missing}"
            f" doubled {result.doubled}"
        )
        return found

    def _pace(self) -> float:
        """Actions a second: fewer when the faults are behind their schedule, so that none comes too late."""
        time_left = 1 - min(time.monotonic() - self._began, self._next_at) / self._seconds
        actions_left = 1 - self._feed.sent / len(self._ledgers.produced)
        return self._rate * min(1.0, actions_left / time_left) ** 2 if time_left > 0 else self._rate

    # -- meanwhile --------------------------------------------------------------------------------------

    async def _muster(self) -> None:
        while True:
            self._scene.fleet.muster()
            await asyncio.sleep(0.5)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_REPORT_EVERY)
            self._note(f"{self._feed.sent} actions fed, {self._watch.count} emails read")

    def _note(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def _problem(self, text: str) -> None:
        self._note(f"PROBLEM {text}")
        self._outcome.problems.append(text)
