"""The made-up people are as varied, and as harmless, as they must be."""

import json
from itertools import islice
from random import Random

from streams.commands.keyed_lines import action_message, status_message
from streams.messages.decode import decode_action, decode_supporter_status, status_key
from streams.sandbox.people import KNOWN, LANGUAGES, ORGANISATIONS, Crowd, numbered, somebody


def some_actions(count: int = 3000) -> tuple[Crowd, list[bytes]]:
    crowd = Crowd(Random(1))
    return crowd, list(islice(crowd.actions(), count))


def test_every_action_asks_for_an_email():
    """The worker's decoder reads every action, and finds that it asks."""
    for line in some_actions()[1]:
        assert decode_action(line) is not None


def test_every_status_is_one_that_the_worker_reads():
    """Each status has its key, and half of the known supporters are subscribers."""
    statuses = []
    for line in Crowd(Random(1)).statuses():
        message = status_message(line)
        assert message.value is not None
        statuses.append(decode_supporter_status(message.key, message.value))
    assert len({(status.org_id, status.contact_ref) for status in statuses}) == KNOWN
    assert sum(status.subscribed for status in statuses) == KNOWN / 2


def test_most_people_are_unknown():
    """About a fifth of the actions are by supporters with a status; everybody else signs once."""
    crowd, lines = some_actions()
    known = {status_message(line).key for line in crowd.statuses()}
    keys = [action_message(line).key for line in lines]
    unknown = [key for key in keys if key not in known]
    assert 0.15 < 1 - len(unknown) / len(keys) < 0.25
    assert len(set(unknown)) == len(unknown)


def test_actions_have_ids_of_their_own_and_show_every_language_and_organisation():
    """No actionId comes twice, and nobody is left out."""
    actions = [json.loads(line) for line in some_actions()[1]]
    assert len({action["actionId"] for action in actions}) == len(actions)
    assert {action["orgId"] for action in actions} == {each.org_id for each in ORGANISATIONS}
    assert {action["actionPage"]["locale"] for action in actions} == {each.locale for each in LANGUAGES}


def test_no_address_can_be_somebodys():
    """Every address is at a domain that is reserved for examples."""
    for line in some_actions()[1]:
        assert json.loads(line)["contact"]["email"].endswith(("@example.org", "@example.net", "@example.com"))


def test_a_supporter_s_action_and_status_have_the_same_key():
    """The worker's decoders find the key in both, so that they meet in one partition."""
    for supporter in (somebody("ana@example.org", 311), numbered(7)):
        action = decode_action(json.dumps(supporter.action(1)).encode())
        assert action is not None
        assert status_key(action.org_id, action.contact_ref) == supporter.key
        row = decode_supporter_status(supporter.key, supporter.status(subscribed=True))
        assert (row.org_id, row.contact_ref, row.subscribed) == (
            supporter.org_id,
            supporter.contact_ref,
            True,
        )
