"""Every Kafka client of the product connects as the settings say."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "streams"
CLIENTS = {
    "AIOKafkaAdminClient",
    "AIOKafkaClient",
    "AIOKafkaConnection",
    "AIOKafkaConsumer",
    "AIOKafkaProducer",
    "create_conn",
}
#: Run a broker of their own on this machine, in the clear, and talk to that one only.
WITH_THEIR_OWN_BROKER = ("sandbox",)
#: What client_options made, by the names that it is passed on under; the last is Faust's own of the same.
OPTIONS = ("connection", "driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context)")


def constructions() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(SOURCES.rglob("*.py")):
        place = path.relative_to(SOURCES)
        if place.parts[0] in WITH_THEIR_OWN_BROKER:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CLIENTS:
                yield f"{place}:{node.lineno}", node


def test_every_client_is_given_the_connection() -> None:
    """No producer, consumer or admin client is made from an address alone."""
    found = dict(constructions())
    assert len(found) >= 10
    without = {
        place
        for place, call in found.items()
        if not any(
            keyword.arg is None and ast.unparse(keyword.value).endswith(OPTIONS) for keyword in call.keywords
        )
    }
    assert without == set()


def test_the_connection_comes_from_one_function() -> None:
    """Wherever a connection begins, it is what client_options makes of the settings."""
    makers = set()
    for path in sorted(SOURCES.rglob("*.py")):
        place = path.relative_to(SOURCES)
        if place.parts[0] in WITH_THEIR_OWN_BROKER:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.keyword) and node.arg == "bootstrap_servers"
            if named or (isinstance(node, ast.Constant) and node.value == "bootstrap_servers"):
                makers.add(str(place))
    # The others read it: for a sentence, or to look at each address; Faust is given it in a form of its own.
    reading = {
        "commands/doctor/cluster.py",
        "commands/feed.py",
        "commands/feeder.py",
        "kafka/connection_check.py",
        "kafka/consumer_thread.py",
    }
    assert makers - reading == {"settings/connection.py"}
