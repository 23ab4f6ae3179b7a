"""Draws the README's plot of the incident from what a drill measured.

``make drill JSON=drill.json``, then ``python docs/incident.py drill.json``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TITLES = {
    "healthy": "Lookup healthy",
    "refusing": "Lookup refuses connections",
    "hanging": "Lookup hangs",
    "errors": "Lookup answers 500",
    "rubbish": "Lookup answers rubbish",
}
_OURS, _AS_IT_WAS = "#c2410c", "#64748b"


def emails(drill: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """Return of each mode: its title, actions, emails of a consumer that awaits each lookup, and ours."""
    return [
        (
            TITLES[name],
            sum(group["actions"] for group in mode["groups"].values()),
            sum(mode["as_it_was"]["sent"].values()),
            sum(group["emails"] for group in mode["groups"].values()),
        )
        for name, mode in drill["modes"].items()
    ]


def draw(drill: dict[str, Any], path: Path) -> None:
    """Write the plot to `path`, an SVG."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "incident", "font.family": "DejaVu Sans", "svg.fonttype": "path"})
    from matplotlib import pyplot as plt

    rows = emails(drill)[::-1]
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for offset, color, label, values in (
        (0.19, _AS_IT_WAS, "a consumer that awaits each lookup", [row[2] for row in rows]),
        (-0.19, _OURS, "this app", [row[3] for row in rows]),
    ):
        places = [position + offset for position in range(len(rows))]
        bars = axes.barh(places, values, height=0.36, color=color, label=label)
        axes.bar_label(bars, fmt="{:,.0f}", padding=4, fontsize=9)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_xlim(0, max(row[1] for row in rows) * 1.1)
    title = (
        f"Emails that left, of {rows[0][1]:,} actions, half of them of the organisation whose lookup it is"
    )
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, fontsize=9, loc="lower center", ncols=2)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_bytes()), Path(__file__).parent / "incident.svg")
