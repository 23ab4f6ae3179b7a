"""The table of settings: ranges, masks, and what is shown of each."""

import re

import pytest
from pydantic import ValidationError

from streams.delivery import commit_metadata
from streams.settings.load import load_settings
from streams.settings.table import (
    MASK,
    MOST_PENDING_LOOKUPS,
    SettingRow,
    Settings,
    describe,
    effective,
    variables_in,
)


@pytest.mark.parametrize(
    "row",
    [row for row in describe() if re.fullmatch(r"[\d.,]+ to [\d.,]+", row.allowed)],
    ids=lambda row: row.name,
)
def test_every_number_keeps_to_the_range_it_states(row: SettingRow) -> None:
    """The range that the table shows is the range that is enforced, its ends included."""
    low, high = (float(end.replace(",", "")) for end in row.allowed.split(" to "))
    assert low <= float(row.default) <= high
    field = row.name.removeprefix("STREAMS_").lower()
    for inside in (low, high):
        assert getattr(Settings.model_validate({field: f"{inside:.12g}"}), field) == inside
    for outside in (low - 1, high + 1, "nan", "inf", ""):
        with pytest.raises(ValidationError):
            Settings.model_validate({field: f"{outside}"})


def test_the_cap_on_pending_lookups_is_what_the_commit_metadata_holds() -> None:
    """The upper end of MAX_PENDING_LOOKUPS is the number that the metadata's layout is made for."""
    assert MOST_PENDING_LOOKUPS == commit_metadata.MAX_AWAITING
    row = next(row for row in describe() if row.name == "STREAMS_MAX_UNSETTLED")
    assert int(row.allowed.rpartition(" ")[2].replace(",", "")) < commit_metadata.MAX_SPAN


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    """Neither repr() nor the effective rows hold a password, a header value or a URL's query."""
    settings = load_settings(
        {
            "STREAMS_LOOKUP_URL": "https://crm.example/lookup?key=s3cr3t",
            "STREAMS_LOOKUP_USER": "proca",
            "STREAMS_LOOKUP_PASSWORD": "s3cr3t",
        }
    )
    rows = {each.row.name: each for each in effective(settings)}
    assert rows["STREAMS_LOOKUP_PASSWORD"].value == MASK
    assert rows["STREAMS_LOOKUP_AUTHORIZATION"].value is None
    assert rows["STREAMS_LOOKUP_URL"].value == f"https://crm.example/lookup?{MASK}"
    assert "s3cr3t" not in repr(list(rows.values()))
    assert "password=SecretStr('**********')" in repr(settings)
    assert settings.lookup_password is not None
    assert settings.lookup_password.get_secret_value() == "s3cr3t"


def test_the_source_of_each_value_is_told() -> None:
    """A value from the environment is marked as such, even where it equals the default."""
    rows = {
        each.row.name: each.source
        for each in effective(load_settings({"STREAMS_WEB_PORT": "6066", "ACTIONS_START": "latest"}))
    }
    given = {name for name, source in rows.items() if source == "environment"}
    assert given == {"STREAMS_WEB_PORT", "STREAMS_ACTIONS_START"}


def test_every_setting_is_documented() -> None:
    """Each row has a meaning of one line, what is allowed, and a default that is itself allowed."""
    rows = describe()
    assert len({row.name for row in rows}) == len(rows) == len(Settings.model_fields)
    for row in rows:
        assert row.allowed
        assert 10 < len(row.meaning) < 100
        assert "\n" not in row.meaning
        if row.default:
            load_settings({row.name: row.default})


def test_what_configures_a_worker_is_known_by_name() -> None:
    """A worker of the demo is not given another one's settings: prefixed, bare, or a secret's file."""
    ours = ["STREAMS_GROUP_ID", "SENTRY_DSN", "SENTRY_DSN_FILE", "ORGANISATIONS_FILE", "STREAMS_MISSPELT"]
    assert variables_in([*ours, "PATH", "SENTRY_ENVIRONMENT", "HOME"]) == ours
