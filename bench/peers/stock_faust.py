"""The same job as Faust's documentation teaches it: two agents and a table, at least once."""

import faust
from job import ACTIONS, EMAILS, FOLDER, GROUP, SERVERS, STATUSES, WEB_PORT, parse

app = faust.App(
    GROUP,
    broker=f"kafka://{SERVERS}",
    store="memory://",
    datadir=FOLDER,
    value_serializer="json",
    topic_partitions=4,
    topic_disable_leader=True,
    web_port=WEB_PORT,
    consumer_auto_offset_reset="earliest",
)
actions = app.topic(ACTIONS, key_type=bytes, value_serializer="raw")
statuses = app.topic(STATUSES, key_type=bytes)
emails = app.topic(EMAILS, key_type=bytes, value_serializer="raw")
table = app.Table("statuses", key_type=str)


@app.agent(statuses)
async def learn(stream):
    """Keep every status in the table."""
    async for key, status in stream.items():
        table[key.decode()] = status["subscribed"]


@app.agent(actions)
async def confirm(stream):
    """Write the email of every action."""
    async for key, action in stream.items():
        await emails.send(key=key, value=parse(action, table.get(key.decode())))


if __name__ == "__main__":
    app.main()
