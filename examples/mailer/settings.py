"""What can be set, by environment; anything that is not known is refused before the first letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from examples.mailer.addresses import recipient
from examples.mailer.links import CHOICES, SIGNED, VALUES, is_template, tell_choices_apart
from examples.settings import KafkaSettings, setting

PREFIX = "MAILER_"
SHORTEST_SECRET = 16  # characters
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(KafkaSettings):
    """Each is read from ``MAILER_`` and its name in capitals; those without a default must be given."""

    PREFIX: ClassVar[str] = PREFIX

    from_: str = setting("The sender's address")
    link_base: str = setting("What the links in the letters begin with: the page behind the buttons")
    link_secret: str = setting("Signs `{token}`; the page behind the links needs it too", "", secret=True)
    link_confirm: str = setting("Template of the link behind the button of a subscriber", SIGNED)
    link_confirm_opt_in: str = setting("The same behind the button that confirms and opts in", SIGNED)
    link_confirm_opt_out: str = setting("The same behind the button that confirms and opts out", SIGNED)
    link_reject: str = setting("The same for those who did not sign", SIGNED)
    action_id_header: str = setting(
        "Name of a header with `action:` and the actionId, by which Proca knows what bounced; unset: none", ""
    )
    topic: str = setting("Read: one letter for each record", "confirmation-emails")
    dead_letters_topic: str = setting(
        "Written: records that got no letter; made if it is missing", "confirmation-emails.dlq"
    )
    group_id: str = setting("Consumer group; its offsets say what was sent", "mailer")
    smtp_host: str = setting("The server that takes the letters", "localhost")
    smtp_port: int = setting("Its port: 25, 587 for starttls, 465 for tls", 25, least=1, most=65535)
    smtp_security: str = setting(
        "Encrypt after STARTTLS, from the first byte (tls), or not",
        "none",
        choices=("none", "starttls", "tls"),
    )
    smtp_ca_file: str = setting("Who may vouch for the server, PEM; unset: the system's authorities", "")
    smtp_user: str = setting("User at the server; unset: no login", "")
    smtp_password: str = setting("Password at the server", "", secret=True)
    sent_file: str = setting("Remembers which ids were sent; on a volume that stays", "mailer-sent.sqlite")
    sent_days: int = setting("For so many days; longer than the topic's retention", 30, least=1, most=36_500)
    alive_file: str = setting("Touched while the mailer is at work, for `healthy`; unset: no file", "")
    web_host: str = setting("Where `/metrics`, `/livez` and `/readyz` are served", "127.0.0.1")
    web_port: int = setting("Their port; 0: they are not served", 0, least=0, most=65535)
    retry_first: float = setting(
        "Seconds before the second attempt; then twice as long, and so on", 1.0, least=0.01, most=3_600
    )
    retry_longest: float = setting("Seconds between two attempts at most", 60.0, least=0.01, most=86_400)

    @property
    def link_templates(self) -> dict[str, str]:
        """The template of each choice's link."""
        return {choice: getattr(self, _template(choice)) for choice in CHOICES}

    def objections(self) -> Iterator[str]:
        """Say in sentences which values cannot be used beside the others."""
        yield from KafkaSettings.objections(self)
        if recipient(self.from_) is None or not self.from_.isascii():
            yield "MAILER_FROM must be one address in ASCII, such as campaigns@example.org, without a name."
        if not self.link_base.startswith(("https://", "http://")):
            yield "MAILER_LINK_BASE must begin with https:// (or http://, to try it out)."
        for choice, template in self.link_templates.items():
            if not is_template(template):
                yield (
                    f"{PREFIX}{_template(choice).upper()} must be {{base}}/ and the rest of a URL,"
                    f" with {{token}} or {{actionId}}; there are {', '.join(map('{{{}}}'.format, VALUES))}."
                )
        if not tell_choices_apart(self.link_templates):
            yield (
                "MAILER_LINK_CONFIRM_OPT_IN and MAILER_LINK_REJECT must differ from each other and from"
                " the other links: nobody could tell what was chosen."
            )
        if (
            any("{token}" in each for each in self.link_templates.values())
            and len(self.link_secret) < SHORTEST_SECRET
        ):
            yield f"MAILER_LINK_SECRET must have {SHORTEST_SECRET} characters or more."
        if self.action_id_header and not re.fullmatch(r"X-[A-Za-z0-9-]{1,70}", self.action_id_header):
            yield "MAILER_ACTION_ID_HEADER must be a header's name with X-, such as X-MJ-CustomID."
        if bool(self.smtp_user) != bool(self.smtp_password):
            yield "MAILER_SMTP_USER and MAILER_SMTP_PASSWORD go together."
        if self.smtp_password and self.smtp_security == "none" and self.smtp_host not in _LOOPBACK:
            yield (
                "MAILER_SMTP_PASSWORD would be sent in the clear:"
                " MAILER_SMTP_SECURITY must be starttls or tls."
            )
        if self.smtp_ca_file and self.smtp_security == "none":
            yield (
                "MAILER_SMTP_CA_FILE is set and MAILER_SMTP_SECURITY is none:"
                " without TLS, it would do nothing."
            )


def _template(choice: str) -> str:
    return f"link_{choice.replace('-', '_')}"
