"""What the mailer refuses to start with."""

from __future__ import annotations

import pytest

from examples.mailer.settings import WrongSetting, read_settings

GIVEN = {
    "MAILER_FROM": "confirm@example.org",
    "MAILER_LINK_BASE": "https://act.example.org",
    "MAILER_LINK_SECRET": "a secret for the tests",
}


def test_what_is_given_is_read_as_its_kind() -> None:
    """Numbers and truth values are no texts; other programs' variables are nobody's business."""
    settings = read_settings(
        GIVEN | {"MAILER_SMTP_PORT": "587", "MAILER_SMTP_STARTTLS": "true", "PATH": "/bin"}
    )
    assert (settings.from_, settings.smtp_port, settings.smtp_starttls) == ("confirm@example.org", 587, True)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"MAILER_SMPT_HOST": "x"}, "MAILER_SMPT_HOST is no setting"),
        ({"MAILER_SMTP_PORT": "smtp"}, "MAILER_SMTP_PORT must be a whole number"),
        ({"MAILER_SMTP_STARTTLS": "1"}, "MAILER_SMTP_STARTTLS must be true or false"),
        ({"MAILER_FROM": ""}, "MAILER_FROM must be set"),
        ({"MAILER_LINK_BASE": "act.example.org"}, "MAILER_LINK_BASE must begin"),
        ({"MAILER_LINK_SECRET": "short"}, "MAILER_LINK_SECRET must have 16"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    """One sentence with its name, and no secret in it."""
    with pytest.raises(WrongSetting, match=says) as refusal:
        read_settings(GIVEN | environ)
    assert "short" not in str(refusal.value)
