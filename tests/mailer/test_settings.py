"""What the mailer refuses to start with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.mailer.connection import smtp_options
from examples.mailer.settings import Settings
from examples.settings import WrongSetting, read_settings
from tests.mailer.test_links import PROCA

MAILER = Path(__file__).parents[2] / "examples/mailer"
GIVEN = {
    "MAILER_FROM": "confirm@example.org",
    "MAILER_LINK_BASE": "https://act.example.org",
    "MAILER_LINK_SECRET": "a secret for the tests",
}


def test_what_is_given_is_read_as_its_kind() -> None:
    """Numbers and truth values are no texts; other programs' variables are nobody's business."""
    settings = read_settings(
        Settings,
        GIVEN
        | {"MAILER_SMTP_PORT": "587", "MAILER_RETRY_FIRST": "0.5", "MAILER_SMTP_USER": "", "PATH": "/bin"},
    )
    assert settings.from_ == "confirm@example.org"
    assert (settings.smtp_port, settings.retry_first, settings.smtp_user) == (587, 0.5, "")


def test_secrets_may_come_from_files(tmp_path: Path) -> None:
    """As Docker and Kubernetes mount them, with or without a line break at the end."""
    (tmp_path / "secret").write_text("a secret for the tests\n")
    environ = dict(GIVEN)
    environ["MAILER_LINK_SECRET_FILE"] = str(tmp_path / "secret")
    with pytest.raises(WrongSetting, match="MAILER_LINK_SECRET and MAILER_LINK_SECRET_FILE are both set"):
        read_settings(Settings, environ)
    del environ["MAILER_LINK_SECRET"]
    assert read_settings(Settings, environ).link_secret == "a secret for the tests"
    with pytest.raises(WrongSetting, match="MAILER_FROM_FILE is no setting"):
        read_settings(Settings, GIVEN | {"MAILER_FROM_FILE": str(tmp_path / "secret")})


def example(name: str) -> dict[str, str]:
    """One of the files with settings, as Docker reads it."""
    lines = (MAILER / f"presets/{name}.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("name", "host", "header"),
    [
        ("mailjet", "in-v3.mailjet.com", "X-MJ-CustomID"),
        ("brevo", "smtp-relay.brevo.com", "X-Mailin-Tag"),
        ("ses", "email-smtp.eu-west-1.amazonaws.com", ""),
    ],
)
def test_the_settings_for_each_relay_are_taken(name: str, host: str, header: str) -> None:
    """With a login and Proca's links they are complete, and the password is not sent in the clear."""
    own = {"MAILER_FROM": "confirm@example.org", "MAILER_SMTP_PASSWORD": "secret"}
    settings = read_settings(Settings, example(name) | example("proca") | own)
    options = smtp_options(settings)
    assert (options["hostname"], options["port"], options["start_tls"]) == (host, 587, True)
    assert (bool(options["username"]), options["password"]) == (True, "secret")
    assert settings.action_id_header == header
    assert settings.link_templates == PROCA


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"MAILER_SMPT_HOST": "x"}, "MAILER_SMPT_HOST is no setting"),
        ({"MAILER_SMTP_PORT": "smtp"}, "MAILER_SMTP_PORT must be a whole number"),
        ({"MAILER_SMTP_PORT": "65536"}, "MAILER_SMTP_PORT must be a whole number from 1 to 65535"),
        ({"MAILER_SMTP_SECURITY": "ssl"}, "MAILER_SMTP_SECURITY must be none, starttls, tls"),
        ({"MAILER_SMTP_PORT": "9" * 5_000}, "MAILER_SMTP_PORT must be a whole number from 1 to 65535"),
        ({"MAILER_SENT_DAYS": "9" * 400}, "MAILER_SENT_DAYS must be a whole number from 1 to 36500"),
        ({"MAILER_RETRY_FIRST": "9" * 400}, "MAILER_RETRY_FIRST must be a number from 0.01 to 3600"),
        ({"MAILER_RETRY_LONGEST": "inf"}, "MAILER_RETRY_LONGEST must be a number from 0.01 to 86400"),
        ({"MAILER_LINK_SECRET_FILE": "/" + "x" * 5_000, "MAILER_LINK_SECRET": ""}, "must name a file"),
        ({"MAILER_RETRY_FIRST": "nan"}, "MAILER_RETRY_FIRST must be a number from 0.01"),
        ({"MAILER_SMTP_USER": "u"}, "MAILER_SMTP_USER and MAILER_SMTP_PASSWORD go together"),
        (
            {
                "MAILER_SMTP_HOST": "mail.example.org",
                "MAILER_SMTP_USER": "u",
                "MAILER_SMTP_PASSWORD": "short",
            },
            "MAILER_SMTP_PASSWORD would be sent in the clear",
        ),
        ({"MAILER_SMTP_CA_FILE": "ca.pem"}, "MAILER_SMTP_CA_FILE is set and MAILER_SMTP_SECURITY is none"),
        ({"MAILER_SMTP_PASSWORD_FILE": "/no/such"}, "MAILER_SMTP_PASSWORD_FILE must name a file that can be"),
        ({"MAILER_KAFKA_SECURITY_PROTOCOL": "TLS"}, "MAILER_KAFKA_SECURITY_PROTOCOL must be PLAINTEXT, SSL"),
        (
            {"MAILER_KAFKA_CA_FILE": "ca.pem"},
            "MAILER_KAFKA_CA_FILE is set and MAILER_KAFKA_SECURITY_PROTOCOL",
        ),
        ({"MAILER_KAFKA_SASL_PASSWORD": "short"}, "MAILER_KAFKA_SASL_PASSWORD is set and MAILER_KAFKA"),
        ({"MAILER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "MAILER_KAFKA_SASL_MECHANISM is missing and MAILER"),
        (
            {"MAILER_KAFKA_SECURITY_PROTOCOL": "SSL", "MAILER_KAFKA_CLIENT_KEY_FILE": "key.pem"},
            "MAILER_KAFKA_CLIENT_CERTIFICATE_FILE and MAILER_KAFKA_CLIENT_KEY_FILE go together",
        ),
        ({"MAILER_FROM": ""}, "MAILER_FROM must be set"),
        ({"MAILER_FROM": "campaigns"}, "MAILER_FROM must be one address in ASCII"),
        ({"MAILER_FROM": "Us <us@example.org>"}, "MAILER_FROM must be one address in ASCII"),
        ({"MAILER_FROM": "ü@example.org"}, "MAILER_FROM must be one address in ASCII"),
        ({"MAILER_LINK_BASE": "act.example.org"}, "MAILER_LINK_BASE must begin"),
        ({"MAILER_LINK_SECRET": "short"}, "MAILER_LINK_SECRET must have 16"),
        ({"MAILER_LINK_SECRET": ""}, "MAILER_LINK_SECRET must have 16"),
        ({"MAILER_LINK_CONFIRM": "{base}/{actionId}/{email}"}, "MAILER_LINK_CONFIRM must be {base}/"),
        (
            {"MAILER_LINK_CONFIRM_OPT_IN": "https://x.example/{token}"},
            "MAILER_LINK_CONFIRM_OPT_IN must be",
        ),
        ({"MAILER_LINK_CONFIRM_OPT_OUT": "{base}{token}"}, "MAILER_LINK_CONFIRM_OPT_OUT must be"),
        ({"MAILER_LINK_REJECT": "{base}/thanks"}, r"MAILER_LINK_REJECT .* with {token} or {actionId}"),
        ({"MAILER_LINK_REJECT": "{base}/{token}?redir=https://x.example/a b"}, "MAILER_LINK_REJECT must"),
        (
            dict.fromkeys(("MAILER_LINK_CONFIRM_OPT_IN", "MAILER_LINK_CONFIRM_OPT_OUT"), "{base}/{actionId}"),
            "nobody could tell what was chosen",
        ),
        ({"MAILER_ACTION_ID_HEADER": "Bcc"}, "MAILER_ACTION_ID_HEADER must be a header's name"),
        ({"MAILER_ACTION_ID_HEADER": "X-A: b"}, "MAILER_ACTION_ID_HEADER must be a header's name"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    """One sentence with its name, and no secret in it."""
    with pytest.raises(WrongSetting, match=says) as refusal:
        read_settings(Settings, GIVEN | environ)
    assert "short" not in str(refusal.value)


@pytest.mark.parametrize("name", ["MAILER_SENT_FILE", "MAILER_ALIVE_FILE"])
@pytest.mark.parametrize("file", ["no-such-folder/file", "x" * 5_000], ids=["no folder", "long"])
def test_a_file_that_cannot_be_written_is_told_before_the_first_letter(
    name: str, file: str, tmp_path: Path
) -> None:
    """One sentence with the setting's name and exit code 2, and not a traceback in the middle of the work."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.mailer"],
        env={
            "PATH": os.environ["PATH"],
            **GIVEN,
            "MAILER_SENT_FILE": str(tmp_path / "sent"),
            name: str(tmp_path / file),
        },
        cwd=MAILER.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"{name} must name a file that can be written, or made.\n"
