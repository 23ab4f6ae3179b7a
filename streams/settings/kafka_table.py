"""Kafka's part of the settings: the brokers, the group, and how a client proves who it is."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from streams.settings.fields import PEM, TOPIC, PemFile, PlainName, Seconds, Servers, number, other, secret
from streams.settings.values import http_url, sasl_extensions, sasl_user, user

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"]
Extensions = Annotated[tuple[str, ...], BeforeValidator(sasl_extensions)]


class KafkaSettings(BaseModel):
    """Kafka's part of the settings. Durations are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kafka_bootstrap_servers: Servers = other(
        ("127.0.0.1:9092",),
        "host:port, several with commas; IPv6 in brackets, as in [::1]:9092",
        "The brokers that are asked first; they name the others",
    )
    group_id: PlainName = other(
        "confirmation-streams", TOPIC, "Consumer group, and the beginning of every transactional.id"
    )
    group_instance_id: PlainName | None = other(
        None, TOPIC, "Static membership: a name that no other live worker has, as a StatefulSet's pod name"
    )
    session_timeout: Seconds = number(
        10,
        6,
        60,
        "s",
        "session.timeout.ms: so long after a crash a worker's partitions are given to others",
    )
    heartbeat_interval: Seconds = number(
        3, 0.5, 20, "s", "heartbeat.interval.ms: the pause between two heartbeats"
    )
    rebalance_timeout: Seconds = number(
        15, 2, 300, "s", "A rebalance waits so long for a worker that does not join again"
    )
    max_poll_interval: Seconds = number(
        300, 10, 3600, "s", "A worker that takes no records for so long leaves the group"
    )
    transaction_timeout: Seconds = number(
        10,
        2,
        900,
        "s",
        "transaction.timeout.ms: after a crash a transaction stays open so long, and readers wait for it",
    )

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = other(
        "PLAINTEXT", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", "Kafka's security.protocol: TLS, SASL, both"
    )
    kafka_ca_file: PemFile = other(
        None,
        PEM,
        "Certificate authorities that are trusted for the brokers' certificates; unset: the system's",
    )
    kafka_client_certificate_file: PemFile = other(
        None, PEM, "Mutual TLS: the worker's certificate, with any intermediate ones after it"
    )
    kafka_client_key_file: PemFile = other(None, PEM, "Mutual TLS: the key of that certificate")
    kafka_client_key_password: SecretStr | None = secret("any text", "Password of that key, if it has one")
    kafka_host_name_check: Literal["required", "off"] = other(
        "required",
        "required, off",
        "Whether a broker's certificate must have the host name by which the worker calls it",
    )
    kafka_sasl_mechanism: Mechanism | None = other(
        None,
        ", ".join(get_args(Mechanism)),
        "How the worker proves who it is: by user and password, by a token, or by AWS credentials",
    )
    kafka_sasl_user: Annotated[str, AfterValidator(sasl_user)] | None = other(
        None, "printable text", "User at the brokers"
    )
    kafka_sasl_password: SecretStr | None = secret("any text", "Password at the brokers")

    kafka_oauth_token_url: Annotated[str, AfterValidator(http_url)] | None = other(
        None,
        "http(s)://host[:port][/path], without user, password or #fragment",
        "OAUTHBEARER: the token endpoint of the OIDC provider",
    )
    kafka_oauth_client_id: Annotated[str, AfterValidator(user)] | None = other(
        None, "printable, without ':'", "OAUTHBEARER: who asks for the token"
    )
    kafka_oauth_client_secret: SecretStr | None = secret("any text", "OAUTHBEARER: the secret of that client")
    kafka_oauth_scope: Annotated[str, AfterValidator(sasl_user)] | None = other(
        None, "printable text", "OAUTHBEARER: what the token is asked for; unset: the provider's default"
    )
    kafka_oauth_extensions: Extensions | None = other(
        None,
        "name=value, several with commas",
        "OAUTHBEARER: what a broker wants beside the token, as Confluent Cloud's logicalCluster",
    )
    kafka_oauth_ca_file: PemFile = other(
        None, PEM, "Certificate authorities that are trusted for the token endpoint; unset: the system's"
    )
    kafka_aws_region: PlainName | None = other(
        None, TOPIC, "AWS_MSK_IAM: the region of the cluster, as eu-central-1"
    )
