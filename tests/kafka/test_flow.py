"""Flow control: what was handed over since the flow began is not thrown away."""

from mode.utils.queues import FlowControlQueue

from streams.kafka.flow import FlowControl


async def test_resuming_a_flow_that_runs_keeps_what_is_queued() -> None:
    """A recovery resumes the flow several times; what was read between two of them stays in the queue."""
    flow = FlowControl()
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    await queue.put("read after the flow began")
    flow.resume()
    assert queue.get_nowait() == "read after the flow began"


async def test_resuming_a_stopped_flow_empties_the_queues() -> None:
    """What was handed over before a rebalance stopped the flow is read again, and must not be there twice."""
    flow = FlowControl()
    queue: FlowControlQueue[str] = FlowControlQueue(flow_control=flow, clear_on_resume=True)
    flow.resume()
    await queue.put("read before the flow was stopped")
    flow.suspend()
    flow.resume()
    assert queue.empty()
