"""The Prometheus Operator's rules: those of monitoring/ in its envelope, made from them and never by hand."""

import yaml

from tests.deploy.kustomize import ROOT

SOURCE = ROOT / "monitoring/rules/confirmation-streams.rules.yaml"
TARGET = ROOT / "k8s/components/prometheus-operator/rules.yaml"
HEAD = """---
# Made from monitoring/rules: python -m tests.deploy --write-rules
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: confirmation-streams
spec:
"""


def made() -> str:
    """Return what the operator's file must hold."""
    lines = SOURCE.read_text().removeprefix("---\n").splitlines()
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


def write() -> None:
    """Write it, and have the component name it."""
    TARGET.write_text(made())
    kustomization = TARGET.parent / "kustomization.yaml"
    if f"- {TARGET.name}" not in kustomization.read_text():
        kustomization.write_text(kustomization.read_text().rstrip("\n") + f"\n  - {TARGET.name}\n")


def problem() -> str | None:
    """Return what is wrong with the operator's rules."""
    if not TARGET.exists() or TARGET.read_text() != made():
        return "the operator's rules differ from monitoring's: python -m tests.deploy --write-rules"
    listed = yaml.safe_load((TARGET.parent / "kustomization.yaml").read_text())["resources"]
    return None if TARGET.name in listed else "the component does not name its rules"
