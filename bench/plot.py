"""The plot of the README: throughput and delay, side by side, as PNG and SVG."""

from pathlib import Path

from bench import figures
from bench.contenders import CONTENDERS
from bench.results import Results

#: Of whom delay is shown: beside a second of Quix's, all others would be flat.
_DELAYED = ("ours", "kafka-streams-splice", "bare")
_OURS, _OTHERS, _LIMIT = "#c2410c", "#64748b", "#cbd5e1"


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw into `folder`; returns the files, none where nothing was measured that it shows."""
    known = results.scenarios.get("known")
    if known is None or not known.rounds:
        return []
    import matplotlib as mpl

    mpl.use("Agg")
    # The same results give the same file.
    mpl.rcParams.update({"svg.hashsalt": "bench", "font.family": "DejaVu Sans", "svg.fonttype": "path"})
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    _throughput(left, results)
    _delay(right, results)
    figure.tight_layout()
    files = []
    for suffix in ("png", "svg"):
        path = folder / f"bench.{suffix}"
        figure.savefig(path, dpi=150, metadata={"Date": None} if suffix == "svg" else {"Software": None})
        files.append(path)
    plt.close(figure)
    return files


def _throughput(axes, results: Results) -> None:  # type: ignore[no-untyped-def]  # matplotlib is optional
    known = results.scenarios["known"]
    rows = [(name, known.series("rate", name)) for name in known.contenders("") if name in CONTENDERS]
    rows = sorted(
        ((name, figures.spread(series)) for name, series in rows if series), key=lambda row: row[1].median
    )
    medians = [found.median for _, found in rows]
    axes.barh(
        [CONTENDERS[name].title for name, _ in rows],
        medians,
        xerr=[
            [found.median - found.low for _, found in rows],
            [found.high - found.median for _, found in rows],
        ],
        color=[
            _OURS if name == "ours" else _LIMIT if name.startswith("bare") else _OTHERS for name, _ in rows
        ],
        error_kw={"lw": 1, "capsize": 3},
    )
    for position, (_, found) in enumerate(rows):
        axes.annotate(
            f" {found.median:,.0f}",
            (found.high, position),
            va="center",
            xytext=(4, 0),
            textcoords="offset points",
        )
    axes.set_xlim(0, max(found.high for _, found in rows) * 1.2)
    axes.set_title("Actions a second, every status known", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _delay(axes, results: Results) -> None:  # type: ignore[no-untyped-def]  # matplotlib is optional
    latency = results.scenarios.get("latency")
    axes.set_title("Delay to the reader, p99 in ms", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    if latency is None:
        axes.set_axis_off()
        return
    cases = [case for case in latency.cases() if case.endswith("/s")]
    there = list(dict.fromkeys(name for case in cases for name in latency.contenders(case)))
    names = [name for name in there if name in _DELAYED]
    width = 0.8 / max(1, len(names))
    for order, name in enumerate(names):
        series = [latency.series("p99_ms", name, case) for case in cases]
        heights = [figures.spread(values).median if values else 0 for values in series]
        places = [position + (order - (len(names) - 1) / 2) * width for position in range(len(cases))]
        bars = axes.bar(
            places,
            heights,
            width * 0.92,
            color=_OURS if name == "ours" else _LIMIT if name == "bare" else _OTHERS,
            label=CONTENDERS[name].title,
        )
        axes.bar_label(bars, fmt="%.0f", fontsize=9)
    axes.set_xticks(range(len(cases)), cases)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.25)  # room for the legend above the bars
    axes.legend(frameon=False, fontsize=9)
