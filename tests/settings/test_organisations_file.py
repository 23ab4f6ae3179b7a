import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.lookup.breaker import BreakerPolicy
from streams.lookup.client import EmptyMeans, Endpoint, NotFound
from streams.lookup.rate import RatePolicy
from streams.messages.lookup_reply import SUBSCRIBED_WHEN
from streams.settings.organisation_keys import KEYS, InMessage
from streams.settings.organisations_file import (
    Organisation,
    Organisations,
    OrganisationsError,
    load_organisations,
)

EXAMPLE = Path(__file__).parents[2] / "organisations.example.toml"
URL = 'url = "https://crm.example.org/lookup"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "organisations.toml"


def load(path: Path, text: str, **environ: str) -> Organisations:
    path.write_text(text, encoding="utf-8")
    return load_organisations(path, environ)


def problems(path: Path, text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(OrganisationsError) as caught:
        load(path, text, **environ)
    assert str(path) in str(caught.value)
    for problem in caught.value.problems:
        assert problem in str(caught.value)
    return caught.value.problems


def problem(path: Path, text: str, **environ: str) -> str:
    [only] = problems(path, text, **environ)
    return only


def endpoint(organisation: Organisation) -> Endpoint:
    assert organisation.lookup is not None
    return organisation.lookup


def test_the_example_file_loads() -> None:
    """What we show people is valid, and means what its comments say."""
    organisations = load_organisations(EXAMPLE, {"CRM_TOKEN": "Bearer t", "CRM_310_PASSWORD": "p"})
    assert [policy.org_id for policy in organisations] == [310, 311, 312]
    default = organisations.of(1)
    assert endpoint(default).url == "https://crm.example.org/lookup"
    assert endpoint(default).authorization == "Bearer t"
    example = organisations.of(310)
    assert (example.name, example.subscribed_lifetime) == ("Example", 30 * 86_400)
    assert endpoint(example).on_not_found is NotFound.NOT_SUBSCRIBED
    assert organisations.of(311).lookup == replace(endpoint(default), deadline=0.5)
    assert organisations.of(312).lookup is None


def test_the_examples_defaults_are_the_defaults(path: Path) -> None:
    """The numbers in the example's default and breaker lines are those that hold when left out."""
    organisations = load_organisations(EXAMPLE, {"CRM_TOKEN": "t", "CRM_310_PASSWORD": "p"})
    bare = load(path, f"[default]\n{URL}").default
    example = organisations.default
    assert replace(example, lookup=None) == replace(bare, lookup=None)
    assert replace(endpoint(example), authorization=None) == endpoint(bare)
    assert organisations.of(311).breaker == BreakerPolicy()


def test_an_empty_file_asks_nobody(path: Path) -> None:
    """No default and no entry: no lookup for anybody."""
    assert load(path, "").of(310) == Organisation()


def test_what_is_left_out_has_its_default(path: Path) -> None:
    """An entry of nothing but a URL has the documented numbers."""
    policy = load(path, f"[organisation.310]\n{URL}").of(310)
    assert policy == Organisation(
        org_id=310,
        name=None,
        lookup=Endpoint(
            url="https://crm.example.org/lookup",
            authorization=None,
            deadline=2.0,
            on_not_found=NotFound.FAILURE,
            empty_means=EmptyMeans.NOT_SUBSCRIBED,
            connections=64,
            subscribed_when=SUBSCRIBED_WHEN,
        ),
        ca_pem=None,
        concurrency=64,
        queue=4096,
        subscribed_lifetime=86_400.0,
        not_subscribed_lifetime=3_600.0,
        breaker=BreakerPolicy(),
        in_message=InMessage.IGNORED,
        rate=RatePolicy(),
    )


def test_a_rate_and_what_an_empty_answer_means_are_read(path: Path) -> None:
    """Both are an organisation's own or the default's; a rate without a burst sends one request at a time."""
    organisations = load(
        path,
        f'[default]\n{URL}\nrequests_per_second = 10\nempty_means = "error"\n'
        "[organisation.310]\nburst = 20\n[organisation.311]\nrequests_per_second = 0.5\n"
        'empty_means = "not_subscribed"',
    )
    assert organisations.default.rate == RatePolicy(10.0, 1)
    assert organisations.of(310).rate == RatePolicy(10.0, 20)
    assert organisations.of(311).rate == RatePolicy(0.5, 1)
    assert endpoint(organisations.of(310)).empty_means is EmptyMeans.ERROR
    assert endpoint(organisations.of(311)).empty_means is EmptyMeans.NOT_SUBSCRIBED


def test_a_burst_without_a_rate_is_a_mistake(path: Path) -> None:
    """It would limit nothing, and somebody thinks that it does."""
    assert "burst, but no requests_per_second" in problem(path, f"[organisation.310]\n{URL}\nburst = 5")


def test_an_entry_overrides_the_default_key_by_key(path: Path) -> None:
    """What an entry gives is its own, what it does not give is the default's; the name is nobody else's."""
    organisations = load(
        path,
        f'[default]\n{URL}name = "All"\ndeadline = 5\nconcurrency = 7\nbreaker_minimum_calls = 3\n'
        "[organisation.310]\ndeadline = 1\nbreaker_window = 20\n",
    )
    policy = organisations.of(310)
    assert (endpoint(policy).deadline, policy.concurrency, endpoint(policy).connections) == (1.0, 7, 7)
    assert policy.breaker == BreakerPolicy(minimum_calls=3, window=20.0)
    assert (organisations.default.name, policy.name) == ("All", None)


def test_a_default_without_url_only_lends_its_values(path: Path) -> None:
    """Organisations without an entry have no lookup then; an entry with a URL has the default's numbers."""
    organisations = load(path, f'[default]\nsubscribed_lifetime = "2d"\n[organisation.310]\n{URL}')
    assert organisations.of(1).lookup is None
    assert organisations.of(310).subscribed_lifetime == 2 * 86_400


def test_basic_authentication_comes_from_the_environment(path: Path) -> None:
    """User from the file and password from the environment make the header of RFC 7617, in UTF-8."""
    organisations = load(
        path, f'[organisation.310]\n{URL}user = "streams"\npassword_env = "PW"\n', PW="pässword:x\n"
    )
    expected = base64.b64encode("streams:pässword:x".encode()).decode()
    assert endpoint(organisations.of(310)).authorization == f"Basic {expected}"


def test_credentials_are_lent_only_with_the_url(path: Path) -> None:
    """An entry with its own URL never sends the default's token there; one with the default's URL does."""
    organisations = load(
        path,
        f'[default]\n{URL}authorization_env = "TOKEN"\n'
        '[organisation.310]\nurl = "https://elsewhere.example.com/"\n'
        "[organisation.311]\ndeadline = 1\n"
        '[organisation.312]\nuser = "u"\npassword_env = "PW"\n',
        TOKEN="Bearer t",
        PW="p",
    )
    assert endpoint(organisations.of(310)).authorization is None
    assert endpoint(organisations.of(311)).authorization == "Bearer t"
    assert endpoint(organisations.of(312)).authorization == "Basic dTpw"


def test_secrets_are_not_shown() -> None:
    """Neither a plan's text nor its endpoint's holds the credentials."""
    organisations = load_organisations(EXAMPLE, {"CRM_TOKEN": "hunter2", "CRM_310_PASSWORD": "hunter2"})
    assert "hunter2" not in repr(organisations)
    assert base64.b64encode(b"streams:hunter2").decode() not in repr(organisations)


def test_an_entrys_url_takes_it_out_of_a_default_of_none(path: Path) -> None:
    """With a default of nobody, an entry with a URL is asked and one without is not."""
    organisations = load(
        path, f'[default]\nlookup = "none"\n[organisation.310]\n{URL}[organisation.311]\nqueue = 1\n'
    )
    assert organisations.of(310).lookup is not None
    assert organisations.of(311).lookup is None


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0", 0), ("90", 90), ("1.5", 1.5), ('"500ms"', 0.5), ('"30s"', 30), ('"5m"', 300), ('"1.5h"', 5400)],
)
def test_durations_are_seconds_or_have_a_unit(path: Path, written: str, seconds: float) -> None:
    """A number is seconds; a text is a number with one of ms, s, m, h, d."""
    policy = load(path, f"[default]\nsubscribed_lifetime = {written}\n").default
    assert policy.subscribed_lifetime == pytest.approx(seconds)


def test_certificates_are_read_beside_the_file(path: Path) -> None:
    """A relative ca_file is looked for in the file's own folder, and a renewed one makes another plan."""
    text = f'[organisation.310]\n{URL}ca_file = "ca.pem"\n'
    authority = path.parent / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    before = load(path, text).of(310)
    assert before.ca_pem == authority.read_text()
    trustme.CA().cert_pem.write_to_path(str(authority))
    assert load(path, text).of(310) != before


def test_a_byte_order_mark_is_no_mistake(path: Path) -> None:
    """A file saved by a Windows editor loads."""
    path.write_text(f"[default]\n{URL}", encoding="utf-8-sig")
    assert load_organisations(path, {}).default.lookup is not None


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("deadline = 90", "deadline = 90: allowed is 0.05 to 30 seconds"),
        ("deadline = 0", "deadline = 0: allowed is 0.05 to 30 seconds"),
        ("deadline = true", "deadline = True: allowed is 0.05 to 30 seconds"),
        ("deadline = nan", "deadline = nan: allowed is 0.05 to 30 seconds"),
        ('deadline = "2 weeks"', 'deadline = "2 weeks": allowed is 0.05 to 30 seconds'),
        ("concurrency = 0", "concurrency = 0: allowed is 1 to 1,000 lookups"),
        ("concurrency = 2.5", "concurrency = 2.5: allowed is 1 to 1,000 lookups"),
        ("concurrency = true", "concurrency = True: allowed is 1 to 1,000 lookups"),
        ("queue = -1", "queue = -1: allowed is 0 to 100,000 lookups"),
        (
            "subscribed_lifetime = -1",
            "subscribed_lifetime = -1: allowed is 0 seconds (never kept) to 366 days",
        ),
        ('not_subscribed_lifetime = "367d"', 'not_subscribed_lifetime = "367d": allowed is 0 seconds'),
        ('on_not_found = "ok"', 'on_not_found = "ok": allowed is "failure" or "not_subscribed"'),
        ("on_not_found = []", "on_not_found = []: allowed is"),
        (
            "is_subscribed_in_message = true",
            'is_subscribed_in_message = True: allowed is "ignored" or "believed"',
        ),
        ('empty_means = "{}"', 'empty_means = "{}": allowed is "not_subscribed" or "error"'),
        ("requests_per_second = 0", "requests_per_second = 0: allowed is 0.1 to 10,000 requests"),
        ("requests_per_second = true", "requests_per_second = True: allowed is 0.1 to 10,000 requests"),
        ("subscribed_when = []", "subscribed_when = []: allowed is a list"),
        ('subscribed_when = "privacy.optIn"', 'subscribed_when = "privacy.optIn": allowed is a list'),
        ('subscribed_when = ["a..b"]', "subscribed_when = ['a..b']: allowed is a list"),
        ('lookup = "http"', 'lookup = "http": allowed is "none"'),
        ('name = ""', 'name = "": allowed is a printable text'),
        ("breaker_failure_ratio = 1.5", "breaker_failure_ratio = 1.5: allowed is 0.01 to 1"),
        ("breaker_minimum_calls = 0", "breaker_minimum_calls = 0: allowed is 1 to 10,000 calls"),
        ('ca_file = "missing.pem"', 'ca_file = "missing.pem": No such file'),
        ("ca_file = 5", "ca_file = 5: allowed is the path of a PEM file"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_range(path: Path, line: str, named: str) -> None:
    """The line, the key, what was given and what is allowed stand in one sentence."""
    sentence = problem(path, f"# comment\n[default]\n\n{line}\n")
    assert sentence.startswith(f"line 4: default.{named}")


@pytest.mark.parametrize(
    "url", ["crm.example.org/lookup", "https:///lookup", "", "https://crm.example.org/\\n"]
)
def test_a_wrong_url_is_refused_at_the_start(path: Path, url: str) -> None:
    """Whatever could not be asked is found when the file is read, by the rule of STREAMS_LOOKUP_URL."""
    sentence = problem(path, f'[organisation.310]\nurl = "{url}"\n')
    assert sentence.startswith("line 2: organisation.310.url = ")
    assert "allowed is http(s)://host" in sentence


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@crm.example.org/",
        "https://me:hun/ter2@crm.example.org/",
        "https://me:hun?ter2@crm.example.org/",
        "ftp://crm.example.org/?api_key=hunter2",
    ],
)
def test_a_wrong_url_is_shown_without_its_secrets(path: Path, url: str) -> None:
    """User, password and query are masked; the rest helps to find it."""
    sentence = problem(path, f'[organisation.310]\nurl = "{url}"\n')
    assert "crm.example.org" in sentence
    assert "hun" not in sentence
    assert "ter2" not in sentence


@pytest.mark.parametrize("key", ["password", "token", "authorization", "api_key", "secret", "client_secret"])
def test_a_secret_in_the_file_is_refused_with_the_way_to_do_it(path: Path, key: str) -> None:
    """The sentence says where secrets belong, and does not repeat it."""
    sentence = problem(path, f'[organisation.310]\n{URL}{key} = "hunter2"\n')
    assert sentence.startswith(f"line 3: organisation.310.{key} ")
    assert "environment variable" in sentence
    assert "authorization_env" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("key", ["authorization_env", "password_env"])
@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("Bearer hunter2", ": allowed is the name of an environment variable"),
        ("hunter2", " names an environment variable that is not set"),
    ],
)
def test_a_secret_in_place_of_a_variables_name_is_not_shown(
    path: Path, key: str, secret: str, words: str
) -> None:
    """Who writes the token itself where its variable belongs does not find it in the log."""
    user = 'user = "u"\n' if key == "password_env" else ""
    sentence = problem(path, f'[organisation.310]\n{URL}{user}{key} = "{secret}"\n')
    assert f"organisation.310.{key}{words}" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("environ", [{}, {"TOKEN": ""}, {"TOKEN": "\n"}])
def test_a_missing_variable_is_named(path: Path, environ: dict[str, str]) -> None:
    """A variable that is not set, or empty, stops the start and not the first lookup."""
    sentence = problem(path, f'[organisation.310]\n{URL}authorization_env = "TOKEN"\n', **environ)
    assert sentence == (
        "line 3: organisation.310.authorization_env names the environment variable TOKEN, which is not set"
    )


def test_a_header_value_that_would_be_two_is_refused(path: Path) -> None:
    """A line break inside the token is found at the start; the token is not shown."""
    sentence = problem(path, f'[default]\n{URL}authorization_env = "TOKEN"\n', TOKEN="hunter2\nX: y")
    assert "TOKEN, whose value (not shown) is not printable ASCII" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[default]\ndeadlin = 1\n" + URL, "line 2: default.deadlin is unknown: did you mean deadline?"),
        ("[organization.310]\n" + URL, "line 1: organization is unknown: did you mean organisation?"),
        ("[defaults]\n" + URL, "line 1: defaults is unknown: did you mean default?"),
        (
            "[default]\nauthorisation_env = 1\n" + URL,
            "line 2: default.authorisation_env is unknown: did you mean authorization_env?",
        ),
    ],
)
def test_a_mistyped_key_is_answered_with_the_nearest(path: Path, text: str, sentence: str) -> None:
    """An unknown key is an error, as it would be a setting that silently does nothing."""
    assert problem(path, text) == sentence


def test_an_unknown_key_without_a_near_one_lists_all(path: Path) -> None:
    """Who cannot guess a key is told them all."""
    sentence = problem(path, f"[default]\n{URL}xyz = 1\n")
    assert all(key in sentence for key in KEYS)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[organisation.311]\nqueue = 1\n", "line 1: organisation.311 has no url, and [default] has none"),
        ("[organisation.abc]\n" + URL, "line 1: organisation.abc is no organisation"),
        ("[organisation.0]\n" + URL, "line 1: organisation.0 is no organisation"),
        ("[organisation.007]\n" + URL, "line 1: organisation.007 is no organisation"),
        ("organisation = 310\n", "line 1: organisation must be a table for each organisation"),
        ("[organisation]\n310 = 5\n", "line 2: organisation.310 must be a table, as in [organisation.310]"),
        ("default = 5\n", "line 1: default must be a table, as in [default]"),
        ("[[organisation.310]]\n" + URL, "organisation.310 must be a table, as in [organisation.310]"),
        ('[default]\nlookup = "none"\n' + URL, "line 2: default.lookup contradicts the url beside it"),
        ('[default]\nuser = "u"\n' + URL, "line 1: default has only one of user and password_env"),
        ('[default]\npassword_env = "P"\n' + URL, "line 1: default has only one of user and password_env"),
        (
            '[default]\nuser = "u"\nauthorization_env = "P"\n' + URL,
            "line 1: default has authorization_env and",
        ),
        ('[default]\nauthorization_env = "P"\n', "line 1: default has credentials, but no url"),
        ("[default]\nbreaker_first_pause = 90\n", "line 1: default has breaker_first_pause (90 s) above"),
        (
            '[default]\nuser = "a:b"\npassword_env = "P"\n' + URL,
            'line 2: default.user = "a:********": allowed is',
        ),
    ],
)
def test_what_contradicts_itself_is_refused(path: Path, text: str, part: str) -> None:
    """Values that are each valid and make no sense together, or in that place, are named with their line."""
    assert problem(path, text, P="p").startswith(part)


def test_everything_wrong_is_named_at_once(path: Path) -> None:
    """Five mistakes in three tables cost one failed start, not five."""
    found = problems(
        path,
        '[default]\nurl = "nowhere"\nqueu = 1\n\n[organisation.310]\ndeadline = 90\n'
        'authorization_env = "A"\n[organisation.x]\n',
    )
    assert [sentence.split(":")[0] for sentence in found] == [
        "line 2",
        "line 3",
        "line 6",
        "line 7",
        "line 8",
    ]


def test_a_key_in_an_inline_table_is_named_with_the_tables_line(path: Path) -> None:
    """Where the key's own line cannot be told, its table's is."""
    sentence = problem(path, '[organisation]\n310 = { url = "https://crm.example.org/", deadline = 90 }\n')
    assert sentence.startswith("line 2: organisation.310.deadline = 90")


def test_a_syntax_error_names_its_place(path: Path) -> None:
    """What is no TOML is reported with line and column, and without what stands there."""
    sentence = problem(path, "[default]\ndeadline = hunter2\n")
    assert sentence.startswith("it is not TOML: ")
    assert "line 2" in sentence
    assert "hunter2" not in sentence


def test_a_file_that_cannot_be_read_is_an_error_of_its_own(path: Path) -> None:
    """Missing, a folder, not UTF-8, nested without end: one sentence each, no traceback."""
    for prepare, part in [
        (lambda: None, "it cannot be read: No such file"),
        (lambda: path.write_bytes(b"[default]\nname = '\xff'\n"), "it is not UTF-8 from byte 18 on"),
        (lambda: path.write_text("a = " + "[" * 5000), "nested too deeply"),
        (lambda: (path.unlink(), path.mkdir()), "it cannot be read: Is a directory"),
    ]:
        prepare()
        with pytest.raises(OrganisationsError) as caught:
            load_organisations(path, {})
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("9" * 400, "allowed is 0.05 to 30 seconds"),
        ("0x" + "f" * 5_000, "allowed is 0.05 to 30 seconds"),
        ('"' + "9" * 400 + 's"', "allowed is 0.05 to 30 seconds"),
        ("1e999", "allowed is 0.05 to 30 seconds"),
        ("9" * 5_000, "a number is too long"),
    ],
    ids=lambda each: each[:8],
)
def test_a_number_that_nobody_can_mean_is_one_sentence(path: Path, value: str, part: str) -> None:
    """Hundreds of digits, or thousands, which Python does not even read."""
    sentence = problem(path, f"[default]\n{URL}deadline = {value}\n")
    assert part in sentence
    assert len(sentence) < 400


def test_a_name_of_a_file_that_no_system_takes_is_one_sentence(path: Path) -> None:
    """A ca_file is a text like any other; the file itself may have such a name, too."""
    sentence = problem(path, f'[default]\n{URL}ca_file = "{"x" * 200}/{"y" * 5_000}"\n')
    assert len(sentence) < 400
    with pytest.raises(OrganisationsError, match="cannot be read"):
        load_organisations(path / ("x" * 5_000), {})


def test_a_file_of_no_certificates_is_refused(path: Path) -> None:
    """A ca_file that is there and holds no certificate is found at the start."""
    (path.parent / "ca.pem").write_text("not a certificate")
    sentence = problem(path, f'[default]\n{URL}ca_file = "ca.pem"\n')
    assert sentence == 'line 3: default.ca_file = "ca.pem": no certificate can be read from it'


def test_without_a_file_everybody_has_the_same_lookup() -> None:
    """The plain settings' one lookup holds for every organisation, with their numbers."""
    lookup = Endpoint(url="https://crm.example.org/lookup", authorization=None)
    organisations = Organisations.from_default(lookup, concurrency=5, subscribed_lifetime=1.0)
    for org_id in (1, 310):
        policy = organisations.of(org_id)
        assert (policy.lookup, policy.concurrency, policy.subscribed_lifetime) == (lookup, 5, 1.0)
        assert policy.org_id is None
    assert list(organisations) == []


ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3)
)


@settings(deadline=None)
@given(key=st.sampled_from(sorted(KEYS)), value=ANYTHING)
def test_any_value_is_read_or_refused(key: str, value: object) -> None:
    """No value of any type makes a reader raise anything but a ValueError."""
    try:
        KEYS[key].read(value)
    except ValueError:
        return
    assert value is not None
