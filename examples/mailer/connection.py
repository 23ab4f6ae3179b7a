"""How the mailer connects to the SMTP server: encrypted or not, whom it trusts, and as whom."""

from __future__ import annotations

from typing import Any

from examples.kafka import trusting
from examples.mailer.settings import Settings


def smtp_options(settings: Settings) -> dict[str, Any]:
    """What aiosmtplib is given to connect with.

    Raises:
        WrongSetting: the file of authorities cannot be used.
    """
    options: dict[str, Any] = {
        "hostname": settings.smtp_host,
        "port": settings.smtp_port,
        "username": settings.smtp_user or None,
        "password": settings.smtp_password or None,
        "use_tls": settings.smtp_security == "tls",
        # Never "if it is offered": somebody in between could take the offer out.
        "start_tls": settings.smtp_security == "starttls",
    }
    if settings.smtp_security != "none":
        options["tls_context"] = trusting("MAILER_SMTP_CA_FILE", settings.smtp_ca_file)
    return options
