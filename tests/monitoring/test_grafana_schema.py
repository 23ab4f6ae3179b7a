"""The dashboard against Grafana's own types, in the version that the compose file runs."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.monitoring.queries import ROOT, read_dashboard
from tests.node import NODE, installed

LOCKED = Path(__file__).parent / "grafana-schema"
#: Where @grafana/schema has the options of each kind of panel, and those of its fields.
KINDS = {
    "heatmap": ("HeatmapPanelCfg", "FieldConfig"),
    "stat": ("StatPanelCfg", None),
    "state-timeline": ("StateTimelinePanelCfg", "FieldConfig"),
    "timeseries": ("TimeSeriesPanelCfg", "FieldConfig"),
}
#: Grafana's types name the values of an enumeration only as its members; JSON has the values.
HEAD = """
import type { Dashboard, FieldConfig, FieldConfigSource, Panel, RowPanel } from "@grafana/schema";
type Json<T> = T extends string ? `${T}` : T extends (infer U)[] ? Json<U>[]
    : T extends object ? { [K in keyof T]: Json<T[K]> } : T;
type Fields<F> = Json<Omit<FieldConfig, "custom">> & { custom?: Json<Partial<F>> };
type Shown<O, F> = Json<Omit<Panel, "options" | "fieldConfig">> & {
    options: Json<Partial<O>>;
    fieldConfig: Json<Omit<FieldConfigSource, "defaults">> & { defaults: Fields<F> };
};
"""
#: What the builder writes and Grafana ignores: for each variable, fields of other kinds; a theme.
OF_VARIABLES = ("auto", "auto_count", "auto_min", "id")
OF_DASHBOARD = ("style",)
#: The builder knows Grafana 10's tooltip of a heat map; Grafana reads it as this one.
TOOLTIP = {"show": True}, {"mode": "single"}


def program(dashboard: dict[str, Any]) -> str:
    """Return TypeScript with each part of a dashboard as a literal, which may have its type's fields only."""
    lines = [HEAD]
    for kind, (file, _) in KINDS.items():
        path = (
            f"@grafana/schema/dist/types/raw/composable/{kind.replace('-', '')}/panelcfg/x/{file}_types.gen"
        )
        lines.append(f'import type * as {file} from "{path}";')
    rest = copy.deepcopy(dashboard)
    for variable in rest["templating"]["list"]:
        for name in OF_VARIABLES:
            variable.pop(name)
    for name in OF_DASHBOARD:
        rest.pop(name)
    for panel in rest.pop("panels"):
        kind = "Json<RowPanel>"
        if panel["type"] != "row":
            file, fields = KINDS[panel["type"]]
            if panel["type"] == "heatmap":
                old, new = TOOLTIP
                assert panel["options"]["tooltip"] == old
                panel["options"]["tooltip"] = new
            kind = f"Shown<{file}.Options, {f'{file}.{fields}' if fields else 'Record<string, never>'}>"
        lines.append(f"export const panel{panel['id']}: {kind} = {json.dumps(panel)};")
    lines.append(f"export const dashboard: Json<Dashboard> = {json.dumps(rest)};")
    return "\n".join(lines)


def test_the_dashboard_has_the_form_of_grafana_s_own_types(tmp_path: Path) -> None:
    """Grafana knows each field of each panel and takes its value; a wrong name or value is found."""
    modules = installed(LOCKED)
    (tmp_path / "node_modules").symlink_to(modules)
    shipped = read_dashboard()
    wrong = copy.deepcopy(shipped)
    options = [panel["options"] for panel in wrong["panels"] if panel["type"] == "stat"]
    options[0]["colorMod"] = options[0].pop("colorMode")
    options[1]["colorMode"] = "backgrund"
    (tmp_path / "shipped.ts").write_text(program(shipped))
    (tmp_path / "wrong.ts").write_text(program(wrong))
    compiler = [NODE, modules / "typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck"]
    done = subprocess.run(
        [*compiler, "--moduleResolution", "node10", "--module", "commonjs", "shipped.ts", "wrong.ts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert [line for line in lines if not line.startswith("wrong.ts")] == []
    assert [('"colorMod"' in line, '"backgrund"' in line) for line in lines] == [(True, False), (False, True)]


def test_the_types_are_those_of_the_version_that_compose_runs() -> None:
    """A dashboard is checked against the Grafana that shows it."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    version = compose["services"]["grafana"]["image"].rpartition(":")[2]
    assert json.loads((LOCKED / "package.json").read_text())["dependencies"]["@grafana/schema"] == version
