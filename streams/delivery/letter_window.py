"""Which letters of one partition were written lately, by what they are about. Pure."""

from __future__ import annotations


class LetterWindow:
    """Knows the last letter about each thing, for some seconds, and only so many of them.

    What it has forgotten costs a second letter. No method waits.
    """

    def __init__(self, seconds: float, most: int) -> None:
        """Begin empty.

        Args:
            seconds: how long a letter is known.
            most: letters that are known at once; then the oldest one is forgotten for each new one. One
                takes some 250 bytes.
        """
        self.seconds = seconds
        self.most = most
        self._letters: dict[bytes, tuple[bytes, float]] = {}  # in the order of their writing

    def __len__(self) -> int:
        return len(self._letters)

    def letter(self, about: bytes, now: float) -> bytes | None:
        """Return the id of the last letter about this, unless it is too long ago.

        A time that lies as far ahead of `now` counts as too long ago: somebody's clock was wrong.
        """
        letter, at = self._letters.get(about, (None, 0.0))
        return letter if abs(now - at) < self.seconds else None

    def add(self, about: bytes, letter: bytes, at: float) -> None:
        """Note that the letter with this id was written at a time, in seconds since the epoch.

        One that is known to be older than the last one about this changes nothing: marks are read again.
        """
        letters = self._letters
        if about in letters and 0 < letters[about][1] - at < self.seconds:
            return
        letters.pop(about, None)  # the new one goes to the end
        letters[about] = (letter, at)
        while len(letters) > self.most or next(iter(letters.values()))[1] <= at - self.seconds:
            del letters[next(iter(letters))]
