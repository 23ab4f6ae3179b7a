"""The person whom no log may name, and everything about her that the scan looks for."""

from streams.sandbox.people import somebody

FIRST, LAST = "Zyxwanda", "Quillfeather"
EMAIL = f"{FIRST}.{LAST}+7@pii-canary.test"
REF = somebody(EMAIL).contact_ref
SHORT_REF = "kanariref-0815"  # a contactRef is any text: not all are hashes
SECRETS = (FIRST, LAST, "pii-canary", REF, SHORT_REF)
