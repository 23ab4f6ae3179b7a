"""Whose lookup is asked how."""

import logging
from pathlib import Path

import pytest

from streams.lookup.client import basic
from streams.messages.decode import Outcome
from streams.settings.load import load_settings
from streams.settings.organisations import OrganisationsInForce
from streams.settings.organisations_file import Organisations, OrganisationsError

SECRET = "canary-7f3a"
FILE = """
[default]
lookup = "none"

[organisation.310]
url = "https://crm.example.org/lookup"
authorization_env = "CRM_SECRET"
deadline = "500ms"
subscribed_lifetime = "2h"
not_subscribed_lifetime = 0
"""


def policies(**environ: str) -> OrganisationsInForce:
    return OrganisationsInForce(
        load_settings({f"STREAMS_{name}": text for name, text in environ.items()}), environ
    )


def from_file(path: Path, text: str = FILE) -> OrganisationsInForce:
    path.write_text(text)
    return OrganisationsInForce(
        load_settings({"STREAMS_ORGANISATIONS_FILE": str(path)}), {"CRM_SECRET": SECRET}
    )


def test_what_a_message_says_decides_only_where_the_file_wants_that(tmp_path: Path) -> None:
    """Off by default, also without a file; the default lends it to entries that say nothing else."""
    assert not policies().message_decides(310)
    assert not from_file(tmp_path / "off.toml").message_decides(310)
    believed = FILE.replace("[default]", '[default]\nis_subscribed_in_message = "believed"')
    found = from_file(
        tmp_path / "on.toml", f'{believed}\n[organisation.311]\nis_subscribed_in_message = "ignored"'
    )
    assert [found.message_decides(org_id) for org_id in (1, 310, 311)] == [True, True, False]


def test_without_a_url_nobody_is_asked() -> None:
    """No lookup configured: every organisation has none, and none has a name of its own."""
    found = policies()
    assert found.organisations.of(310).lookup is None
    assert not found.named(310)


def test_one_lookup_for_everybody_comes_from_plain_settings() -> None:
    """Url, deadline, concurrency and lifetimes are those of the settings, for every organisation."""
    found = policies(
        LOOKUP_URL="http://crm.example.org/",
        LOOKUP_DEADLINE="0.7",
        LOOKUP_CONCURRENCY="9",
        LOOKUP_KEEP_SUBSCRIBED="50",
        LOOKUP_KEEP_NOT_SUBSCRIBED="0",
    )
    policy = found.organisations.of(310)
    assert policy.lookup is not None
    assert (policy.lookup.url, policy.lookup.deadline) == ("http://crm.example.org/", 0.7)
    assert (policy.concurrency, policy.lookup.connections) == (9, 9)
    assert policy.lookup.authorization is None
    assert found.lifetime(310, Outcome.EXISTING) == 50
    assert found.lifetime(310, Outcome.NON_EXISTING) == 0
    assert not found.named(310)


def test_credentials_are_the_raw_header_or_user_and_password() -> None:
    """Either kind of credentials becomes the Authorization header; its repr does not show it."""
    raw = policies(LOOKUP_URL="http://crm/", LOOKUP_AUTHORIZATION=f"Bearer {SECRET}").organisations.default
    both = policies(LOOKUP_URL="http://crm/", LOOKUP_USER="u", LOOKUP_PASSWORD=SECRET).organisations.default
    assert raw.lookup is not None
    assert both.lookup is not None
    assert raw.lookup.authorization == f"Bearer {SECRET}"
    assert both.lookup.authorization == basic("u", SECRET)
    assert SECRET not in repr(raw) + repr(both)


def test_the_file_gives_each_organisation_its_own(tmp_path: Path) -> None:
    """Who has an entry is asked by it, and named; everybody else by the default."""
    found = from_file(tmp_path / "organisations.toml")
    policy = found.organisations.of(310)
    assert policy.lookup is not None
    assert (policy.lookup.url, policy.lookup.authorization) == ("https://crm.example.org/lookup", SECRET)
    assert (found.named(310), found.named(311)) == (True, False)
    assert found.lifetime(310, Outcome.EXISTING) == 7_200
    assert found.lifetime(310, Outcome.NON_EXISTING) == 0
    assert found.lifetime(311, Outcome.NON_EXISTING) > 0
    assert found.organisations.of(311).lookup is None


def test_a_wrong_file_stops_the_start(tmp_path: Path) -> None:
    """At the start there is no old file to go on with."""
    with pytest.raises(OrganisationsError, match="deadline"):
        from_file(tmp_path / "organisations.toml", FILE.replace("500ms", "soon"))


def test_a_changed_file_is_taken_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a reload the new plans are in force here, and whoever applies them gets the same."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "organisations.toml"
    found = from_file(path)
    path.write_text(FILE.replace("310", "311").replace('"2h"', '"1h"'))
    applied: list[Organisations] = []
    found.reload(applied.append)
    assert applied == [found.organisations]
    assert (found.named(310), found.named(311)) == (False, True)
    assert found.lifetime(311, Outcome.EXISTING) == 3_600
    assert "1 with an entry" in caplog.text


@pytest.mark.parametrize("fault", ["wrong", "not TOML", "gone", "secret not set"])
def test_a_wrong_file_changes_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    """The old plans stay in force, nobody is told, and the log says what is wrong, without the secret."""
    path = tmp_path / "organisations.toml"
    found = from_file(path)
    before = found.organisations
    match fault:
        case "wrong":
            path.write_text(FILE.replace("500ms", "soon"))
        case "not TOML":
            path.write_text(f"[default\n{SECRET}")
        case "gone":
            path.unlink()
        case "secret not set":
            path.write_text(FILE.replace("CRM_SECRET", "OTHER_SECRET"))
    applied: list[Organisations] = []
    found.reload(applied.append)
    assert applied == []
    assert found.organisations is before
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(path) in record.getMessage()
    assert SECRET not in caplog.text


def test_without_a_file_a_reload_keeps_what_was(caplog: pytest.LogCaptureFixture) -> None:
    """A hang-up signal does no harm where there is nothing to read."""
    found = policies(LOOKUP_URL="http://crm/")
    before = found.organisations
    found.reload(lambda _: None)
    assert found.organisations == before
