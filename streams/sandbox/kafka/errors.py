"""What can go wrong with the embedded Kafka."""

from streams.sandbox.errors import SandboxError


class EmbeddedKafkaError(SandboxError):
    """Anything that keeps the embedded Kafka from doing what it was asked."""


class EmbeddedKafkaUnavailable(EmbeddedKafkaError):
    """Neither Java nor the jars can be had: one sentence that says what is missing and how to get it."""


class BrokerFailed(EmbeddedKafkaError):
    """A broker ended, or was not ready in time; the message ends with the last lines of its log."""
