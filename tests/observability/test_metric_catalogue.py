"""The names of metrics."""

from streams.observability import metric_catalogue as catalogue
from streams.observability.metric_catalogue import AUDIT_CATALOGUE, CATALOGUE, Described


def test_every_name_in_the_catalogue_is_described() -> None:
    """Names are unique, in base units, without Prometheus's own suffix, and each has a sentence."""
    both = [*CATALOGUE, *AUDIT_CATALOGUE]
    assert len({described.name for described in both}) == len(both)
    for described in both:
        assert described.name.startswith("confirmation_")
        assert not described.name.endswith(("_total", "_milliseconds"))
        assert described.meaning.endswith(".")
        assert described.kind in ("counter", "gauge", "histogram")


def test_nothing_that_is_described_is_left_out() -> None:
    """Each metric of the module is in one of the two lists."""
    named = {each for each in vars(catalogue).values() if isinstance(each, Described)}
    assert named == {*CATALOGUE, *AUDIT_CATALOGUE}
