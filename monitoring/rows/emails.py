"""Emails: whether anyone waits for one, and whether each action gets its own."""

from __future__ import annotations

from typing import Any

from monitoring.panels import (
    GREY,
    ORANGE,
    RED,
    YELLOW,
    Query,
    heat,
    lines,
    logarithmic,
    number,
    stacked,
    states,
)

_DELAYS = "confirmation_delay_seconds_bucket{WORKERS}[$__rate_interval]"

#: What became of the actions that were taken, worker by worker; it holds in each scrape, to the last one.
_UNACCOUNTED = (
    "sum by (instance) (confirmation_actions_taken_total{WORKERS})"
    " - sum by (instance) (confirmation_emails_total{WORKERS})"
    " - sum by (instance) (confirmation_actions_ignored_total{WORKERS})"
    " - sum by (instance) (confirmation_dead_letters_total{WORKERS})"
    # Dead letters of supporter-status, which are no actions.
    ' + sum by (instance) (confirmation_statuses_total{WORKERS, result="dead_letter"})'
    " - sum by (instance) (confirmation_actions_rekeyed_total{WORKERS})"
    " - sum by (instance) (confirmation_actions_released_total{WORKERS})"
    " - sum by (instance) (confirmation_actions_in_flight{WORKERS})"
)


def waiting() -> list[Any]:
    """Is anyone waiting for an email?"""
    return [
        number(
            "Oldest waiting action",
            "Age of the oldest action without its email, read or not; 0 while nobody waits.",
            "s",
            # Not `or vector(0)`: where no worker is scraped, nobody knows.
            Query(
                "max(time() - confirmation_oldest_action_timestamp_seconds{WORKERS})"
                " or max(0 * confirmation_ready{WORKERS})",
                "age",
            ),
            {10: YELLOW, 60: RED},
        ),
        number(
            "Unaccounted actions",
            "Actions whose outcome nobody knows. Must be 0: if not, a person must look.",
            "none",
            Query(f"sum(abs({_UNACCOUNTED}))", "unaccounted"),
            {1: RED},
        ),
        number(
            "Late emails",
            "Share of the emails, within the time that is shown, that left more than 5 s after their action.",
            "percentunit",
            Query(
                '1 - sum(rate(confirmation_delay_seconds_bucket{WORKERS, le="5.0"}[$__range]))'
                " / sum(rate(confirmation_delay_seconds_count{WORKERS}[$__range]))",
                "late",
            ),
            {0.001: YELLOW, 0.01: RED},
        ),
        number(
            "Delay, p99",
            "From an action's timestamp to the commit of its email. A lookup's deadline bounds it.",
            "s",
            Query(f"histogram_quantile(0.99, sum by (le) (rate({_DELAYS})))", "p99"),
            {5: YELLOW, 60: RED},
        ),
        number(
            "Lag",
            "Records from the committed offsets to the ends of the partitions.",
            "short",
            Query("sum(confirmation_lag_records{WORKERS})", "lag"),
            {},
        ),
        number(
            "Dead letters",
            "Records kept as dead letters, within the time that is shown. Look at each of them.",
            "none",
            Query("round(sum(increase(confirmation_dead_letters_total{WORKERS}[$__range])))", "dead letters"),
            {1: YELLOW},
        ),
        number(
            "Breakers open",
            "Organisations whose service is down and not asked. Two buttons leave at once: no email is late.",
            "none",
            Query(
                'count(max by (organisation) (confirmation_lookup_breaker_state{WORKERS, state="open"}) > 0)'
                " or max(0 * confirmation_ready{WORKERS})",
                "open",
            ),
            {1: YELLOW},
        ),
        number(
            "Not ready",
            "Workers that are scraped, and whose /readyz says no: it says why, too.",
            "none",
            Query("sum(1 - confirmation_ready{WORKERS})", "not ready"),
            {1: YELLOW},
        ),
        states(
            "Alerts",
            "Of all installations on this Prometheus. docs/runbook.md says what each means, and what to do.",
            Query(
                "max by (alertname, severity) ("
                '2 * ALERTS{alertname=~"Confirmation.+", alertstate="firing"}'
                ' or ALERTS{alertname=~"Confirmation.+", alertstate="pending"})',
                "{{severity}} {{alertname}}",
            ),
            {1: ("pending", YELLOW), 2: ("firing", RED)},
            width=24,
            height=6,
            nothing="no alert is pending or firing",
        ),
        lines(
            "Actions in, emails out",
            "A second. A gap between the two lines is what waits, or asks for no email.",
            "ops",
            Query("sum(rate(confirmation_actions_taken_total{WORKERS}[$__rate_interval]))", "actions taken"),
            Query("sum(rate(confirmation_emails_total{WORKERS}[$__rate_interval]))", "emails committed"),
            width=12,
        ),
        lines(
            "Oldest waiting action by partition",
            "Age of the oldest action without its email. Nothing moves if it rises by 1 s each second.",
            "s",
            Query(
                "max by (topic, partition) "
                "(time() - confirmation_oldest_action_timestamp_seconds{WORKERS})"
                " or max by (topic, partition) (0 * confirmation_lag_records{WORKERS})",
                "{{topic}} {{partition}}",
            ),
            width=12,
            steps={10: YELLOW, 60: RED},
        ),
        lines(
            "Lag by partition",
            "Records from the committed offset to the partition's end.",
            "short",
            Query("max by (topic, partition) (confirmation_lag_records{WORKERS})", "{{topic}} {{partition}}"),
        ),
        heat(
            "Delay",
            "From an action's timestamp to the commit of its email: each column is one moment's delays.",
            "s",
            f"sum by (le) (increase({_DELAYS}))",
        ),
        logarithmic(
            lines(
                "Delay by share",
                "Half, 99 of 100, and 999 of 1,000, of the emails had left after no more than this.",
                "s",
                *(
                    Query(f"histogram_quantile({share}, sum by (le) (rate({_DELAYS})))", f"p{share * 100:g}")
                    for share in (0.5, 0.99, 0.999)
                ),
            )
        ),
    ]


def promise() -> list[Any]:
    """Is the promise kept?"""
    return [
        stacked(
            "Emails by variant and reason",
            "Emails committed to the topic, a second. lookup_failed: two buttons, because a lookup failed.",
            "ops",
            Query(
                "sum by (variant, reason) (rate(confirmation_emails_total{WORKERS}[$__rate_interval]))",
                "{{variant}} {{reason}}",
            ),
            width=12,
            colours={"/lookup_failed/": ORANGE, "/no_lookup/": GREY},
        ),
        lines(
            "One-button share",
            "Of all emails. A collapse while lookups answer: statuses stopped coming, or their key changed.",
            "percentunit",
            Query(
                'sum(rate(confirmation_emails_total{WORKERS, variant="one_button"}[$__rate_interval]))'
                " / sum(rate(confirmation_emails_total{WORKERS}[$__rate_interval]))",
                "one button",
            ),
            width=12,
        ),
        lines(
            "Unaccounted actions by worker",
            "Taken, less emails, ignored, dead letters, re-keyed, released, in flight. Below 0: done twice.",
            "none",
            Query(_UNACCOUNTED, "{{instance}}"),
            steps={1: RED},
        ),
        stacked(
            "Actions without an email",
            "A second. Ignored: they ask for none. Released: settled by another worker, or before.",
            "ops",
            Query(
                "sum by (why) (rate(confirmation_actions_ignored_total{WORKERS}[$__rate_interval]))",
                "ignored {{why}}",
            ),
            Query(
                "sum by (why) (rate(confirmation_actions_released_total{WORKERS}[$__rate_interval]))",
                "released {{why}}",
            ),
            Query("sum(rate(confirmation_actions_rekeyed_total{WORKERS}[$__rate_interval]))", "moved"),
        ),
        stacked(
            "Dead letters by cause",
            "Records kept as dead letters, a minute, by their topic and what is wrong. Normal: none.",
            "cpm",
            Query(
                "60 * sum by (topic, error_class) "
                "(rate(confirmation_dead_letters_total{WORKERS}[$__rate_interval]))",
                "{{topic}} {{error_class}}",
            ),
        ),
    ]
