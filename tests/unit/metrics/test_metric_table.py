import itertools
from pathlib import Path

from router.control.metric_family import Family, Kind
from router.control.metric_table import BOUNDS, DROP_REASONS, REFUSALS, TABLE, markdown
from router.proxy import mirror, refusal

ROOT = Path(__file__).parents[3]


def test_the_documentation_is_made_from_the_table():
    made = "python -m router.control.metric_table > docs/metrics.md"
    assert (ROOT / "docs" / "metrics.md").read_text() == markdown(), f"out of date: {made}"


def test_every_family_of_the_module_is_in_the_table_once():
    import router.control.metric_table as module

    declared = [value for value in vars(module).values() if isinstance(value, Family)]
    assert sorted(family.name for family in declared) == sorted(family.name for family in TABLE)
    assert len({family.name for family in TABLE}) == len(TABLE)


def test_names_are_as_prometheus_wants_them():
    for family in TABLE:
        assert family.name.startswith("titleshot_")
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert family.help.endswith(".")
        assert (family.unit in ("seconds", "bytes")) == family.name.removesuffix("_total").endswith(
            ("_seconds", "_bytes")
        )
        assert "version" not in family.labels or family.name.endswith("_info")


def test_reasons_are_those_of_the_proxy():
    codes = {value.code for value in vars(refusal).values() if isinstance(value, refusal.Refusal)}
    assert set(REFUSALS) == codes
    assert DROP_REASONS == mirror.REASONS


def test_buckets_grow_by_13_percent():
    for family in TABLE:
        assert (family.kind is Kind.HISTOGRAM) == bool(family.bounds)
    assert BOUNDS[0] == 0.001
    assert BOUNDS[-1] > 10
    for narrow, wide in itertools.pairwise(BOUNDS):
        assert abs(wide / narrow - 1.13) < 1e-4
