"""Settings: what is given is checked, all at once, and nothing secret is shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from streams.settings.load import load_settings
from streams.settings.table import SettingsError, describe


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    return caught.value.problems


def test_the_defaults_are_valid_together() -> None:
    """An empty environment makes a complete set of settings."""
    settings = load_settings({})
    assert settings.kafka_bootstrap_servers == ("127.0.0.1:9092",)
    assert settings.actions_start is None
    assert settings.model_fields_set == set()


def test_values_arrive_with_their_types() -> None:
    """Text from the environment becomes numbers, tuples and paths."""
    settings = load_settings(
        {
            "STREAMS_KAFKA_BOOTSTRAP_SERVERS": "a:9092, [::1]:9093",
            "STREAMS_LOOKUP_DEADLINE": "0.5",
            "STREAMS_WEB_PORT": "7000",
            "STREAMS_STORE_FOLDER": "/data",
            "STREAMS_LOG_LEVEL": "WARNING",
            "STREAMS_STORE": "memory",
        }
    )
    assert settings.kafka_bootstrap_servers == ("a:9092", "[::1]:9093")
    assert (settings.lookup_deadline, settings.web_port) == (0.5, 7000)
    assert settings.store_folder == Path("/data")
    assert (settings.log_level, settings.store) == ("warning", "memory")


def test_settings_do_not_change() -> None:
    """A loaded setting cannot be assigned to."""
    settings = load_settings({})
    with pytest.raises(ValidationError):
        settings.web_port = 1


def test_an_empty_value_is_no_value() -> None:
    """Compose files pass unset variables on as empty ones: these mean the default."""
    settings = load_settings({"STREAMS_WEB_PORT": "", "ACTIONS_START": "", "STREAMS_LOOKUP_PASSWORD": ""})
    assert settings == load_settings({})


def test_brokers_are_named_or_left_out() -> None:
    """An empty list of brokers is a variable that somebody forgot: it never means those of this machine."""
    assert problems(STREAMS_KAFKA_BOOTSTRAP_SERVERS="") == (
        "STREAMS_KAFKA_BOOTSTRAP_SERVERS is empty: give it a value, or leave it out for its default",
    )


@pytest.mark.parametrize("name", ["ACTIONS_START", "STREAMS_ACTIONS_START"])
def test_two_settings_have_a_bare_name(name: str) -> None:
    """ACTIONS_START is read with and without the prefix."""
    assert load_settings({name: "latest"}).actions_start == "latest"


def test_the_organisations_file_has_a_bare_name(tmp_path: Path) -> None:
    """ORGANISATIONS_FILE is read without the prefix, and the file must be there."""
    path = tmp_path / "organisations.toml"
    assert problems(ORGANISATIONS_FILE=str(path)) == (
        f"ORGANISATIONS_FILE={path}: allowed is a TOML file that exists",
    )
    path.touch()
    assert load_settings({"ORGANISATIONS_FILE": str(path)}).organisations_file == path


def test_a_bare_and_a_prefixed_name_must_agree() -> None:
    """The same setting under both names with two values is refused, with one value it is not."""
    assert problems(ACTIONS_START="latest", STREAMS_ACTIONS_START="earliest") == (
        "ACTIONS_START and STREAMS_ACTIONS_START are the same setting with two values",
    )
    assert load_settings({"ACTIONS_START": "latest", "STREAMS_ACTIONS_START": "latest"}).actions_start


def test_all_problems_are_reported_at_once() -> None:
    """Each wrong value is named with its range, together with unknown names and contradictions."""
    found = problems(
        STREAMS_LOOKUP_DEADLINE="40",
        STREAMS_WEB_PORT="http",
        STREAMS_STORE="redis",
        STREAMS_SESSION_TIMEOUT="6",
        STREAMS_LOOKUP_DEADLIN="1",
    )
    assert found == (
        "STREAMS_LOOKUP_DEADLIN is no setting: did you mean STREAMS_LOOKUP_DEADLINE?",
        "STREAMS_STORE=redis: allowed is rocksdb, memory",
        "STREAMS_LOOKUP_DEADLINE=40: allowed is 0.05 to 30 s",
        "STREAMS_WEB_PORT=http: allowed is 1 to 65,535",
        "STREAMS_HEARTBEAT_INTERVAL (3 s) must be at most a third of STREAMS_SESSION_TIMEOUT (6 s)",
    )
    with pytest.raises(SettingsError, match=r"^2 settings are wrong:\n  STREAMS_STORE="):
        load_settings({"STREAMS_STORE": "x", "STREAMS_WEB_PORT": "0"})


def test_a_wrong_value_is_not_also_called_a_contradiction() -> None:
    """A rule between two settings is not applied when one of them is wrong by itself."""
    assert len(problems(STREAMS_SESSION_TIMEOUT="1", STREAMS_HEARTBEAT_INTERVAL="20")) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAMS_LOOKUP_AUTHORIZATION", "Bearer s3cr3t\nX-Evil: 1"),
        ("STREAMS_LOOKUP_URL", "https://crm:s3cr3t@crm.example/"),
        ("STREAMS_LOOKUP_URL", "ftp://crm.example/?key=s3cr3t"),
        ("STREAMS_LOOKUP_URL", "https://crm:s3/cr3t@crm.example/"),
        ("STREAMS_LOOKUP_URL", "https://crm:s?cr3t@crm.example/"),
        ("STREAMS_LOOKUP_URL", "https://crm:s@cr3t@crm.example/"),
        ("STREAMS_LOOKUP_URL", "https://crm:s3cr3t"),
        ("STREAMS_LOOKUP_URL", "https://crm:xs3/cr3t"),
        ("STREAMS_LOOKUP_USER", "crm:my s3:cr3t"),
        ("STREAMS_LOOKUP_URL", "crm:s3cr3t@crm.example"),
        ("STREAMS_LOOKUP_USER", "crm:s3cr3t"),
        ("STREAMS_OTLP_ENDPOINT", "https://crm:s3/cr3t@otel.example/"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "user:s3cr3t@kafka:9092"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092,user:s3/cr3t@kafka-2:9092"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "SASL_SSL://user:s3cr3t@kafka:9092"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092:user:s3cr3t"),
        ("STREAMS_KAFKA_SASL_PASSWORD_FILE", "s3cr3t"),
        ("STREAMS_LOOKUP_AUTHORIZATION_FILE", "Bearer s3cr3t"),
        ("STREAMS_LOOKUP_PASWORD", "s3cr3t"),
    ],
)
def test_a_refused_secret_is_not_shown(name: str, value: str) -> None:
    """The message names the setting and neither the password, nor a URL's, nor that of a mistyped name."""
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    assert name in str(caught.value)
    assert "s3" not in str(caught.value)
    assert "cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (
            "STREAMS_LOOKUP_URL",
            "https://crm:s3/cr3t@crm.example:80/a?b",
            "https://********@crm.example:80/a?********",
        ),
        ("STREAMS_LOOKUP_URL", "crm.example", "crm.example"),
        ("STREAMS_LOOKUP_URL", "http://crm.example:99999/", "http://crm.example:99999/"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "me:s3cr3t@kafka:9092", "********@kafka:9092"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "::1:9092", "::1:9092"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVERS", "http://kafka:9092", "http://kafka:9092"),
    ],
)
def test_the_rest_of_a_wrong_value_is_shown(name: str, value: str, shown: str) -> None:
    """Whoever made the mistake finds it by what stands around the secret."""
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name}={shown}: allowed is ")


def test_an_ipv6_broker_without_brackets_is_told_of_them() -> None:
    """Which colon begins the port cannot be known without them."""
    (problem,) = problems(STREAMS_KAFKA_BOOTSTRAP_SERVERS="::1:9092")
    assert problem.endswith("IPv6 in brackets, as in [::1]:9092")


@pytest.mark.parametrize(
    "value",
    [
        "9" * 400,
        "-" + "9" * 5_000,
        "0." + "0" * 400 + "1",
        "1e999",
        "/" + "x" * 5_000,
        "/x" * 2_500,
        "/etc/shadow/x",
        "a:" + "9" * 5_000,
        "http://" + "x" * 5_000,
        "http://a:" + "9" * 5_000,
        "\udcff",
        "ż" * 300,
        "[" * 5_000,
        "~nobody-here/x",
    ],
    ids=lambda value: repr(value[:12]),
)
def test_any_value_of_any_setting_is_taken_or_refused(value: str) -> None:
    """Paths of 5,000 characters and numbers of 400 digits are sentences of a bearable length, too."""
    told: set[str] = set()
    for row in describe():
        for name in (row.name, f"{row.name}_FILE") if row.secret else (row.name,):
            try:
                load_settings({name: value})
            except SettingsError as error:
                told.update(error.problems)
    assert told
    assert max(map(len, told)) < 400


def test_a_value_with_line_breaks_stays_on_one_line() -> None:
    """A control character in a wrong value is shown escaped, so that it cannot forge a log line."""
    (problem,) = problems(STREAMS_STORE="memory\nINFO all is well")
    assert problem == r"STREAMS_STORE='memory\nINFO all is well': allowed is rocksdb, memory"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STREAMS_SERVICE_HOST", "10.0.0.1"),
        ("STREAMS_SERVICE_PORT", "6066"),
        ("STREAMS_SERVICE_PORT_HTTP", "6066"),
        ("STREAMS_PORT", "tcp://10.0.0.1:6066"),
        ("STREAMS_PORT_6066_TCP", "tcp://10.0.0.1:6066"),
        ("STREAMS_PORT_6066_TCP_PROTO", "tcp"),
        ("STREAMS_PORT_6066_TCP_PORT", "6066"),
        ("STREAMS_PORT_6066_TCP_ADDR", "10.0.0.1"),
        ("STREAMS_METRICS_V2_SERVICE_HOST", "10.0.0.1"),
        ("STREAMS_METRICS_V2_SERVICE_PORT", "80"),
        ("STREAMS_METRICS_V2_PORT", "udp://10.0.0.1:80"),
        ("STREAMS_METRICS_V2_PORT_80_UDP_ADDR", "10.0.0.1"),
        ("STREAMS_WEB_PORT", "tcp://10.0.0.1:80"),
        ("STREAMS_WEB_SERVICE_PORT", "80"),
    ],
)
def test_what_kubernetes_injects_for_a_service_is_ignored(name: str, value: str) -> None:
    """A Service called streams or streams-… must not stop the pods that it serves."""
    assert load_settings({name: value}) == load_settings({})


@pytest.mark.parametrize(
    ("name", "value", "advice"),
    [
        ("STREAMS_PORT", "6066", "STREAMS_WEB_PORT"),
        ("STREAMS_KAFKA_BOOTSTRAP_SERVER", "a:1", "STREAMS_KAFKA_BOOTSTRAP_SERVERS"),
        ("STREAMS_ACTION_TOPIC", "a", "STREAMS_ACTIONS_TOPIC"),
        ("STREAMS_QQQ", "a", "`streams settings`"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, value: str, advice: str) -> None:
    """A typo under our prefix is an error that says which name was probably meant."""
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name} is no setting")
    assert advice in problem


def test_other_names_are_nobodys_business() -> None:
    """Only names with the prefix, and the two bare ones, are looked at."""
    assert load_settings({"PATH": "/bin", "XSTREAMS_WEB_PORT": "1", "WEB_PORT": "x"}) == load_settings({})
