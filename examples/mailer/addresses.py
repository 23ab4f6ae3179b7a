"""The address that a letter goes to."""

from __future__ import annotations

import re
from email.headerregistry import Address

LONGEST_ADDRESS = 254  # bytes: the path of RFC 5321, 4.5.3.1.3, without its angle brackets
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ATOMS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[(?:IPv6:)?[0-9A-Fa-f.:]+\]")


def recipient(address: object) -> Address | None:
    """Return the one mailbox that `address` names, with its domain in ASCII; None if it names none.

    Nothing but a local part and a domain is understood: no name, no comment, no second address.
    """
    if not isinstance(address, str) or "=?" in address:
        return None  # "=?" begins an encoded word, and a reader of the letter may decode it
    local, _, domain = address.strip().rpartition("@")
    if quoted := _QUOTED.fullmatch(local):
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _ATOMS.fullmatch(local):
        return None
    try:
        domain = domain.encode("idna").decode()
    except UnicodeError:
        return None
    if not local or not _DOMAIN.fullmatch(domain):
        return None
    found = Address(username=local, domain=domain)
    return found if len(found.addr_spec.encode()) <= LONGEST_ADDRESS else None
