"""The bridge: what the example bridge from Proca's RabbitMQ does, in an installation that has it."""

from __future__ import annotations

from typing import Any

from monitoring.panels import RED, Query, lines, stacked


def bridge() -> list[Any]:
    """Do Proca's messages come?"""
    return [
        lines(
            "Messages in RabbitMQ",
            "In the bridge's queue of each topic, without those in hand; and how many bridges are ready."
            " Absent: not known.",
            "none",
            Query("max by (topic) (bridge_queue_messages{BRIDGES})", "{{topic}}"),
            Query("sum by (topic) (bridge_ready{BRIDGES})", "{{topic}} ready"),
            width=6,
        ),
        lines(
            "Oldest message in hand",
            "For how long the oldest message waits for Kafka; 0 while none waits. After 30 s the bridge is"
            " not ready.",
            "s",
            Query("max by (topic) (bridge_oldest_message_age_seconds{BRIDGES})", "{{topic}}"),
            width=6,
            steps={30: RED},
        ),
        stacked(
            "Messages from RabbitMQ",
            "A second: brought to Kafka, skipped since they make no record, or set aside since the topic has"
            " no room for them.",
            "ops",
            Query(
                "sum by (topic) (rate(bridge_messages_forwarded_total{BRIDGES}[$__rate_interval]))",
                "{{topic}}",
            ),
            Query(
                "sum by (topic, why) (rate(bridge_messages_skipped_total{BRIDGES}[$__rate_interval]))",
                "{{topic}} skipped {{why}}",
            ),
            Query(
                "sum by (topic) (rate(bridge_messages_too_large_total{BRIDGES}[$__rate_interval]))",
                "{{topic}} too large",
            ),
            width=6,
            colours={"/too large/": RED},
        ),
        lines(
            "Trouble of the bridge",
            "A second: connections that ended or could not be made, messages that RabbitMQ delivered again"
            " (Kafka may have them twice), messages whose key cannot be read.",
            "ops",
            Query("sum by (error) (rate(bridge_failures_total{BRIDGES}[$__rate_interval]))", "{{error}}"),
            Query(
                "sum by (topic) (rate(bridge_messages_redelivered_total{BRIDGES}[$__rate_interval]))",
                "{{topic}} redelivered",
            ),
            Query(
                "sum by (topic) (rate(bridge_messages_without_key_total{BRIDGES}[$__rate_interval]))",
                "{{topic}} without key",
            ),
            width=6,
        ),
    ]
