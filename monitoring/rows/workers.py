"""Workers: which partition stands still, and how the processes are."""

from __future__ import annotations

from typing import Any

from monitoring.panels import (
    RED,
    YELLOW,
    Query,
    lines,
    logarithmic,
    stacked,
)


def partitions() -> list[Any]:
    """Where does it stand still?"""
    return [
        lines(
            "Unsettled actions by partition",
            "Taken and not committed yet. At the limit (20,000 by default) a lane takes no more.",
            "short",
            Query(
                "sum by (topic, partition) (confirmation_lane_unsettled_actions{WORKERS})",
                "{{topic}} {{partition}}",
            ),
        ),
        lines(
            "Pending lookups by partition",
            "Actions that await their lookups, each no longer than its deadline. Others leave before them.",
            "short",
            Query(
                "sum by (topic, partition) (confirmation_lane_pending_lookups{WORKERS})",
                "{{topic}} {{partition}}",
            ),
        ),
        lines(
            "Standstill by partition",
            "For how long a lane with work has made no progress. After 30 s (default) /livez fails.",
            "s",
            Query(
                "max by (topic, partition) (confirmation_lane_still_seconds{WORKERS})",
                "{{topic}} {{partition}}",
            ),
            steps={5: YELLOW, 30: RED},
        ),
        lines(
            "Partitions by worker",
            "How many lanes each worker has: those of actions, and of re-keyed actions.",
            "none",
            Query("count by (instance) (confirmation_lane_still_seconds{WORKERS})", "{{instance}}"),
        ),
        lines(
            "In flight by worker",
            "Actions taken and neither committed nor released yet, those in closing lanes included.",
            "short",
            Query("sum by (instance) (confirmation_actions_in_flight{WORKERS})", "{{instance}}"),
        ),
        lines(
            "Commits of partitions",
            "A second. Each has as many emails as were ready; partitions may share a transaction.",
            "ops",
            Query(
                "sum by (instance) "
                "(rate(confirmation_transactions_committed_total{WORKERS}[$__rate_interval]))",
                "{{instance}}",
            ),
        ),
        stacked(
            "Failed transactions",
            "Failed and tried again, a minute, by class of failure. Emails wait meanwhile, and none is lost.",
            "cpm",
            Query(
                "60 * sum by (failure) "
                "(rate(confirmation_transactions_failed_total{WORKERS}[$__rate_interval]))",
                "{{failure}}",
            ),
        ),
        lines(
            "Refused commit metadata",
            "Commits whose metadata could not be read, a minute: what follows is done again, same ce_id.",
            "cpm",
            Query(
                "60 * sum by (instance) "
                "(rate(confirmation_commit_metadata_refused_total{WORKERS}[$__rate_interval]))",
                "{{instance}}",
            ),
        ),
        stacked(
            "Supporter statuses",
            "What the CRM wrote, rows a second: applied, outdated (older than what is known), dead letters.",
            "ops",
            Query(
                "sum by (result) (rate(confirmation_statuses_total{WORKERS}[$__rate_interval]))", "{{result}}"
            ),
        ),
        lines(
            "Stores",
            "Partitions that go on without their store (a full disk), and stores set aside and restored.",
            "none",
            Query("sum by (instance) (confirmation_stores_away{WORKERS})", "{{instance}} away"),
            Query("sum by (reason) (confirmation_store_set_aside_total{WORKERS})", "set aside, {{reason}}"),
        ),
        lines(
            "Deleted unread",
            "Records that the topic's retention deleted before a worker read them. Nobody can mail them.",
            "none",
            Query(
                "sum by (topic, partition) (confirmation_actions_lost_total{WORKERS})",
                "{{topic}} {{partition}}",
            ),
        ),
        stacked(
            "Paths of actions",
            "Judged in C (native) or in Python, a second, and why. Empty while the native pass is off.",
            "ops",
            Query(
                "sum by (path, why) (rate(confirmation_actions_judged_total{WORKERS}[$__rate_interval]))",
                "{{path}} {{why}}",
            ),
        ),
    ]


def process() -> list[Any]:
    """How are the processes?"""
    return [
        lines(
            "CPU",
            "Cores in use. A worker has one thread for its emails, so 1 is all that it can use.",
            "short",
            Query(
                "sum by (instance) (rate(process_cpu_seconds_total{WORKERS}[$__rate_interval]))",
                "{{instance}}",
            ),
            width=6,
        ),
        lines(
            "Memory",
            "Resident memory. rocksdb's block cache is a part of it, for each partition.",
            "bytes",
            Query("sum by (instance) (process_resident_memory_bytes{WORKERS})", "{{instance}}"),
            width=6,
        ),
        logarithmic(
            lines(
                "Event loop lag",
                "How late it is, in the worst of 100 cases. What blocks it delays every email.",
                "s",
                Query(
                    "histogram_quantile(0.99, sum by (instance, le) "
                    "(rate(confirmation_event_loop_lag_seconds_bucket{WORKERS}[$__rate_interval])))",
                    "{{instance}}",
                ),
                width=6,
                steps={0.05: YELLOW, 1: RED},
            )
        ),
        lines(
            "Garbage collections",
            "A minute, by generation. Full ones (2) pause the worker.",
            "cpm",
            Query(
                "60 * sum by (instance, generation) "
                "(rate(python_gc_collections_total{WORKERS}[$__rate_interval]))",
                "{{instance}} {{generation}}",
            ),
            width=6,
        ),
        lines(
            "Uptime",
            "Time since each worker's process began; a drop is a restart.",
            "s",
            Query("time() - max by (instance) (process_start_time_seconds{WORKERS})", "{{instance}}"),
        ),
        lines(
            "Open files",
            "File descriptors, connections among them, and how many there may be.",
            "short",
            Query("sum by (instance) (process_open_fds{WORKERS})", "{{instance}} open"),
            Query("sum by (instance) (process_max_fds{WORKERS})", "{{instance}} allowed"),
        ),
        lines(
            "Versions",
            "Workers of each version; two of them at once is a deploy under way.",
            "none",
            Query("sum by (version) (confirmation_build_info{WORKERS})", "{{version}}"),
        ),
    ]
