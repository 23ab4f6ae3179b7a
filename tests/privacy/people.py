"""The person whom no log may name, and everything about her that the scan looks for."""

from __future__ import annotations

import base64
import hashlib

FIRST, LAST = "Zyxwanda", "Quillfeather"
EMAIL = f"{FIRST}.{LAST}+7@pii-canary.test"
REF = base64.urlsafe_b64encode(hashlib.sha256(EMAIL.encode()).digest()).decode().rstrip("=")
SHORT_REF = "kanariref-0815"  # a contactRef is any text: not all are hashes
SECRETS = (FIRST, LAST, "pii-canary", REF, SHORT_REF)
