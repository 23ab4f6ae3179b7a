"""Rules between settings: configurations that cannot work do not start."""

from pathlib import Path

import pytest

from streams.settings.load import load_settings
from streams.settings.table import SettingsError


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings({f"STREAMS_{name}": value for name, value in environ.items()})
    return caught.value.problems


def test_a_hanging_lookup_may_not_look_like_a_stuck_lane() -> None:
    """A lane that waits for one lookup, within its deadline, is not restarted; both numbers are named."""
    (problem,) = problems(LOOKUP_DEADLINE="12", STUCK_AFTER="12")
    assert problem == "STREAMS_LOOKUP_DEADLINE (12 s) must be less than STREAMS_STUCK_AFTER (12 s)"
    assert load_settings({"STREAMS_LOOKUP_DEADLINE": "11.9", "STREAMS_STUCK_AFTER": "12"})


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"TRANSACTION_TIMEOUT": "40"}, ("TRANSACTION_TIMEOUT (40)", "STUCK_AFTER (30)")),
        (
            {"PENDING_LOOKUPS_PER_ORGANISATION": "300", "MAX_PENDING_LOOKUPS": "299", "CHUNK_RECORDS": "200"},
            ("PENDING_LOOKUPS_PER_ORGANISATION (300)", "MAX_PENDING_LOOKUPS (299)"),
        ),
        (
            {"MAX_UNSETTLED": "500", "CHUNK_RECORDS": "400"},
            ("MAX_PENDING_LOOKUPS (512)", "MAX_UNSETTLED (500)"),
        ),
        ({"MAX_UNSETTLED": "1999"}, ("CHUNK_RECORDS (2000)", "MAX_UNSETTLED (1999)")),
        ({"HEARTBEAT_INTERVAL": "4"}, ("HEARTBEAT_INTERVAL (4 s)", "SESSION_TIMEOUT (10 s)")),
    ],
)
def test_a_part_is_not_larger_than_its_whole(environ: dict[str, str], names: tuple[str, str]) -> None:
    """Where one limit lies within another, both are named when it does not."""
    (problem,) = problems(**environ)
    assert all(name in problem for name in names)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ACTIONS_TOPIC", "EMAILS_TOPIC"),
        ("ACTIONS_TOPIC", "DEAD_LETTERS_TOPIC"),
        ("STATUS_TOPIC", "EMAILS_TOPIC"),
    ],
)
def test_topics_are_four(first: str, second: str) -> None:
    """A topic that is read and written at once would feed the worker its own output."""
    assert problems(**{first: "same", second: "same"}) == (
        f"STREAMS_{first} and STREAMS_{second} are both 'same'",
    )


def test_one_lookup_or_a_file_of_them(tmp_path: Path) -> None:
    """A lookup for every organisation beside a file of lookups leaves open which one is meant."""
    path = tmp_path / "o.toml"
    path.touch()
    (problem,) = problems(LOOKUP_URL="http://crm.example/", ORGANISATIONS_FILE=str(path))
    assert "set one of the two" in problem


URL = "http://crm.example/lookup"


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"LOOKUP_URL": URL, "LOOKUP_USER": "u"}, "go together"),
        ({"LOOKUP_URL": URL, "LOOKUP_PASSWORD": "p"}, "go together"),
        (
            {
                "LOOKUP_URL": URL,
                "LOOKUP_USER": "u",
                "LOOKUP_PASSWORD": "p",
                "LOOKUP_AUTHORIZATION": "Bearer x",
            },
            "both authenticate",
        ),
        ({"LOOKUP_AUTHORIZATION": "Bearer x"}, "STREAMS_LOOKUP_URL, which would use it, is not"),
    ],
)
def test_credentials_are_complete_and_used(environ: dict[str, str], text: str) -> None:
    """Half a credential, two of them, or one that nothing uses is a mistake worth stopping for."""
    (problem,) = problems(**environ)
    assert text in problem
