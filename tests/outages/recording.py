"""What Prometheus kept of an outage, as a test for promtool."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import promql_parser

from tests.monitoring.queries import rules, selectors
from tests.outages.outages import Outage
from tests.outages.scene import EVERY, Scene
from tests.outages.watch import Watch

BEFORE = 60.0  # seconds that are recorded before an outage
#: Metrics whose values are moments: promtool's clock begins at 0.
_MOMENTS = {"confirmation_oldest_action_timestamp_seconds"}
_LABELS_LEFT_OUT = {"__name__"}

HEAD = {"rule_files": ["../confirmation-streams.rules.yaml"], "evaluation_interval": f"{EVERY}s"}


def metrics_of(alert: str) -> set[str]:
    """Return the metrics that an alert asks for, those of the rules between included."""
    by_name = {rule.get("alert") or rule["record"]: rule["expr"] for _, rule in rules()}
    found: set[str] = set()
    left = [alert]
    while left:
        for selector in selectors(by_name[left.pop()]):
            assert isinstance(selector, promql_parser.VectorSelector)
            name = str(selector.name)
            if name in by_name:
                left.append(name)
            else:
                found.add(name)
    return found


def recorded(scene: Scene, outage: Outage, watch: Watch) -> dict[str, Any]:
    """Return one test: the series from a minute before the outage until its alert fired, and what it said."""
    assert outage.alert is not None
    fired = watch.pages[outage.alert]
    begin, end = watch.began - BEFORE, watch.began + fired + 6 * EVERY
    series: list[dict[str, str]] = []
    for metric in sorted(metrics_of(outage.alert)):
        # What an evaluation of the rules sees at each of these moments: a scrape that came late is no gap.
        answer = scene.prometheus.ask(
            "query_range", query=metric, start=f"{begin:.3f}", end=f"{end:.3f}", step=str(EVERY)
        )
        for found in answer["result"]:
            shift = begin if metric in _MOMENTS else 0.0
            seen = {
                round((float(moment) - begin) / EVERY): round(float(value) - shift, 3)
                for moment, value in found["values"]
            }
            values = [seen.get(number) for number in range(int((end - begin) / EVERY) + 1)]
            series.append({"series": _named(metric, found["metric"], scene), "values": notation(values)})
    labels = {name: value for name, value in watch.alert["labels"].items() if name != "alertname"}
    said = {"exp_labels": _short(labels, scene), "exp_annotations": _short(watch.alert["annotations"], scene)}

    def asked(seconds: float, alerts: list[Any]) -> dict[str, Any]:
        moment = EVERY * round((BEFORE + seconds) / EVERY)
        return {"eval_time": f"{moment}s", "alertname": outage.alert, "exp_alerts": alerts}

    return {
        "name": f"recorded: {outage.title}",
        "interval": f"{EVERY}s",
        "input_series": series,
        "alert_rule_test": [
            asked(0, []),
            asked(fired / 2, []),
            asked(fired - 4 * EVERY, []),
            asked(fired + 3 * EVERY, [said]),
        ],
    }


def notation(values: Sequence[float | None]) -> str:
    """Write values as promtool reads them; the first None after a value is a series that has ended."""
    words: list[str] = []
    before: float | None = None
    for value, run in groupby(values):
        count = len(list(run))
        if value is None:
            if before is not None:
                words.append("stale")
                count -= 1
            words += [f"_x{count}"] if count else []
        else:
            words.append(f"{value:.15g}" + (f"x{count - 1}" if count > 1 else ""))
        before = value
    return " ".join(words)


def _named(metric: str, labels: dict[str, str], scene: Scene) -> str:
    shown = _short({name: labels[name] for name in sorted(labels.keys() - _LABELS_LEFT_OUT)}, scene)
    return f"{metric}{{{', '.join(f'{name}={value!r}' for name, value in shown.items())}}}".replace("'", '"')


def _short(texts: dict[str, str], scene: Scene) -> dict[str, str]:
    """Give every address its short name."""
    made = dict(texts)
    for address, name in scene.instances().items():
        made = {key: text.replace(address, name) for key, text in made.items()}
    return made


def document(tests: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return a file of alert tests."""
    return {**HEAD, "tests": list(tests)}
