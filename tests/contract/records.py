"""What a client saw of the topic, in a form in which clients can be compared."""

import json
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """One record as a client gave it, every byte of key, value and headers."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def email(self) -> Any:
        """The value as the JSON document that it is."""
        return json.loads(self.value)
