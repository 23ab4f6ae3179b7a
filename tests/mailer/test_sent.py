"""What is remembered, and for how long."""

from pathlib import Path

from examples.mailer.sent import Sent


def test_an_id_outlives_the_process_but_not_its_days(tmp_path: Path) -> None:
    """Written ids are there after reopening, and forgotten after the given number of days."""
    now, path = 1_000_000.0, str(tmp_path / "sent")
    first = Sent(path, 30, lambda: now)
    first.add("a")
    first.add("a")
    assert "a" in first
    assert "b" not in first
    first.close()
    for later, known in ((29, True), (31, False)):
        again = Sent(path, 30, lambda later=later: now + later * 86_400)  # type: ignore[misc]  # bound early
        assert ("a" in again) is known
        again.close()
