"""Letters: what the example mailer does with the emails, in an installation that has it."""

from __future__ import annotations

from typing import Any

from monitoring.panels import RED, Query, lines, stacked


def letters() -> list[Any]:
    """Do letters leave?"""
    return [
        lines(
            "Oldest waiting letter",
            "For how long the oldest record waits for its letter; 0 while none waits. Absent: not known.",
            "s",
            Query("max by (job) (mailer_oldest_letter_age_seconds{MAILERS})", "{{job}}"),
            width=6,
            steps={600: RED},
        ),
        stacked(
            "Letters",
            "A second: taken by the mail server, or dead letters by reason.",
            "ops",
            Query(
                "sum by (variant) (rate(mailer_letters_sent_total{MAILERS}[$__rate_interval]))", "{{variant}}"
            ),
            Query(
                "sum by (reason) (rate(mailer_letters_failed_total{MAILERS}[$__rate_interval]))",
                "dead letter {{reason}}",
            ),
            width=6,
            colours={"/dead letter/": RED},
        ),
        lines(
            "Failed attempts to send a letter",
            "A second, by reason. Each is tried again: the letter waits, and its partition with it.",
            "ops",
            Query(
                "sum by (reason) (rate(mailer_attempts_failed_total{MAILERS}[$__rate_interval]))",
                "{{reason}}",
            ),
            width=6,
        ),
        lines(
            "Records without letter",
            "Of each partition, how many wait; and how many mailers are ready. Absent: not known.",
            "none",
            Query("sum by (partition) (mailer_lag_records{MAILERS})", "partition {{partition}}"),
            Query("sum by (job) (mailer_ready{MAILERS})", "{{job}} ready"),
            width=6,
        ),
    ]
