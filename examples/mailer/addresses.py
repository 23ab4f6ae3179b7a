"""The address that a letter goes to."""

from __future__ import annotations

import re
from email.headerregistry import Address

import idna

LONGEST_ADDRESS = 254  # bytes: the path of RFC 5321, 4.5.3.1.3, without its angle brackets
#: Letters of any script (RFC 6531), but no white space, control character, lone surrogate, or character that
#: turns the direction of the text around it.
_INTERNATIONAL = (
    r"[^\x00-\xa0\xad\u061c\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
    r"\ud800-\udfff]"
)
_ATOM = rf"(?:[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]|{_INTERNATIONAL})+"
_ATOMS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"')
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*|\[(?:IPv6:)?[0-9A-Fa-f.:]+\]")


def recipient(address: object) -> Address | None:
    """Return the one mailbox that `address` names, with its domain in ASCII; None if it names none.

    Nothing but a local part and a domain is understood: no name, no comment, no second address. The local
    part stays as it is, whatever its script: what it means is its server's business.
    """
    if not isinstance(address, str) or len(address) > LONGEST_ADDRESS:
        return None
    local, _, domain = address.strip().rpartition("@")
    if quoted := _QUOTED.fullmatch(local):
        local = re.sub(r"\\(.)", r"\1", quoted[1])
    elif not _ATOMS.fullmatch(local):
        return None
    domain = _ascii(domain)
    if not local or not _DOMAIN.fullmatch(domain):
        return None
    found = Address(username=local, domain=domain)
    if "=?" in found.addr_spec:
        return None  # it begins an encoded word, which a reader of the letter may decode
    return found if len(found.addr_spec.encode()) <= LONGEST_ADDRESS else None


def _ascii(domain: str) -> str:
    """The domain in ASCII by IDNA 2008, in which straße.de is not strasse.de; "" if it has none."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()  # UTS 46 maps capitals and wide forms only
    except idna.IDNAError:
        return ""
