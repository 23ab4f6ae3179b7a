"""The same job in Quix Streams, exactly once: statuses joined from its own state store (RocksDB)."""

from job import ACTIONS, EMAILS, FOLDER, GROUP, SERVERS, STATUSES, write
from quixstreams import Application

app = Application(
    broker_address=SERVERS,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    state_dir=FOLDER,
    auto_create_topics=True,  # the changelog of its state store
    loglevel="WARNING",
    commit_interval=0.1,  # as often as Kafka Streams
)
actions = app.dataframe(app.topic(ACTIONS, key_deserializer="bytes", value_deserializer="bytes"))
statuses = app.dataframe(app.topic(STATUSES, key_deserializer="bytes", value_deserializer="json"))
emails = app.topic(EMAILS, key_serializer="bytes", value_serializer="bytes")


def merge(action: bytes, status: dict | None) -> bytes:
    """Make the email of an action and what is known of its supporter."""
    return write(action, status is not None and status["subscribed"])


actions.join_asof(statuses, how="left", on_merge=merge).to_topic(emails)
app.run()
