"""Settings that are each allowed and impossible together."""

from collections.abc import Iterator

from streams.settings.connection import connection_inconsistencies
from streams.settings.table import Settings


def inconsistencies(s: Settings) -> Iterator[tuple[set[str], str]]:
    """Values that are each allowed and impossible together: the fields concerned, and a sentence."""
    if 3 * s.heartbeat_interval > s.session_timeout:
        # Two lost heartbeats must not cost the membership: Kafka's advice for heartbeat.interval.ms.
        yield (
            {"heartbeat_interval", "session_timeout"},
            f"STREAMS_HEARTBEAT_INTERVAL ({s.heartbeat_interval:g} s) must be at most a third of "
            f"STREAMS_SESSION_TIMEOUT ({s.session_timeout:g} s)",
        )
    if s.lookup_deadline >= s.stuck_after:
        # No transaction is open while lookups are pending, and no chunk waits for them; but a lane whose only
        # work is one hanging lookup moves nothing for a whole deadline, and that is not being stuck.
        yield (
            {"lookup_deadline", "stuck_after"},
            f"STREAMS_LOOKUP_DEADLINE ({s.lookup_deadline:g} s) must be less than STREAMS_STUCK_AFTER "
            f"({s.stuck_after:g} s)",
        )
    for less, more in (
        ("transaction_timeout", "stuck_after"),  # a lane that waits for a broker is not stuck yet
        ("pending_lookups_per_organisation", "max_pending_lookups"),
        ("max_pending_lookups", "max_unsettled"),
        ("chunk_records", "max_unsettled"),
    ):
        if getattr(s, less) > getattr(s, more):
            yield (
                {less, more},
                f"STREAMS_{less.upper()} ({getattr(s, less):g}) must be at most "
                f"STREAMS_{more.upper()} ({getattr(s, more):g})",
            )
    topics = ("actions_topic", "status_topic", "emails_topic", "dead_letters_topic")
    for index, first in enumerate(topics):
        for second in topics[index + 1 :]:
            if getattr(s, first) == getattr(s, second):
                yield (
                    {first, second},
                    f"STREAMS_{first.upper()} and STREAMS_{second.upper()} are both {getattr(s, first)!r}",
                )
    yield from _of_the_lookup(s)
    yield from connection_inconsistencies(s)


def _of_the_lookup(s: Settings) -> Iterator[tuple[set[str], str]]:
    if s.lookup_url is not None and s.organisations_file is not None:
        yield (
            {"lookup_url", "organisations_file"},
            "STREAMS_LOOKUP_URL is for when there is no STREAMS_ORGANISATIONS_FILE: set one of the two",
        )
    if (s.lookup_user is None) != (s.lookup_password is None):
        yield (
            {"lookup_user", "lookup_password"},
            "STREAMS_LOOKUP_USER and STREAMS_LOOKUP_PASSWORD go together: one is missing",
        )
    if s.lookup_authorization is not None and s.lookup_user is not None:
        yield (
            {"lookup_authorization", "lookup_user"},
            "STREAMS_LOOKUP_AUTHORIZATION and STREAMS_LOOKUP_USER both authenticate: set one of the two",
        )
    for credential in ("lookup_authorization", "lookup_user", "lookup_password"):
        if getattr(s, credential) is not None and s.lookup_url is None:
            yield (
                {credential, "lookup_url"},
                f"STREAMS_{credential.upper()} is set and STREAMS_LOOKUP_URL, which would use it, is not",
            )
