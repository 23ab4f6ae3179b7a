"""``make check-deploy``: builds, validates and judges what is deployed, and tests the alerts.

``--write-rules`` makes the Prometheus Operator's rules from those in monitoring/, ``--write-schemas`` the
schemas of the operators' kinds from their own definitions.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import yaml

from tests.deploy import operator_kinds
from tests.deploy.kustomize import ROOT, build
from tests.deploy.mutations import BAD, uncaught
from tests.deploy.rules import problem as rules_problem
from tests.deploy.rules import write
from tests.deploy.validation import name_of, problem

COMPONENTS = sorted(path.parent.name for path in (ROOT / "k8s/components").glob("*/kustomization.yaml"))


#: The dev overlay with all of them.
WHOLE = f"dev + {', '.join(COMPONENTS)}"


def _fit(chosen: Collection[str]) -> bool:
    """Whether each component stands with those that it changes, as `mailer-strimzi` does with two."""
    return all(set(name.split("-")) <= set(chosen) for name in chosen if name.endswith("-strimzi"))


def kustomizations() -> dict[str, list[dict[str, Any]]]:
    """Build both overlays, and the dev overlay with every set of components that fit together."""
    found = {name: build(ROOT / "k8s/overlays" / name) for name in ("dev", "production")}
    for size in range(1, len(COMPONENTS) + 1):
        for chosen in filter(_fit, combinations(COMPONENTS, size)):
            found[f"dev + {', '.join(chosen)}"] = with_components(chosen)
    return found


def with_components(names: Sequence[str]) -> list[dict[str, Any]]:
    """Build the dev overlay with these components, as lines of its own."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "k8s"
        shutil.copytree(ROOT / "k8s", made)
        overlay = made / "overlays/dev"
        file = overlay / "kustomization.yaml"
        said = yaml.safe_load(file.read_text())
        said["components"] += [f"../../components/{name}" for name in names]
        file.write_text(yaml.safe_dump(said))
        return build(overlay)


def main() -> int:
    """Do it all, print what was done, and return the exit code."""
    wrong: list[str] = []
    built = kustomizations()
    click.echo("documents validated:")
    for title, documents in built.items():
        wrong += [f"{title}: {name_of(each)}: {why}" for each in documents if (why := problem(each))]
        click.echo(f"  {title}: {len(documents)}: {', '.join(map(name_of, documents))}")
    click.echo("policies checked (each catches its bad changes):")
    for policy in BAD:
        for title, documents in built.items():
            wrong += [f"{title}: {why}" for why in policy(documents)]
        if uncaught(policy, built[WHOLE]):
            wrong.append(f"policy {policy.__name__} lets a bad change pass")
        click.echo(f"  {policy.__name__}: {policy.__doc__}")
    wrong += [why for why in (rules_problem(), operator_kinds.problem()) if why is not None]
    wrong += _alerts()
    total = sum(map(len, built.values()))
    click.echo(f"{len(built)} kustomizations, {total} documents, {len(BAD)} policies, {len(wrong)} problems")
    click.echo("\n".join(f"WRONG {each}" for each in wrong))
    return 1 if wrong else 0


def _alerts() -> list[str]:
    tests = sorted((ROOT / "monitoring/rules/tests").glob("*.yaml"))
    promtool = shutil.which("promtool")
    if not tests:
        return ["monitoring/rules/tests has no alert tests"]
    if promtool is None:
        return ["alert tests need promtool: apt-get install prometheus"]
    click.echo("alert tests run:")
    done = subprocess.run([promtool, "test", "rules", *tests], capture_output=True, text=True)
    click.echo("".join(f"  {path.relative_to(ROOT)}\n" for path in tests) + done.stdout.strip())
    return [] if done.returncode == 0 else [done.stderr.strip() or "promtool test rules failed"]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write-rules"]:
        write()
        sys.exit(0)
    if sys.argv[1:] == ["--write-schemas"]:
        operator_kinds.FILE.write_text(operator_kinds.made())
        sys.exit(0)
    sys.exit(main())
