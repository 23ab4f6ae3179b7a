"""Hands a letter to the SMTP server, and says in a value what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import aiosmtplib

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
        """Take host, port and credentials."""
        self._sender = settings.from_
        self._server = {
            "hostname": settings.smtp_host,
            "port": settings.smtp_port,
            "start_tls": settings.smtp_starttls,
            "username": settings.smtp_user or None,
            "password": settings.smtp_password or None,
        }

    async def send(self, letter: Letter) -> Result:
        """Send it. Never raises for what a server or network does; the reasons quote no server's text."""
        try:
            await aiosmtplib.send(
                letter.message,
                sender=self._sender,
                recipients=[letter.recipient],
                timeout=TIMEOUT,
                **self._server,  # type: ignore[arg-type]  # one value of each kind
            )
        except aiosmtplib.SMTPRecipientsRefused as refusal:
            return _by_code(refusal.recipients[0].code)
        except aiosmtplib.SMTPDataError as refusal:
            return _by_code(refusal.code)
        except aiosmtplib.SMTPNotSupported:
            # Either the address needs SMTPUTF8 and the server has none, or STARTTLS or AUTH is not offered.
            return TryAgain("not_supported") if letter.recipient.isascii() else Refused("smtputf8")
        except aiosmtplib.SMTPResponseException as refusal:
            # A 5xx to our sender, password or greeting is no fault of the letter's: dead letters for all of
            # them would empty the topic.
            return TryAgain(f"smtp_{refusal.code}")
        except (aiosmtplib.SMTPException, OSError) as error:
            return TryAgain(type(error).__name__)
        return Accepted()


def _by_code(code: int) -> Result:
    return Refused(f"smtp_{code}") if code >= 500 else TryAgain(f"smtp_{code}")
