"""One lookup, asked by hand."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from streams.__main__ import main
from streams.commands.lookup_by_hand import made_up_ref
from streams.sandbox.lookup_service import Answer, LookupService, not_subscribed, subscribed
from streams.sandbox.people import somebody
from tests.commands.output import document

ADDRESS = "someone.secret@example.org"


@pytest.fixture
def server() -> Iterator[LookupService]:
    with LookupService(subscribed) as running:
        yield running


def ask(tmp_path: Path, content: str, *more: str, org: int = 310, **environ: str) -> Result:
    file = tmp_path / "organisations.toml"
    file.write_text(content)
    command = ["lookup", "--org", str(org), "--email", ADDRESS, *more]
    return CliRunner().invoke(main, command, env={"ORGANISATIONS_FILE": str(file), **environ})


def replying(**response: Any) -> Answer:
    """A service's answer, always the same."""

    async def reply(_: object) -> web.StreamResponse:
        return web.Response(**response)

    return reply


def entry(url: str, *more: str) -> str:
    return "\n".join(["[organisation.310]", f'url = "{url}"', *more])


def test_an_answer_is_shown_with_its_letter_and_time(tmp_path: Path, server: LookupService) -> None:
    """Exit code 0, the outcome and the time; the service gets the address and the made-up contactRef."""
    result = ask(tmp_path, entry(server.url, 'name = "Example"'))
    assert result.exit_code == 0, result.output
    assert "organisation 310 (Example)" in result.output
    assert "outcome: existing (subscribed: one button)" in result.output
    assert "time: " in result.output
    assert "contactRef: made up" in result.output
    assert "cannot be computed from an address" in result.output
    assert server.questions == [{"email": ADDRESS, "contactRef": made_up_ref(ADDRESS)}]


def test_the_same_as_json(tmp_path: Path, server: LookupService) -> None:
    """--json has outcome, cause, what it means for the breaker, and the time; nobody's address."""
    found = document("lookup", ask(tmp_path, entry(server.url, 'name = "Example"'), "--json").stdout)
    assert (found["org_id"], found["name"], found["made_up_contact_ref"]) == (310, "Example", True)
    assert (found["outcome"], found["cause"], found["breaker"]) == ("existing", None, "healthy")
    server.answer = replying(status=503, headers={"Retry-After": "30"})
    result = ask(tmp_path, entry(server.url), "--json", "--contact-ref", "given")
    found = document("lookup", result.stdout)
    assert (result.exit_code, found["outcome"], found["cause"]) == (1, "error", "http_status")
    assert (found["breaker"], found["retry_after_seconds"]) == ("failure", 30)
    assert ADDRESS not in result.output


def test_a_given_contact_ref_is_asked_for(tmp_path: Path, server: LookupService) -> None:
    """--contact-ref goes to the service as it is."""
    ask(tmp_path, entry(server.url), "--contact-ref", "given")
    assert server.questions[0]["contactRef"] == "given"


def test_not_subscribed_is_an_answer_too(tmp_path: Path, server: LookupService) -> None:
    """{} exits with 0 and says two buttons."""
    server.answer = not_subscribed
    result = ask(tmp_path, entry(server.url))
    assert result.exit_code == 0
    assert "outcome: non_existing (not subscribed: two buttons)" in result.output


@pytest.mark.parametrize(
    ("status", "says"),
    [(500, "5xx"), (401, "401"), (422, "another HTTP status 4xx"), (302, "3xx")],
)
def test_a_failure_names_cause_and_class(
    tmp_path: Path, server: LookupService, status: int, says: str
) -> None:
    """Exit code 1, the cause, and what kind of status it was."""
    server.answer = replying(status=status)
    result = ask(tmp_path, entry(server.url))
    assert result.exit_code == 1
    assert "cause: redirect" in result.output or "cause: http_status" in result.output
    assert says in result.output


def test_an_answer_without_any_known_field_is_a_failure_that_says_so(
    tmp_path: Path, server: LookupService
) -> None:
    """Whoever connects a service sees at once why all its supporters get two buttons."""
    server.answer = replying(text='{"subscribed": true}', content_type="application/json")
    result = ask(tmp_path, entry(server.url))
    assert result.exit_code == 1
    assert "outcome: error (no answer: two buttons)" in result.output
    assert "cause: wrong_data (none of the known fields was in the answer)" in result.output


def test_an_answer_about_somebody_else_is_a_failure_that_says_so(
    tmp_path: Path, server: LookupService
) -> None:
    """The made-up contactRef is not the one that the service knows: the person's own has to be given."""

    async def knows_another(_: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"privacy": {"optIn": True}, "contactRef": "real"})

    server.answer = knows_another
    result = ask(tmp_path, entry(server.url))
    assert result.exit_code == 1
    assert "cause: wrong_data (the answer names another contactRef than the question)" in result.output
    assert ask(tmp_path, entry(server.url), "--contact-ref", "real").exit_code == 0


def test_an_empty_answer_that_is_a_failure_says_so(tmp_path: Path, server: LookupService) -> None:
    """Where empty_means is error, {} is no answer, and the reason names the key."""
    server.answer = not_subscribed
    result = ask(tmp_path, entry(server.url, 'empty_means = "error"'))
    assert result.exit_code == 1
    assert "cause: no_data (the answer is empty, and empty_means says that this is an error)" in result.output
    assert "for the circuit breaker: neither healthy nor a failure" in result.output


def test_a_service_that_wants_a_pause_is_quoted(tmp_path: Path, server: LookupService) -> None:
    """The Retry-After of a 503 is shown in seconds."""
    server.answer = replying(status=503, headers={"Retry-After": "30"})
    assert "Retry-After: 30 s" in ask(tmp_path, entry(server.url)).output


def test_a_refused_port_is_a_failed_connection(tmp_path: Path) -> None:
    """Nobody listens: exit code 1, cause connect."""
    result = ask(tmp_path, entry("http://127.0.0.1:1/"))
    assert result.exit_code == 1
    assert "cause: connect" in result.output


def test_neither_address_nor_secret_is_shown(tmp_path: Path, server: LookupService) -> None:
    """Neither the address, the contactRef, a credential nor the URL's query is shown, also of a failure."""
    content = entry(f"{server.url}?key=QUERYSECRET", 'authorization_env = "CRM_TOKEN"')
    for answer in (subscribed, replying(status=500, text=f"no {ADDRESS}")):
        server.answer = answer
        result = ask(tmp_path, content, CRM_TOKEN="Bearer TOKENSECRET")
        assert "with credentials" in result.output
        for private in (ADDRESS, made_up_ref(ADDRESS), "TOKENSECRET", "QUERYSECRET"):
            assert private not in result.output


@pytest.mark.parametrize("content", ['[organisation.310]\nlookup = "none"', ""])
def test_nobody_to_ask_is_exit_code_2(tmp_path: Path, content: str) -> None:
    """An organisation without a lookup, by its entry or for want of a default: exit code 2."""
    result = ask(tmp_path, content)
    assert result.exit_code == 2
    assert "organisation 310 has no lookup" in result.output


def test_a_wrong_file_is_exit_code_2(tmp_path: Path) -> None:
    """What is wrong in the organisations file is said with its line, and nobody is asked."""
    result = ask(tmp_path, "[organisation.310]\nurl = 7")
    assert result.exit_code == 2
    assert "line 2" in result.output


def test_wrong_settings_are_exit_code_2(tmp_path: Path) -> None:
    """What is wrong in the settings is said, and nobody is asked."""
    result = ask(tmp_path, "", STREAMS_LOOKUP_DEADLINE="never")
    assert result.exit_code == 2
    assert "STREAMS_LOOKUP_DEADLINE" in result.output


@pytest.mark.parametrize("address", ["", " "])
def test_an_empty_address_is_a_usage_error(address: str) -> None:
    """Nobody is asked about nobody."""
    result = CliRunner().invoke(main, ["lookup", "--org", "310", "--email", address])
    assert result.exit_code == 2
    assert "is empty" in result.stderr


def test_the_made_up_contact_ref_is_that_of_made_up_people() -> None:
    """Both have the form of Proca's: 43 characters."""
    ref = made_up_ref("supporter.0@example.org")
    assert somebody("supporter.0@example.org").contact_ref == ref
    assert len(ref) == 43
