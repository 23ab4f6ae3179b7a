"""Why brokers do not let us in: one sentence that names the setting to mend, and shows no secret.

aiokafka tells every failure at the start as ``KafkaConnectionError``, and a broker closes most connections
that it does not like without a word. So a connection is made once more, and looked at step by step: what
OpenSSL says of the broker's certificate, what the broker says of ours or of the password, and, where it only
hangs up, what its port speaks.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.conn import collect_hosts
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslAuthenticateRequest, SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from streams.authentication.sessions import SessionConnection
from streams.authentication.tokens import TokenProvider, TokenRefused, TokenUnavailable
from streams.kafka.connection_advice import (
    BrokerAddress,
    asks_for_password,
    asks_for_tls,
    no_tls,
    of_certificate,
    of_password,
    of_tls_alert,
    takes_no_password,
    without_mechanism,
)

_STEP = 4.0  # seconds that one connection may take to answer


class AccessRefused(Exception):
    """Brokers answer, and do not let us in: waiting does not help. The text is one sentence for a person."""


class _Accepted(NamedTuple):
    """A broker lets us in; `others` are those that its cluster advertises."""

    others: tuple[BrokerAddress, ...]


class _Refused(NamedTuple):
    sentence: str


#: None: there is nobody, or nobody knows why.
_Answer = _Accepted | _Refused | None


async def access_problem(connection: Mapping[str, Any], within: float = 14.0) -> str | None:
    """Return why no broker lets us in; None if one does, or if none can be reached.

    Args:
        connection: what every Kafka client is given, see ``streams.settings.connection.client_options``.
        within: seconds that it may take; then the answer is None.
    """
    options = {name: value for name, value in connection.items() if name != "bootstrap_servers"}
    first = [BrokerAddress(host, port) for host, port, _ in collect_hosts(connection["bootstrap_servers"])]
    try:
        async with asyncio.timeout(within):
            answers = await _look_at(first, options)
            accepted = [each for each in answers if isinstance(each, _Accepted)]
            if not accepted:
                return _first_sentence(answers)
            # A cluster may send its clients to names and ports other than those that we came by.
            known = {(broker.host, broker.port) for broker in first}
            others = {broker for each in accepted for broker in each.others}
            answers = await _look_at(sorted(each for each in others if each[:2] not in known), options)
            if len(answers) < len(others) or any(isinstance(each, _Accepted) for each in answers):
                return None
            return _first_sentence(answers)
    except TimeoutError:
        return None


async def no_access(connection: Mapping[str, Any], within: float = 14.0) -> str | None:
    """Return why no broker lets us in now; also what may pass, as a token server that does not answer.

    Args:
        connection: what every Kafka client is given.
        within: seconds that it may take.
    """
    return await access_problem(connection, within) or token_fault(connection)


def token_fault(connection: Mapping[str, Any]) -> str | None:
    """Return why these clients have no valid token, a sentence; None if they have, or need none."""
    provider: TokenProvider | None = connection.get("sasl_oauth_token_provider")
    return None if provider is None else provider.fault


def _first_sentence(answers: Iterable[_Answer]) -> str | None:
    return next((each.sentence for each in answers if isinstance(each, _Refused)), None)


async def _look_at(brokers: Iterable[BrokerAddress], options: Mapping[str, Any]) -> list[_Answer]:
    return await asyncio.gather(*(_Look(broker, options).answer() for broker in brokers))


class _Connection(SessionConnection):
    """Notes what was asked: the step at which a broker says no says more than what it says."""

    def __init__(self, broker: BrokerAddress, **options: Any) -> None:
        super().__init__(broker.host, broker.port, request_timeout_ms=int(_STEP * 1000), **options)
        self.asked: list[type] = []

    def send(self, request: Any, *more: Any) -> Any:
        self.asked.append(type(request))
        return super().send(request, *more)


class _Look:
    """One address, looked at."""

    def __init__(self, broker: BrokerAddress, options: Mapping[str, Any]) -> None:
        self._broker = broker
        self._options = options
        self._context: ssl.SSLContext | None = options.get("ssl_context")
        self._protocol: str = options.get("security_protocol", "PLAINTEXT")

    async def answer(self) -> _Answer:
        connection = _Connection(self._broker, **self._options)
        try:
            await connection.connect()
            metadata = await connection.send(MetadataRequest([]))
        except (KafkaError, OSError, EOFError, ValueError, AssertionError) as error:
            sentence = await self._why(error, connection.asked)
            return None if sentence is None else _Refused(sentence)
        finally:
            connection.close()
        return _Accepted(
            tuple(BrokerAddress(host, port, "advertised") for _, host, port, *_ in metadata.brokers)
        )

    async def _why(self, error: Exception, asked: list[type]) -> str | None:
        broker = self._broker
        cause = error.__cause__ or error
        match cause:
            case TokenRefused():
                return str(cause)
            case TokenUnavailable():
                return None
            case ssl.SSLCertVerificationError():
                return of_certificate(broker, cause.verify_code, cause.verify_message, self._context)
            case ssl.SSLError() if sentence := of_tls_alert(broker, cause.reason, self._context):
                return sentence
            case UnsupportedSaslMechanismError():
                return without_mechanism(broker, self._options["sasl_mechanism"], await self._mechanisms())
            case IllegalSaslStateError():
                return takes_no_password(broker, self._protocol)
            case SaslAuthenticationFailed():
                return of_password(
                    broker, self._options["sasl_mechanism"], asked.count(SaslAuthenticateRequest)
                )
        return await self._why_hung_up(cause, asked)

    async def _why_hung_up(self, cause: BaseException, asked: list[type]) -> str | None:
        """Look at what the port speaks; a refused or unknown address is nobody's refusal."""
        if not asked and not isinstance(cause, ConnectionResetError | TimeoutError | ssl.SSLError):
            return None
        if MetadataRequest in asked:  # what a listener that wants a password answers not at all
            offered = [] if "sasl_mechanism" in self._options else await self._mechanisms()
            return asks_for_password(self._broker, self._protocol, offered) if offered else None
        if self._context is None:
            return asks_for_tls(self._broker, self._protocol) if await self._speaks_tls() else None
        if asked:
            # The broker looks at our certificate after we have looked at its own (TLS 1.3), and what it says
            # of ours may be lost behind a question that we had sent meanwhile.
            return of_tls_alert(self._broker, await self._alert(), self._context)
        return no_tls(self._broker, self._protocol) if await self._speaks_clear() else None

    async def _speaks_tls(self) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nothing is sent: only whether somebody shakes hands
        try:
            async with asyncio.timeout(_STEP):
                _, writer = await asyncio.open_connection(self._broker.host, self._broker.port, ssl=context)
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True

    async def _speaks_clear(self) -> bool:
        connection = _Connection(self._broker)
        try:
            await connection.connect()  # with its first question: which versions of which requests?
        except (KafkaError, OSError, EOFError, ValueError):
            return False
        finally:
            connection.close()
        return True

    async def _alert(self) -> str | None:
        """What the broker says to our certificate, if we say nothing more."""
        writer = None
        try:
            async with asyncio.timeout(_STEP):
                reader, writer = await asyncio.open_connection(
                    self._broker.host, self._broker.port, ssl=self._context
                )
                await reader.read(1)
        except ssl.SSLError as error:
            return error.reason
        except (OSError, TimeoutError):
            pass
        finally:
            if writer is not None:
                writer.transport.abort()
        return None

    async def _mechanisms(self) -> list[str]:
        """What a listener offers; nothing if it wants no password."""
        unauthenticated = {"SASL_SSL": "SSL", "SASL_PLAINTEXT": "PLAINTEXT"}.get(
            self._protocol, self._protocol
        )
        connection = _Connection(self._broker, security_protocol=unauthenticated, ssl_context=self._context)
        try:
            await connection.connect()
            answer = await connection.send(SaslHandShakeRequest(self._options.get("sasl_mechanism", "PLAIN")))
        except (KafkaError, OSError, EOFError):
            return []
        finally:
            connection.close()
        return sorted(answer.enabled_mechanisms)
