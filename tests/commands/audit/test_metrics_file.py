"""An audit's result as a file that node-exporter reads."""

import os
import subprocess
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.commands.audit.matching import Counts, Owed
from streams.commands.audit.metrics_file import gauges, write
from streams.commands.audit.outcome import AuditResult
from streams.commands.topic_reader import RecordId
from streams.observability.metric_catalogue import AUDIT_CATALOGUE
from tests.tools import debian_tool


def found() -> AuditResult:
    counts = Counts()
    counts.asked, counts.emails = 12, 10
    missing = [Owed(RecordId(0, 7), 7001, 1_764_000_000_000), Owed(RecordId(1, 3), None, 1_764_000_000_000)]
    return AuditResult(counts, missing=missing, doubled=[RecordId(0, 9)], in_flight=4)


def as_text() -> str:
    """What the file holds."""
    return generate_latest(gauges(found(), 1_764_000_123.5)).decode()


def test_the_file_says_what_the_audit_counted() -> None:
    """Every metric of the audit's catalogue is there, with its meaning, and no other."""
    families = list(text_string_to_metric_families(as_text()))
    assert [(each.name, each.type, each.documentation) for each in families] == [
        (each.name, each.kind, each.meaning) for each in AUDIT_CATALOGUE
    ]
    assert {each.name: each.samples[0].value for each in families} == {
        "confirmation_audit_timestamp_seconds": 1_764_000_123.5,
        "confirmation_audit_asked_actions": 12,
        "confirmation_audit_emails": 10,
        "confirmation_audit_missing_actions": 2,
        "confirmation_audit_doubled_actions": 1,
        "confirmation_audit_in_flight_actions": 4,
    }


def test_promtool_accepts_it() -> None:
    """Prometheus' own linter has nothing to say."""
    program = debian_tool("promtool", "prometheus")
    done = subprocess.run([program, "check", "metrics"], input=as_text(), capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_replaced_in_one_step(tmp_path: Path) -> None:
    """The new text takes the place of the old file, readable by all, and nothing is left beside it."""
    path = tmp_path / "confirmation.prom"
    path.write_text("old")
    mask = os.umask(0o077)
    try:
        write(path, gauges(found(), 1_764_000_123.5))
    finally:
        os.umask(mask)
    assert path.read_text() == as_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where the target is a folder, or its folder is missing, that is an error, and no half file stays."""
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "folder", gauges(found(), 1.0))
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "confirmation.prom", gauges(found(), 1.0))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
