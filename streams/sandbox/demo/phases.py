"""What the lookup service goes through while the demo runs, and for how long."""

from collections.abc import Sequence
from typing import NamedTuple

from streams.sandbox.lookup_service import SLOW, Behaviour


class Phase(NamedTuple):
    """One act: how the lookup service behaves for so many seconds."""

    name: str
    behaviour: Behaviour
    seconds: float

    def __str__(self) -> str:
        return f"{self.name} ({_MEANINGS[self.behaviour]})"


_MEANINGS = {
    Behaviour.HEALTHY: "answers at once",
    Behaviour.SLOW: f"answers after {SLOW * 1000:.0f} ms",
    Behaviour.ERRORS: "answers with status 500",
    Behaviour.RUBBISH: "answers with what is no answer",
    Behaviour.HANGING: "takes the question and says nothing",
    Behaviour.REFUSING: "accepts no connection",
}
_TROUBLES = (Behaviour.ERRORS, Behaviour.RUBBISH, Behaviour.HANGING, Behaviour.REFUSING)


def script(seconds: float = 7.0, between: float = 2.0) -> Sequence[Phase]:
    """Healthy, slow, then one trouble after the other, and healthy again.

    Between two troubles the service is well for a moment: the circuit breaker closes, and the next trouble
    is met by real questions and not only by a probe now and then.

    Args:
        seconds: the length of a phase.
        between: the length of a moment between two troubles; 0 leaves them out.
    """
    phases = [Phase("healthy", Behaviour.HEALTHY, seconds), Phase("slow", Behaviour.SLOW, seconds)]
    for trouble in _TROUBLES:
        if trouble is not _TROUBLES[0] and between:
            phases.append(Phase("healthy", Behaviour.HEALTHY, between))
        phases.append(Phase(trouble.value, trouble, seconds))
    return [*phases, Phase("healthy", Behaviour.HEALTHY, seconds)]
