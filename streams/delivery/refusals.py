"""What a lane writes instead of a record that its topic refuses."""

from __future__ import annotations

from streams.delivery.results import Processed, Processor
from streams.delivery.transaction import RecordRefused, TopicFault


def replace_refused(entries: list[Processed], refused: RecordRefused, processor: Processor) -> None:
    """Put into `entries` what is written instead of the record that was refused among what they write.

    Raises:
        TopicFault: there is nothing left to write. Not even a bare notice is taken: it is the topic's fault.
    """
    written = [index for index, (_, result) in enumerate(entries) if result.outgoing is not None]
    index = written[refused.index]
    record, result = entries[index]
    instead = processor.on_refused(record, result, refused)
    if instead is None:
        assert result.outgoing is not None, "is refused"
        raise TopicFault(
            "DeadLetterRefused",
            f"topic {result.outgoing.topic} refuses even a dead letter of a few hundred bytes",
        )
    entries[index] = Processed(record, instead)
