"""The links of a letter: Proca's own and the signed ones, whatever a record says."""

from urllib.parse import unquote, urlsplit

import pytest

from examples.mailer.links import CHOICES, SIGNED, Links, Unlinkable, is_template, tell_choices_apart

ID = "246e2497-c6d5-5a52-bda8-cf198cbf8292"
#: Proca's routes, as its router and its own letters have them.
PROCA = {
    "confirm": "{base}/link/s/{actionId}/accept/{contactRef}",
    "confirm-opt-in": "{base}/link/s/{actionId}/accept/{contactRef}?doi=1",
    "confirm-opt-out": "{base}/link/s/{actionId}/accept/{contactRef}",
    "reject": "{base}/link/s/{actionId}/reject/{contactRef}",
}
SIGNING = Links("https://act.example.org/confirm", "a secret for the tests")


@pytest.mark.parametrize(
    ("choice", "link"),
    [
        ("confirm", "https://api.example.org/link/s/7001/accept/q2_-A9"),
        ("confirm-opt-in", "https://api.example.org/link/s/7001/accept/q2_-A9?doi=1"),
        ("confirm-opt-out", "https://api.example.org/link/s/7001/accept/q2_-A9"),
        ("reject", "https://api.example.org/link/s/7001/reject/q2_-A9"),
    ],
)
def test_proca_s_links_are_proca_s_routes(choice: str, link: str) -> None:
    """Each choice has the route of Proca's own letters, with the action's id and the contactRef."""
    links = Links("https://api.example.org/", "", PROCA)
    assert links.link(choice, 310, 7001, ID, "q2_-A9") == link


def test_a_redirect_follows_the_choice() -> None:
    """What a template has in its query stays as it is written there."""
    redirect = "&redir=https%3A%2F%2Fexample.org%2Fthanks"
    links = Links("https://api.example.org", "", PROCA | {"confirm": PROCA["confirm-opt-in"] + redirect})
    assert links.link("confirm", 310, 1, ID, "r").endswith(f"/link/s/1/accept/r?doi=1{redirect}")


@pytest.mark.parametrize(
    "contact_ref",
    [
        *("../../../x", "a/b", "a?doi=1", "a#b", "a&redir=https://x.example", "a b\r\nBcc: x", "%2e%2e"),
        *("{token}", "é", "\u202e", "a\\b", ";a=1", "@x.example", "a" * 5_000),
    ],
)
@pytest.mark.parametrize("choice", CHOICES)
def test_no_reference_bends_a_link(choice: str, contact_ref: str) -> None:
    """Whatever a contactRef holds stays the last segment of its path: same host, route and query."""
    links = Links("https://api.example.org", "", PROCA)
    link, usual = (urlsplit(links.link(choice, 310, 7001, ID, ref)) for ref in (contact_ref, "q2"))
    *route, last = link.path.split("/")
    assert (link.scheme, link.netloc, link.query, link.fragment) == (
        usual.scheme,
        usual.netloc,
        usual.query,
        usual.fragment,
    )
    assert route == usual.path.split("/")[:-1]
    assert unquote(last) == contact_ref


@pytest.mark.parametrize("contact_ref", [None, "", ".", "..", "...", "\ud800", [], {}, 1.5])
def test_a_reference_that_no_url_can_hold_makes_no_link(contact_ref: object) -> None:
    """A browser takes dots alone for another folder, percent-encoded too. The reason quotes nothing."""
    with pytest.raises(Unlinkable, match=r"\Ano_contactRef\Z"):
        Links("https://api.example.org", "", PROCA).link("confirm", 310, 1, ID, contact_ref)


def test_a_changed_link_is_none_of_ours() -> None:
    """Consent cannot be changed by editing the link."""
    token = SIGNING.link("confirm-opt-out", 310, 1, ID).rpartition("/")[2]
    assert SIGNING.read(token) == ("confirm-opt-out", 310, 1, ID)
    assert SIGNING.read(token.replace("out", "in")) is None
    assert SIGNING.read("") is None


@pytest.mark.parametrize("action_id", [0, -5, 2**70])
def test_any_whole_number_is_an_action_s_id(action_id: int) -> None:
    """The worker passes on whatever integer an action has."""
    assert (
        Links("https://api.example.org", "", PROCA)
        .link("confirm", 1, action_id, ID, "r")
        .endswith(f"/s/{action_id}/accept/r")
    )


@pytest.mark.parametrize(
    "template", [SIGNED, *PROCA.values(), "{base}/a?id={actionId}&org={orgId}&e={emailId}"]
)
def test_what_a_template_may_be(template: str) -> None:
    """A path and a query after the base, with the token or the action's id."""
    assert is_template(template)


@pytest.mark.parametrize(
    "template",
    [
        *("", "{base}", "{token}", "{base}{token}", "{base}/{}{token}", "{base}/{token", "{base}/{token}}"),
        *("{base}/{Token}", "{base}/a", "{base}/{contactRef}", "{base}/{token} x", "{base}/{token}\n"),
        *('{base}/"{token}', "{base}/é{token}", "{base}/%2{token}", "x{base}/{token}"),
        "{base}/{base}/{token}",
    ],
)
def test_what_no_template_is(template: str) -> None:
    """Other hosts, unknown values, and what is no part of a URL."""
    assert not is_template(template)


def test_the_choices_must_differ() -> None:
    """Opting in and rejecting are told from every other choice; of the others, none gives a consent."""
    assert tell_choices_apart(PROCA)
    assert tell_choices_apart(dict.fromkeys(CHOICES, SIGNED))
    for choice in ("confirm-opt-in", "reject"):
        for other in set(CHOICES) - {choice}:
            assert not tell_choices_apart(PROCA | {choice: PROCA[other]})
