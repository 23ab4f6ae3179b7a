"""How the dashboard's panels look: kinds, colours, units and legends, the same everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    LineInterpolation,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardSpecialValueMapOptions,
    DataSourceRef,
    DynamicConfigValue,
    SpecialValueMap,
    SpecialValueMatch,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
#: What a panel says where a query has no answer: an unknown number is not 0, and is not green.
NO_DATA = "no data"
GREEN, YELLOW, ORANGE, RED, GREY = "green", "#EAB839", "orange", "red", "#8e8e8e"

#: What queries write for the variables that choose workers, mailers, bridges and organisations.
MATCHERS = {
    "WORKERS": 'job=~"$job", instance=~"$instance"',
    "MAILERS": 'job=~"$mailer"',
    "BRIDGES": 'job=~"$bridge"',
    "ORGANISATIONS": 'organisation=~"$organisation"',
}


class Query(NamedTuple):
    """What a panel asks, with the words of MATCHERS; ``{{label}}`` in the legend is that label's value."""

    expression: str
    legend: str


def _expression(written: str) -> str:
    for word, matchers in MATCHERS.items():
        written = written.replace(word, matchers)
    return written


def _targets(panel: Any, queries: tuple[Query, ...]) -> Any:
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(
            prometheus.Dataquery()
            .expr(_expression(query.expression))
            .legend_format(query.legend)
            .ref_id(letter)
            .range()
        )
    return panel


def _thresholds(steps: Mapping[float, str]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(None, GREEN), *(Threshold(value, colour) for value, colour in steps.items())])
    )


def _unknown() -> SpecialValueMap:
    """Say so where a number is missing, or a share of nothing."""
    unknown = ValueMappingResult(NO_DATA, GREY, index=0)
    return SpecialValueMap(DashboardSpecialValueMapOptions(SpecialValueMatch.NULL_AND_NAN, unknown))


def number(title: str, about: str, unit: str, query: Query, steps: Mapping[float, str]) -> stat.Panel:
    """Return a panel with one number, coloured by the thresholds in `steps`; green below the first.

    Args:
        title: what the number is.
        about: what it means to whoever is on call.
        unit: Grafana's name of its unit.
        query: what is asked.
        steps: colour from a value upwards.
    """
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(NO_DATA)
        .mappings([_unknown()])
        .thresholds(_thresholds(steps))
        .color_mode(BigValueColorMode.BACKGROUND)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .height(5)
        .span(3)
    )
    return _targets(panel, (query,))  # type: ignore[no-any-return]  # the panel itself


def lines(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    steps: Mapping[float, str] | None = None,
) -> timeseries.Panel:
    """Return a plot of lines over time, with the last and the greatest value in its legend.

    Args:
        title: what is plotted.
        about: what it means to whoever is on call.
        unit: Grafana's name of its unit.
        queries: what is asked.
        width: in Grafana's 24 columns.
        steps: where a dashed line is drawn, and in which colour.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .no_value(NO_DATA)
        .axis_soft_min(0)
        .draw_style(GraphDrawStyle.LINE)
        .line_width(1)
        .line_interpolation(LineInterpolation.LINEAR)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .height(8)
        .span(width)
    )
    if steps:
        panel.thresholds(_thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        )
    return _targets(panel, queries)  # type: ignore[no-any-return]  # the panel itself


def stacked(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    width: int = 8,
    colours: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Return a plot of parts that make up a whole; `colours` by regular expression over the legend."""
    panel = lines(title, about, unit, *queries, width=width)
    panel.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for pattern, colour in (colours or {}).items():
        panel.override_by_regexp(
            pattern, [DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})]
        )
    return panel


def logarithmic(panel: timeseries.Panel) -> timeseries.Panel:
    """Give a plot an axis on which milliseconds and minutes can both be read."""
    return panel.scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LOG).log(10))


def heat(title: str, about: str, unit: str, expression: str, *, width: int = 8) -> heatmap.Panel:
    """Return a heat map of a histogram's buckets."""
    panel = (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .no_value(NO_DATA)
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .cell_gap(1)
        .show_tooltip()
        .height(8)
        .span(width)
    )
    return panel.with_target(
        prometheus.Dataquery()
        .expr(_expression(expression))
        .legend_format("{{le}}")
        .format(PromQueryFormat.HEATMAP)
        .ref_id("A")
        .range()
    )


def states(
    title: str,
    about: str,
    query: Query,
    names: Mapping[int, tuple[str, str]],
    *,
    width: int = 8,
    height: int = 8,
    nothing: str = NO_DATA,
) -> statetimeline.Panel:
    """Return a band over time for each series.

    Args:
        title: what is shown.
        about: what it means to whoever is on call.
        query: what is asked.
        names: text and colour of each value.
        width: in Grafana's 24 columns.
        height: in rows of its grid.
        nothing: what the panel says where there is no series.
    """
    mapping = ValueMap(
        {
            str(value): ValueMappingResult(text, colour, index=index)
            for index, (value, (text, colour)) in enumerate(names.items())
        }
    )
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit("none")
        .no_value(nothing)
        .mappings([mapping])
        .show_value(VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .height(height)
        .span(width)
    )
    return _targets(panel, (query,))  # type: ignore[no-any-return]  # the panel itself
