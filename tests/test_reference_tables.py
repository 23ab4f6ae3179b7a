"""The tables in docs/reference.md say what the code says."""

import re

import pytest

from streams.observability.metric_catalogue import CATALOGUE, Described
from streams.settings.table import SettingRow, describe
from tests.reference_tables import CLOSED, REFERENCE, metrics_table, renewed, settings_table


def test_the_reference_is_up_to_date() -> None:
    """Settings and metrics stand in the reference as the code has them: python -m tests.reference_tables."""
    text = REFERENCE.read_text(encoding="utf-8")
    assert renewed(text) == text


def test_every_setting_and_every_metric_has_its_line() -> None:
    """None is left out, none is there twice, and each line says what it means."""
    text = REFERENCE.read_text(encoding="utf-8")
    for row in describe():
        assert len(re.findall(rf"^\| `{row.name}`[^|]*\| [^|]", text, re.MULTILINE)) == 1, row.name
    for described in CATALOGUE:
        assert len(re.findall(rf"^\| `{described.name}(?:_total)?` \|", text, re.MULTILINE)) == 1, described


def test_closed_labels_are_labels() -> None:
    """Each label whose values are listed is one that a metric has."""
    assert CLOSED.keys() <= {label for described in CATALOGUE for label in described.labels}


def test_a_wrong_table_is_renewed_and_the_rest_is_left() -> None:
    """Only what stands between the markers changes."""
    text = REFERENCE.read_text(encoding="utf-8")
    stale = re.sub(r"^\| `STREAMS_WEB_PORT`.*\n", "", text, flags=re.MULTILINE)
    assert stale != text
    assert renewed(stale) == text


def test_a_missing_marker_is_named() -> None:
    """A reference that lost a marker is not taken for one that is up to date."""
    with pytest.raises(ValueError, match="<!-- metrics -->"):
        renewed(REFERENCE.read_text(encoding="utf-8").replace("<!-- /metrics -->\n", ""))


def test_cells_are_written_as_markdown_needs_them() -> None:
    """Second names, units, masks, escapes and empty cells."""
    row = SettingRow("STREAMS_A", "A", "5", "s", "1 to 9", "x|y", secret=False)
    assert r"| `STREAMS_A` or `A` | x\|y | `5` | 1 to 9 s |" in settings_table([row])
    hidden = SettingRow("STREAMS_B", "", "", "", "any text", "Password", secret=True)
    assert (
        "| `STREAMS_B` | Password (secret: masked wherever it is shown) | — | any text |"
        in settings_table([hidden])
    )
    table = metrics_table(
        [Described("a_seconds", "histogram", (), "m"), Described("b", "counter", ("l",), "n")]
    )
    assert "| `a_seconds` | histogram | — | seconds | m |" in table
    assert "| `b_total` | counter | `l` | — | n |" in table
