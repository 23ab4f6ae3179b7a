"""What the bridge refuses to start with."""

import pytest

from examples.proca.demo.proca import dumped, message, ref
from examples.proca.routes import actions_route, statuses_route
from examples.proca.settings import Settings
from examples.proca.statuses import Skipped
from examples.settings import WrongSetting, read_settings
from streams.commands.keyed_lines import Message

GIVEN = {
    "BRIDGE_AMQP_URL": "amqps://user:open-sesame@mq.example.org/proca",
    "BRIDGE_ORGANISATIONS": "310,311",
}


def test_each_command_has_queues_of_its_own_and_proca_s_exchanges() -> None:
    """The names of queues are the bridge's; every organisation's exchange is bound."""
    settings = read_settings(Settings, GIVEN)
    actions, statuses = actions_route(settings), statuses_route(settings)
    assert (actions.queue, statuses.queue) == (
        "confirmation-streams.actions",
        "confirmation-streams.statuses",
    )
    assert actions.bindings == (("org.310.confirm.supporter", "#"), ("org.311.confirm.supporter", "#"))
    assert statuses.bindings[:2] == (("org.310.deliver", "#"), ("org.310.event", "supporter.#"))
    assert (actions.topic, statuses.topic) == ("actions", "supporter-status")


def test_repeat_signers_come_from_what_is_delivered_to_their_own_organisation() -> None:
    """Off by default. If set, of the delivered actions only theirs go on, and what the worker must bury."""
    settings = read_settings(Settings, GIVEN | {"BRIDGE_CONFIRM_REPEATS_AT": "deliver"})
    route = actions_route(settings)
    assert ("org.310.deliver", "#") in route.bindings
    assert ("org.310.confirm.supporter", "#") in route.bindings
    first = message(1, stage="deliver")
    again = first | {"contact": first["contact"] | {"dupeRank": 1}}
    without_address = first | {"contact": again["contact"] | {"email": None}}
    share = again | {"privacy": first["privacy"] | {"withConsent": False}}
    key = f"310:{ref(1)}".encode()
    for exchange, document, becomes in [
        ("org.310.confirm.supporter", message(1), key),
        ("org.310.deliver", again, key),
        ("org.310.deliver", without_address, key),
        ("org.310.deliver", first, "no_repeat"),
        ("org.310.deliver", share, "no_repeat"),
        ("org.311.deliver", again, "other_organisation"),
    ]:
        record = route.record_of(exchange, dumped(document))
        found = record.why if isinstance(record, Skipped) else record.key
        assert found == becomes, (exchange, document)
    assert route.record_of("org.310.deliver", b"{poison") == Message(None, b"{poison")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"BRIDGE_AMQP_URL": ""}, "BRIDGE_AMQP_URL must be set"),
        ({"BRIDGE_AMQP_URL": "http://open-sesame.example"}, "BRIDGE_AMQP_URL must begin with amqp:"),
        ({"BRIDGE_AMQP_URL": "amqp://open-sesame@:5672/"}, "BRIDGE_AMQP_URL must begin with amqp:"),
        ({"BRIDGE_AMQP_URL": "amqp://mq.example.org:port/"}, "BRIDGE_AMQP_URL must begin with amqp:"),
        ({"BRIDGE_ORGANISATIONS": "310, 311"}, "BRIDGE_ORGANISATIONS must be numbers"),
        ({"BRIDGE_ORGANISATIONS": "rivers"}, "BRIDGE_ORGANISATIONS must be numbers"),
        ({"BRIDGE_ORGANISATIONS": "0"}, "BRIDGE_ORGANISATIONS must be numbers"),
        ({"BRIDGE_QUEUE_PREFIX": "cus.310.confirm.supporter"}, "BRIDGE_QUEUE_PREFIX must be a name of"),
        ({"BRIDGE_QUEUE_PREFIX": "wrk.310"}, "BRIDGE_QUEUE_PREFIX must be a name of"),
        ({"BRIDGE_QUEUE_PREFIX": "x" * 201}, "BRIDGE_QUEUE_PREFIX must be a name of"),
        ({"BRIDGE_CONSENT": "any"}, "BRIDGE_CONSENT must be double_opt_in, opt_in"),
        ({"BRIDGE_QUEUE": "x"}, "BRIDGE_QUEUE is no setting"),
        ({"BRIDGE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "BRIDGE_KAFKA_SASL_MECHANISM is missing"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    """One sentence with its name, and no secret in it."""
    with pytest.raises(WrongSetting, match=says) as refusal:
        read_settings(Settings, GIVEN | environ)
    assert "open-sesame" not in str(refusal.value)
