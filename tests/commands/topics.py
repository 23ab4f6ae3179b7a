"""Topics as a worker leaves them, written directly: a worker cannot be made to lose or double an email."""

from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.structs import OffsetAndMetadata

from streams.actions.dead_letter import dead_letter_headers
from streams.commands.installation import Installation
from streams.delivery.commit_metadata import Run, encode
from streams.messages.decode import ErrorClass, Reason, Variant, decode_action
from streams.messages.email import EmailWriter
from streams.messages.keys import partition_of
from streams.sandbox.worker import topic_names
from tests.clients import administering, commit
from tests.integration.topics import action, keyed, producing, send


class Topics:
    """Topics and a group of their own, with whatever a test puts there."""

    def __init__(self, bootstrap_servers: str, name: str, partitions: int = 2, **settings: str) -> None:
        self.partitions = partitions
        self._settings = {f"STREAMS_{key.upper()}": value for key, value in settings.items()}
        self.installation = Installation(
            name, topic_names(name), {"bootstrap_servers": bootstrap_servers}, transaction_timeout=2.0
        )
        self.names = self.installation.names
        self.servers = bootstrap_servers

    @property
    def environ(self) -> dict[str, str]:
        """Settings by which the commands find these topics."""
        return {
            "STREAMS_KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "STREAMS_GROUP_ID": self.installation.group,
            "STREAMS_ACTIONS_TOPIC": self.names.actions,
            "STREAMS_STATUS_TOPIC": self.names.statuses,
            "STREAMS_EMAILS_TOPIC": self.names.emails,
            "STREAMS_DEAD_LETTERS_TOPIC": self.names.dead_letters,
            "STREAMS_TRANSACTION_TIMEOUT": "2",
            "STREAMS_LOOKUP_DEADLINE": "0.1",  # what may hang must end within a transaction
            **self._settings,
        }

    async def create(self, **configs: dict[str, str]) -> None:
        """Make the topics; `configs` by what they are called in TopicNames."""
        whats = ("actions", "statuses", "emails", "dead_letters", "changelog", "rekeyed")
        async with administering(self.servers) as admin:
            await admin.create_topics(
                [
                    NewTopic(
                        getattr(self.names, what), self.partitions, 1, topic_configs=configs.get(what, {})
                    )
                    for what in whats
                ]
            )

    async def act(self, documents: Iterable[dict[str, Any] | bytes | None]) -> list[tuple[int, int]]:
        """Put actions (or anything) on their topic; returns their places."""
        return await send(
            self.servers,
            self.names.actions,
            [keyed(each) if isinstance(each, dict) else (b"310:x", each) for each in documents],
        )

    def email(self, number: int, place: tuple[int, int]) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Make the email of action `number` that lies in `place`: key, value, headers."""
        key, original = keyed(action(number))
        decoded = decode_action(original)
        assert decoded is not None
        value, headers = EmailWriter(self.names.actions, place[0]).write(
            place[1], decoded, original, (), Variant.TWO_BUTTON, Reason.NO_LOOKUP, None, 1.7e9
        )
        return key, value, headers

    async def mail(self, emails: Iterable[tuple[int, tuple[int, int]]], producer: Any = None) -> None:
        """Write the emails of (number, place), each into the partition where its key belongs."""
        if producer is None:
            async with producing(self.servers) as producer:
                await self.mail(emails, producer)
            return
        for number, place in emails:
            key, value, headers = self.email(number, place)
            await producer.send(
                self.names.emails,
                value,
                key=key,
                headers=headers,
                partition=partition_of(key, self.partitions),
            )
        await producer.flush()

    async def bury(
        self,
        place: tuple[int, int],
        value: bytes | None,
        error: ErrorClass,
        path: str = "$",
        *,
        topic: str | None = None,
        at: int | None = None,
    ) -> None:
        """Write the dead letter of a record of a topic (None: the actions), `at` milliseconds (None: now)."""
        origin = topic or self.names.actions
        headers = dead_letter_headers(origin, *place, [("trace", b"1")], error, path)
        async with producing(self.servers) as producer:
            await producer.send_and_wait(
                self.names.dead_letters,
                value,
                key=b"310:x",
                headers=headers,
                partition=place[0],
                timestamp_ms=at,
            )

    async def forget(self, topic: str, before: dict[int, int]) -> None:
        """Remove the beginning of partitions, as retention does."""
        async with administering(self.servers) as admin:
            await admin.delete_records(
                {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in before.items()}
            )

    async def settle(self, progress: dict[int, tuple[int, list[Run]]], topic: str | None = None) -> None:
        """Commit (offset, runs beyond it) by partition."""
        offsets = {
            TopicPartition(topic or self.names.actions, number): OffsetAndMetadata(at, encode(at, runs))
            for number, (at, runs) in progress.items()
        }
        await commit(self.servers, self.installation.group, offsets)

    async def settle_all(self) -> None:
        """Commit the end of every partition."""
        places = [TopicPartition(self.names.actions, number) for number in range(self.partitions)]
        async with AIOKafkaConsumer(bootstrap_servers=self.servers) as consumer:
            ends = await consumer.end_offsets(places)
        await self.settle({place.partition: (end, []) for place, end in ends.items()})


def transactional(topics: Topics) -> AIOKafkaProducer:
    """A producer that leaves what a test wants it to leave."""
    return AIOKafkaProducer(
        bootstrap_servers=topics.servers,
        transactional_id=f"{topics.installation.group}-test",
        transaction_timeout_ms=60_000,
    )
