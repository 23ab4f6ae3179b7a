"""Hands a letter to the SMTP server, and says in a value what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import aiosmtplib

from examples.mailer.connection import smtp_options
from examples.mailer.letters import Letter
from examples.mailer.settings import Settings

TIMEOUT = 20.0  # seconds, of each step


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has taken it; the letter is its responsibility now (RFC 5321, 6.1)."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """It may go later: a 4xx, no connection, or something that is wrong with us and not with the letter."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will never go: a 5xx for this recipient or this letter."""

    why: str


Result = Accepted | TryAgain | Refused


class Smtp:
    """One server; a connection per letter keeps it simple (a busy mailer would keep a few open)."""

    def __init__(self, settings: Settings) -> None:
        """Take host, port and credentials.

        Raises:
            WrongSetting: the file of authorities cannot be used.
        """
        self._sender = settings.from_
        self._server = smtp_options(settings)

    async def send(self, letter: Letter) -> Result:
        """Send it. Never raises, whatever happens; the reasons quote no text of the server."""
        options = [] if letter.recipient.isascii() else ["SMTPUTF8", "BODY=8BITMIME"]
        try:
            async with aiosmtplib.SMTP(timeout=TIMEOUT, **self._server) as client:
                try:
                    await client.sendmail(
                        self._sender, [letter.recipient], letter.content, mail_options=options
                    )
                except aiosmtplib.SMTPNotSupported:
                    return Refused("smtputf8_not_offered")
        except aiosmtplib.SMTPRecipientsRefused as refusal:
            return _by_code(refusal.recipients[0].code)
        except aiosmtplib.SMTPDataError as refusal:
            return _by_code(refusal.code)
        except aiosmtplib.SMTPResponseException as refusal:
            # A 5xx to our sender, password or greeting is no fault of the letter's: dead letters for all of
            # them would empty the topic.
            return TryAgain(f"smtp_{refusal.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            if type(error) is aiosmtplib.SMTPException and self._server["start_tls"]:
                return TryAgain("starttls_not_offered")
            # "ConnectionRefusedError" or "SSLCertVerificationError" says more than "SMTPConnectError".
            return TryAgain(type(error.__cause__ or error).__name__)
        except (ValueError, TypeError, LookupError) as error:
            # aiosmtplib cannot put this letter on the wire, and could not at the next attempt.
            return Refused(type(error).__name__)
        except Exception as error:  # a fault that nobody has foreseen may pass, and must not end the mailer
            return TryAgain(type(error).__name__)
        return Accepted()


def _by_code(code: int) -> Result:
    return Refused(f"smtp_{code}") if code >= 500 else TryAgain(f"smtp_{code}")
