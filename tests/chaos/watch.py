"""A mailer that reads along during the faults, and someone who looks at the offsets once a second."""

import asyncio
import contextlib
import time
from array import array
from collections import defaultdict

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bench.silence import Silence
from tests.chaos.load import serial_in
from tests.chaos.roles import Roles
from tests.chaos.verdict import Sample

_ASK_SECONDS = 8.0


class Watch:
    """Reads `emails` committed, counts by serial, and measures silence."""

    def __init__(
        self, bootstrap_servers: str, group: str, actions: str, emails: str, partitions: int, serials: int
    ) -> None:
        self._servers = bootstrap_servers
        self._group = group
        self._actions = actions
        self._emails = [TopicPartition(emails, number) for number in range(partitions)]
        self._roles = Roles(bootstrap_servers)
        #: Emails seen by serial.
        self.seen = bytearray(serials)
        self.count = 0
        #: See Sample.
        self.samples: list[Sample] = []
        #: Seconds for which the last stable offset stood still below the high watermark, at the most.
        self.longest_open = 0.0
        self._open_since: dict[TopicPartition, tuple[int, float]] = {}
        self._silence = Silence(partitions, time.monotonic())
        self._fault: str | None = None
        #: By fault: the longest silence of any partition, from the fault on, for each time it came.
        self.silences: dict[str, array[float]] = defaultdict(lambda: array("d"))
        #: By partition: the committed offset when it was last asked.
        self.committed: dict[int, int] = {}

    # -- silence ----------------------------------------------------------------------------------------

    def begin(self, fault: str) -> None:
        """From now on silence is put down to this fault."""
        self.end()
        self._fault = fault
        self._silence.begin(time.monotonic())

    def end(self) -> None:
        """What follows is put down to nothing."""
        if self._fault is not None:
            self.silences[self._fault].append(max(self._silence.longest(time.monotonic())))
        self._fault = None

    # -- reading along ----------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read until cancelled."""
        async with self._consuming("read_committed") as consumer:
            consumer.assign(self._emails)
            await consumer.seek_to_beginning(*self._emails)
            while True:
                for place, records in (await consumer.getmany(timeout_ms=200)).items():
                    self._silence.arrived(place.partition, time.monotonic())
                    self.count += len(records)
                    for record in records:
                        self.seen[serial_in(record.value)] += 1

    async def sample(self) -> None:
        """Ask once a second until cancelled."""
        while True:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with (
                    self._consuming("read_committed") as stable,
                    self._consuming("read_uncommitted") as all_of_it,
                ):
                    while True:
                        async with asyncio.timeout(_ASK_SECONDS):
                            await self._ask(stable, all_of_it)
                        await asyncio.sleep(1.0)
            await asyncio.sleep(0.5)

    async def _ask(self, stable: AIOKafkaConsumer, all_of_it: AIOKafkaConsumer) -> None:
        committed = await self._roles.committed(self._group, self._actions, len(self._emails))
        last_stable = await stable.end_offsets(self._emails)
        high = await all_of_it.end_offsets(self._emails)
        now = time.monotonic()
        self.committed = committed
        for place in self._emails:
            if committed[place.partition] > 0:
                self.samples.append(Sample(place.partition, committed[place.partition], high[place]))
            offset, since = self._open_since.get(place, (-1, now))
            if last_stable[place] >= high[place] or last_stable[place] != offset:
                self._open_since[place] = last_stable[place], now
            else:
                self.longest_open = max(self.longest_open, now - since)

    def _consuming(self, isolation_level: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            isolation_level=isolation_level,
            auto_offset_reset="earliest",
            request_timeout_ms=10_000,
            fetch_max_wait_ms=100,
        )
