"""Every metric there is. Names are an API: alerts, dashboards and other people's queries hold on to them.

What became of an action adds up, in every scrape of every worker::

    taken = emails + ignored + dead letters + re-keyed + released + in flight

where the dead letters of ``supporter-status`` (``confirmation_statuses{result="dead_letter"}``) do not count.
"""

from __future__ import annotations

from typing import NamedTuple


class Described(NamedTuple):
    """One line of the catalogue."""

    name: str
    kind: str  # counter, gauge, histogram
    labels: tuple[str, ...]
    meaning: str


TAKEN = Described(
    "confirmation_actions_taken",
    "counter",
    (),
    "Actions that lanes took; a re-keyed one is taken twice.",
)
EMAILS = Described(
    "confirmation_emails",
    "counter",
    ("variant", "reason"),
    "Confirmation emails that were written and committed.",
)
IGNORED = Described(
    "confirmation_actions_ignored",
    "counter",
    ("why",),
    "Actions that get no email: another stage, an event, no consent, a tombstone, a duplicate.",
)
REKEYED = Described(
    "confirmation_actions_rekeyed",
    "counter",
    (),
    "Actions moved to their supporter's partition: their producer has another key or partitioner.",
)
RELEASED = Described(
    "confirmation_actions_released",
    "counter",
    ("why",),
    "Actions taken for which this lane wrote nothing: settled before, settled meanwhile, handed over.",
)
DEAD_LETTERS = Described(
    "confirmation_dead_letters",
    "counter",
    ("topic", "error_class"),
    "Records kept as dead letters, by the topic that they came from.",
)
LOOKUPS = Described(
    "confirmation_lookups",
    "counter",
    ("organisation", "outcome", "cause"),
    "Actions without a known status, by the outcome of their lookup; cause is empty unless it is error.",
)
DELAY = Described(
    "confirmation_delay_seconds",
    "histogram",
    (),
    "From the action record's timestamp to the commit of its email.",
)
LOOKUP_DURATION = Described(
    "confirmation_lookup_duration_seconds",
    "histogram",
    ("outcome",),
    "Duration of each exchange with a lookup service.",
)
IN_FLIGHT = Described(
    "confirmation_actions_in_flight",
    "gauge",
    (),
    "Actions taken and neither committed nor released yet, those in closing lanes included.",
)
OLDEST = Described(
    "confirmation_oldest_action_timestamp_seconds",
    "gauge",
    ("topic", "partition"),
    "When the oldest waiting action was written, or, if not read yet, seen; absent if none waits.",
)
LAG = Described(
    "confirmation_lag_records",
    "gauge",
    ("topic", "partition"),
    "Offsets from the committed one to the end of the partition; absent while Kafka does not answer.",
)
UNSETTLED = Described(
    "confirmation_lane_unsettled_actions",
    "gauge",
    ("topic", "partition"),
    "Actions that are processed or await their lookup, and are not committed yet.",
)
PENDING = Described(
    "confirmation_lane_pending_lookups",
    "gauge",
    ("topic", "partition"),
    "Actions that await their lookups.",
)
STILL = Described(
    "confirmation_lane_still_seconds",
    "gauge",
    ("topic", "partition"),
    "Seconds for which a lane with work has made no progress.",
)
JUDGED = Described(
    "confirmation_actions_judged",
    "counter",
    ("path", "why"),
    "Actions by the path that judged them, native or python, and why not the native one; none if it is off.",
)
TRANSACTIONS = Described(
    "confirmation_transactions_committed",
    "counter",
    (),
    "Transactions that were committed, once for each partition with a part in one.",
)
TRANSACTIONS_FAILED = Described(
    "confirmation_transactions_failed",
    "counter",
    ("failure",),
    "Transactions that failed and were tried again, by class of failure.",
)
METADATA_REFUSED = Described(
    "confirmation_commit_metadata_refused",
    "counter",
    (),
    "Commit metadata that could not be read; the actions after the committed offset were done again.",
)
STATUSES = Described(
    "confirmation_statuses",
    "counter",
    ("result",),
    "Rows read from the status topic: applied, outdated, or dead_letter.",
)
STORE_SET_ASIDE = Described(
    "confirmation_store_set_aside",
    "counter",
    ("reason",),
    "Stores of a partition that were set aside and restored from the changelog, by reason.",
)
STORES_AWAY = Described(
    "confirmation_stores_away",
    "gauge",
    (),
    "Partitions whose store cannot be used now (its disk is full, say): their statuses count as missing.",
)
ACTIONS_LOST = Described(
    "confirmation_actions_lost",
    "counter",
    ("topic", "partition"),
    "Offsets that were deleted from the topic before a worker read them: their actions get no email.",
)
#: The state of a breaker that opened, and of which nothing is known any more.
BREAKER_UNKNOWN = "unknown"
BREAKER = Described(
    "confirmation_lookup_breaker_state",
    "gauge",
    ("organisation", "state"),
    "Circuit breakers in each state: one for an organisation with an entry, any number for other. Unknown: it"
    " opened, and nobody has asked since its pause ended.",
)
EVENT_LOOP_LAG = Described(
    "confirmation_event_loop_lag_seconds",
    "histogram",
    (),
    "How late the event loop is, ten times a second: what blocks it delays every email.",
)
BUILD_INFO = Described(
    "confirmation_build_info",
    "gauge",
    ("version",),
    "Always 1; the version that runs.",
)
READY = Described("confirmation_ready", "gauge", (), "1 if the worker is ready, as /readyz says, else 0.")

#: What a worker shows at /metrics, beside what prometheus-client shows of any Python process.
CATALOGUE = (
    TAKEN,
    EMAILS,
    IGNORED,
    REKEYED,
    RELEASED,
    DEAD_LETTERS,
    JUDGED,
    LOOKUPS,
    DELAY,
    LOOKUP_DURATION,
    IN_FLIGHT,
    OLDEST,
    LAG,
    UNSETTLED,
    PENDING,
    STILL,
    TRANSACTIONS,
    TRANSACTIONS_FAILED,
    METADATA_REFUSED,
    STATUSES,
    STORE_SET_ASIDE,
    STORES_AWAY,
    ACTIONS_LOST,
    BREAKER,
    EVENT_LOOP_LAG,
    BUILD_INFO,
    READY,
)

AUDIT_TIME = Described(
    "confirmation_audit_timestamp_seconds",
    "gauge",
    (),
    "When the audit ended.",
)
AUDIT_ASKED = Described(
    "confirmation_audit_asked_actions",
    "gauge",
    (),
    "Actions that the audit found to ask for an email.",
)
AUDIT_EMAILS = Described(
    "confirmation_audit_emails",
    "gauge",
    (),
    "Emails that the audit found for them.",
)
AUDIT_MISSING = Described(
    "confirmation_audit_missing_actions",
    "gauge",
    (),
    "Settled actions with neither email nor dead letter.",
)
AUDIT_DOUBLED = Described(
    "confirmation_audit_doubled_actions",
    "gauge",
    (),
    "Actions with more than one email, or with an email and a dead letter.",
)
AUDIT_IN_FLIGHT = Described(
    "confirmation_audit_in_flight_actions",
    "gauge",
    (),
    "Actions that the audit found not settled yet.",
)
#: What `streams audit --metrics-file` writes, for node-exporter's textfile collector.
AUDIT_CATALOGUE = (
    AUDIT_TIME,
    AUDIT_ASKED,
    AUDIT_EMAILS,
    AUDIT_MISSING,
    AUDIT_DOUBLED,
    AUDIT_IN_FLIGHT,
)
