"""Keys of actions and statuses, from whatever a line holds."""

import pytest

from streams.commands.keyed_lines import Unsendable, action_message, status_message


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"orgId":310,"contact":{"contactRef":"abc"}}', b"310:abc"),
        (b'{"orgId":310,"contact":{"ref":"abc"}}', b"310:abc"),
        (b'{"orgId":310,"contact":{"contactRef":"new","ref":"old"}}', b"310:new"),
        (b'{"orgId":310,"contact":{"contactRef":null,"ref":"old"}}', b"310:old"),
        ('{"orgId":1,"contact":{"contactRef":"ä"}}'.encode(), "1:ä".encode()),
        (b'{"orgId":310,"contact":{"contactRef":""}}', None),
        (b'{"orgId":"310","contact":{"contactRef":"abc"}}', None),
        (b'{"orgId":true,"contact":{"contactRef":"abc"}}', None),
        (b'{"orgId":1.5,"contact":{"contactRef":"abc"}}', None),
        (b'{"orgId":310,"contact":{"contactRef":5}}', None),
        (b'{"orgId":310,"contact":{"contactRef":"\\ud800"}}', None),
        (b'{"orgId":310}', None),
        (b"[]", None),
        (b"null", None),
        (b"not json", None),
        (b"\xff\xfe", None),
        (b'{"orgId":310,"contact":{"contactRef":"abc"}} x', None),
        (b'{"orgId":310,"contact":' + b"[" * 100_000, None),
    ],
)
def test_an_action_is_keyed_by_organisation_and_contact(line: bytes, key: bytes | None) -> None:
    """The key is orgId:contactRef, or nothing where one of them cannot be read; the line stays as it is."""
    assert action_message(line) == (key, line)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"null",
        b'{"orgId":310,"contactRef":""}',
        b'{"orgId":310,"contactRef":"secret-ref","forget":"true"}',
        b'{"orgId":310,"contactRef":"secret-ref","forget":1}',
        b'{"orgId":310,"contactRef":"secret-ref"',
        b'{"orgId":310,"contactRef":"secret-ref\\ud800"}',
    ],
)
def test_a_status_without_a_key_is_unsendable(line: bytes) -> None:
    """Without key, or with a forget that is no boolean, nothing is guessed, and the reason quotes nothing."""
    with pytest.raises(Unsendable) as caught:
        status_message(line)
    assert "secret-ref" not in str(caught.value)
