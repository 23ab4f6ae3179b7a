"""Which of Proca's messages say something about consent, and what."""

from typing import Any

import pytest

from examples.proca.demo.proca import dumped, event, message, ref
from examples.proca.statuses import Skipped, status_of
from streams.commands.keyed_lines import Message
from streams.messages.decode import decode_supporter_status

DOUBLED = {"emailStatus": "double_opt_in", "emailStatusChanged": "2026-11-24T11:00:00Z"}
LONE_SURROGATE = rb'{"contact":{"contactRef":"\ud800"},"privacy":{"optIn":1,"emailStatus":"unsub"}}'
CHANGED = {"emailStatusChanged": "2026-11-25T09:00:00Z"}


def delivered(*, org_id: int = 310, **privacy: Any) -> bytes:
    action = message(1, stage="deliver", org_id=org_id)
    return dumped(action | {"privacy": action["privacy"] | privacy})


def said(body: bytes, exchange: str = "org.310.deliver", *, form_counts: bool = False) -> Any:
    """What a message comes to: (orgId, subscribed, asOf as in the row), or why nothing."""
    found = status_of(exchange, body, form_counts=form_counts)
    if isinstance(found, Skipped):
        return found.why
    assert isinstance(found, Message)
    assert found.value is not None
    status = decode_supporter_status(found.key, found.value)
    assert status.contact_ref == ref(1)
    return status.org_id, status.subscribed, found.value.split(b'"asOf":"')[1].rstrip(b'"}').decode()


@pytest.mark.parametrize(
    ("privacy", "consent"),
    [
        ({}, "no_consent_known"),
        ({"optIn": True}, "no_consent_known"),
        ({"optIn": False}, "no_consent_known"),
        ({"optIn": "true", **DOUBLED}, (310, True, "2026-11-24T11:00:00Z")),
        (DOUBLED, (310, True, "2026-11-24T11:00:00Z")),
        ({"optIn": False, **DOUBLED}, (310, True, "2026-11-24T11:00:00Z")),
        ({"emailStatus": "double_opt_in", "emailStatusChanged": None}, "unreadable"),
        ({"emailStatus": "double_opt_in", "emailStatusChanged": "yesterday"}, "unreadable"),
        *(
            ({"optIn": True, "emailStatus": lost, **CHANGED}, (310, False, "2026-11-25T09:00:00Z"))
            for lost in ("unsub", "bounce", "blocked", "spam", "inactive")
        ),
        ({"emailStatus": "never heard of"}, "no_consent_known"),
        ({"emailStatus": ["unsub"]}, "no_consent_known"),
    ],
)
def test_a_double_opt_in_makes_a_subscriber_and_nothing_less(privacy: dict[str, Any], consent: Any) -> None:
    """A letter asks those who opted in by a form; who left is no subscriber, whatever was before."""
    assert said(delivered(**privacy)) == consent


def test_the_form_s_opt_in_counts_where_the_organisation_wants_it() -> None:
    """Only the JSON value true, and only as long as the email is not lost; it is as old as the consent."""
    assert said(delivered(optIn=True), form_counts=True) == (310, True, "2026-11-24T10:00:00Z")
    assert said(delivered(optIn="true"), form_counts=True) == "no_consent_known"
    assert said(delivered(optIn=False), form_counts=True) == "no_consent_known"
    lost = delivered(optIn=True, emailStatus="bounce", **CHANGED)
    assert said(lost, form_counts=True) == (310, False, "2026-11-25T09:00:00Z")


def test_a_status_belongs_to_the_organisation_of_the_exchange() -> None:
    """A partner gets the action of another one's page: the double opt-in there is none for the partner."""
    other = delivered(org_id=999, optIn=None, **DOUBLED)
    assert said(other) == "no_consent_known"
    assert said(delivered(org_id=999, optIn=True, **DOUBLED)) == (310, True, "2026-11-24T11:00:00Z")
    assert said(other, "org.999.deliver") == (999, True, "2026-11-24T11:00:00Z")


def test_an_event_tells_who_left() -> None:
    """The exchange tells its organisation; a double opt-in counts beside the opt-in given to that one."""
    lost = dumped(event(1, emailStatus="unsub", **CHANGED))
    assert said(lost, "org.310.event") == (310, False, "2026-11-25T09:00:00Z")
    assert said(dumped(event(1, emailStatus="bounce")), "org.310.event") == (
        310,
        False,
        "2026-11-25T10:00:00Z",
    )
    assert said(dumped(event(1, optIn=True, **DOUBLED)), "org.310.event")[1] is True
    assert said(dumped(event(1, **DOUBLED)), "org.310.event") == "no_consent_known"


def test_an_event_about_somebody_else_s_supporter_says_nothing() -> None:
    """Proca's own organisation sees the events of all: without a consent given to it, nothing is its own."""
    of_another = event(1, emailStatus="unsub", **CHANGED)
    del of_another["supporter"]["privacy"]["optIn"]
    assert said(dumped(of_another), "org.310.event") == "other_organisation"


def test_the_older_version_is_read() -> None:
    """`proca:action:1` calls the reference `ref`, and the consent `communication`."""
    older = {"schema": "proca:action:1", "stage": "deliver", "contact": {"ref": ref(1)}}
    older["privacy"] = {"communication": True, "givenAt": "2026-11-24T10:00:00Z"}
    assert said(dumped(older), form_counts=True) == (310, True, "2026-11-24T10:00:00Z")
    assert said(dumped(older)) == "no_consent_known"


@pytest.mark.parametrize(
    ("exchange", "body", "why"),
    [
        ("", delivered(**DOUBLED), "exchange"),
        ("org.x.deliver", delivered(**DOUBLED), "exchange"),
        ("org.310.confirm.supporter", delivered(**DOUBLED), "exchange"),
        ("org.310.deliver", b"", "unreadable"),
        ("org.310.deliver", b"[" * 100_000, "unreadable"),
        ("org.310.deliver", b"[]", "unreadable"),
        ("org.310.deliver", b"{}", "no_person"),
        ("org.310.deliver", dumped({"contact": [], "privacy": {}}), "no_person"),
        ("org.310.deliver", dumped({"contact": {}, "privacy": {"optIn": True, **DOUBLED}}), "unreadable"),
        ("org.310.deliver", LONE_SURROGATE, "unreadable"),
        ("org.310.event", dumped({"eventType": "campaign_updated", "campaign": {}}), "no_person"),
    ],
)
def test_what_says_nothing_is_skipped_with_a_reason(exchange: str, body: bytes, why: str) -> None:
    """Nothing raises, and nothing is guessed."""
    assert said(body, exchange) == why
