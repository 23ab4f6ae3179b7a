"""Values of a single setting that a range or a choice cannot describe."""

import pytest

from streams.settings.load import load_settings
from streams.settings.table import SettingsError, describe

GOOD = {
    "KAFKA_BOOTSTRAP_SERVERS": [
        "a:1",
        "kafka-0.kafka:9092,kafka-1.kafka:9092",
        "10.0.0.1:65535",
        "[::1]:9092",
    ],
    "GROUP_ID": ["a", "blue.green_2-x"],
    "GROUP_INSTANCE_ID": ["worker-0"],
    "ACTIONS_TOPIC": ["proca.actions"],
    "LOOKUP_URL": [
        "http://127.0.0.1:8080",
        "https://crm.example/a/b?c=d",
        "http://[::1]:8/x",
        "http://crm_1/",
        "https://xn--bcher-kva.example/",
    ],
    "LOOKUP_USER": ["proca user"],
    "WEB_HOST": ["0.0.0.0", "::", "localhost"],
    "WEB_HOST_NAMES": ["streams.example.org", "a.example,b.example"],
}
BAD = {
    "KAFKA_BOOTSTRAP_SERVERS": [
        "a",
        "a:",
        ":9092",
        "a:0",
        "a:65536",
        "a:1,,b:1",
        "http://a:1",
        "::1:9092",
        "a b:1",
    ],
    "GROUP_ID": ["a b", "ä", "a/b", ".", "..", "x" * 201, "a\n"],
    "GROUP_INSTANCE_ID": ["a b"],
    "ACTIONS_TOPIC": ["a b", ".."],
    "LOOKUP_URL": [
        "crm.example",
        "ftp://crm.example/",
        "http://",
        "http:///lookup",
        "http://a..b/",
        "http://-a.example/",
        "http://crm.example:99999/",
        "http://crm.example:0/",
        "http://crm.example:x/",
        "http://user@crm.example/",
        "http://crm.example/#part",
        "http://crm.example/a b",
        "http://crm.example/ä",
        "http://[::1/",
    ],
    "LOOKUP_USER": ["a:b", "a\r\nb"],
    "LOOKUP_AUTHORIZATION": ["a\r\nb", "ä", "a\tb"],
    "WEB_HOST": ["a b", "http://a", "127.0.0.1:80"],
    "KAFKA_OAUTH_EXTENSIONS": ["a", "a=", "=b", "auth=b", "a b=c", "a=b,,c=d", "a=b\x01"],
    "WEB_HOST_NAMES": ["a b", "a.example,,b.example", "https://a.example"],
}


def credentials(name: str) -> dict[str, str]:
    """What must be given beside it for a credential to make sense."""
    return (
        {"STREAMS_LOOKUP_URL": "http://crm.example/", "STREAMS_LOOKUP_PASSWORD": "p"}
        if "USER" in name
        else {}
    )


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in GOOD for value in GOOD[name]])
def test_a_value_that_works_is_taken(name: str, value: str) -> None:
    """What Kafka, HTTP or the socket would take is allowed."""
    settings = load_settings({f"STREAMS_{name}": value, **credentials(name)})
    shown = getattr(settings, name.lower())
    assert (",".join(shown) if isinstance(shown, tuple) else shown) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_a_value_that_cannot_work_is_refused_at_the_start(name: str, value: str) -> None:
    """What would fail at the first connection or record is refused before there is one."""
    with pytest.raises(SettingsError) as caught:
        load_settings({f"STREAMS_{name}": value, **credentials(name)})
    (problem,) = caught.value.problems
    assert problem.startswith(f"STREAMS_{name}=")
    assert "allowed is" in problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("0.5 s", 0.5), ("0.1m", 6.0), ("2.5", 2.5), ("2", 2.0)],
)
def test_a_duration_may_have_a_unit(text: str, seconds: float) -> None:
    """As in the organisations file; a bare number is seconds."""
    assert load_settings({"STREAMS_LOOKUP_DEADLINE": text}).lookup_deadline == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["1ms", "1m", "5 minutes", "ms", "1e1s", "-1s"])
def test_a_duration_out_of_its_range_is_refused_with_its_unit_too(text: str) -> None:
    """The range is said in seconds, and what was given as it was given."""
    with pytest.raises(SettingsError, match=rf"STREAMS_LOOKUP_DEADLINE={text}: allowed is 0.05 to 30 s"):
        load_settings({"STREAMS_LOOKUP_DEADLINE": text})


def test_every_setting_in_seconds_takes_a_unit() -> None:
    """None of them is forgotten."""
    for row in describe():
        if row.unit == "s":
            load_settings({row.name: f"{float(row.default) * 1000:.12g}ms"})
