"""What is said of a value, beside what MLflow's own parsing and enforcement of a signature do with it."""

import math
import warnings

import pytest

from router.artifacts.signature import TYPES, Columns
from router.control.skew.contract import checked
from router.control.skew.names import Break
from router.protocols.protocol import Table

VALUES = (
    7, 7.0, 1.5, -3, "7", "7.5", " 7 ", "1e3", "many", "nan", "False", True, False, None, 2**31, 2**53 + 1, 2**63, 1e39,
    [7], {}, math.nan, math.inf, "2026-01-31", "2026-01-31T10:00:00", "someday",
)  # fmt: skip
REFUSED = object()
GENEROUS = {("datetime", "7.5"), ("datetime", " 7 "), ("datetime", "1e3"), ("datetime", "7"), ("datetime", 2**63)}
"""Texts with digits are taken for times, and numbers for nanoseconds, whatever the size."""


def by_mlflow(kind, value):
    pytest.importorskip("pandas")
    from mlflow.models.utils import _enforce_schema
    from mlflow.types.schema import ColSpec, Schema
    from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

    schema = Schema([ColSpec(kind, "x")])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rows = dataframe_from_parsed_json({"columns": ["x"], "data": [[value]]}, "split", schema)
            return _enforce_schema(rows, schema)["x"].iloc[0]
        except Exception:  # noqa: BLE001 - MLflow's, pandas' and numpy's
            return REFUSED


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_what_is_said_is_what_mlflow_does(kind):
    for value in VALUES:
        if (kind, value if not isinstance(value, (list, dict)) else "") in GENEROUS:
            continue
        broken = {how for _, how in checked(Columns({"x": kind}, frozenset({"x"})), Table({"x": [value]}, 1)).breaks}
        got, told = by_mlflow(kind, value), f"{kind} {value!r}: {broken or 'good'}"
        if not broken:
            assert got is not REFUSED, told
            assert (
                str(got).startswith(value[:10])
                if kind == "datetime"
                else got == value or math.isclose(got, value, rel_tol=1e-6)
            ), told
        elif broken == {Break.COERCED}:
            assert got is not REFUSED, told
            assert repr(got.item() if hasattr(got, "item") else got) != repr(value), told
        elif broken == {Break.WRONG_TYPE}:
            assert got is REFUSED or kind in ("string", "boolean") or str(got) == "NaT", (told, got)
        else:
            assert broken == {Break.NULL}
            assert value is None or math.isnan(value)
            assert kind not in ("integer", "long") or got is REFUSED, told
