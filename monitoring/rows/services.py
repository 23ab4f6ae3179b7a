"""Lookup services: what they answer, how fast, and whether they are asked."""

from __future__ import annotations

from typing import Any

from monitoring.panels import (
    GREEN,
    RED,
    YELLOW,
    Query,
    heat,
    lines,
    logarithmic,
    stacked,
    states,
)


def lookups() -> list[Any]:
    """What do the organisations' services do?"""
    durations = "confirmation_lookup_duration_seconds_bucket{WORKERS}[$__rate_interval]"
    return [
        stacked(
            "Lookups by organisation and outcome",
            "For actions whose status was missing, a second. An error means two buttons, never no email.",
            "ops",
            Query(
                "sum by (organisation, outcome) "
                "(rate(confirmation_lookups_total{WORKERS, ORGANISATIONS}[$__rate_interval]))",
                "{{organisation}} {{outcome}}",
            ),
            colours={"/error/": RED},
        ),
        lines(
            "Failed lookups by organisation and cause",
            "Share of an organisation's lookups. circuit_open: its breaker is open, and it was not asked.",
            "percentunit",
            Query(
                "sum by (organisation, cause) (rate("
                'confirmation_lookups_total{WORKERS, ORGANISATIONS, outcome="error"}[$__rate_interval]))'
                " / on (organisation) group_left sum by (organisation) "
                "(rate(confirmation_lookups_total{WORKERS, ORGANISATIONS}[$__rate_interval]))",
                "{{organisation}} {{cause}}",
            ),
        ),
        states(
            "Circuit breakers",
            "The worst among the workers. Open: the service is not asked, and two buttons leave at once.",
            Query(
                "max by (organisation) ("
                '2 * (confirmation_lookup_breaker_state{WORKERS, ORGANISATIONS, state="open"} > bool 0)'
                ' or (confirmation_lookup_breaker_state{WORKERS, ORGANISATIONS, state="half_open"} > bool 0)'
                ' or 0 * confirmation_lookup_breaker_state{WORKERS, ORGANISATIONS, state="closed"})',
                "{{organisation}}",
            ),
            {0: ("closed", GREEN), 1: ("half-open", YELLOW), 2: ("open", RED)},
        ),
        heat(
            "Lookup duration",
            "How long exchanges with the services took, failed ones too: each column is one moment.",
            "s",
            f"sum by (le) (increase({durations}))",
            width=12,
        ),
        logarithmic(
            lines(
                "Lookup duration by outcome",
                "Half, and 99 of 100, of the exchanges took no longer than this.",
                "s",
                *(
                    Query(
                        f"histogram_quantile({share}, sum by (outcome, le) (rate({durations})))",
                        f"p{share * 100:g} {{{{outcome}}}}",
                    )
                    for share in (0.5, 0.99)
                ),
                width=12,
            )
        ),
    ]
