"""Faust's flow control, which keeps what was handed over since the flow began.

Stock Faust empties every queue each time it resumes the flow, and during one recovery it does that up to four
times. What was read between two of these (changelog records of a standby, a chunk on its way to its agent)
is gone, while the consumer's position is past it: a standby's table gets holes, which show when it becomes
active, and a lane would take a lost chunk for a gap in the log.
"""

from mode.utils.queues import FlowControlEvent


class FlowControl(FlowControlEvent):
    """Empties the queues when the flow was stopped, and not when it runs already."""

    def resume(self) -> None:
        """Let the flow go on."""
        if not self.is_active():
            super().resume()
