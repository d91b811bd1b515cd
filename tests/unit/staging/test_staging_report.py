"""The report as data and as a page; what is read of holdout rows and signatures; latency."""

import html
import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.class_code import class_code
from comparator.events import Gated
from comparator.gated import expected_checks, reported
from comparator.guardrail import Verdict
from comparator.policy import Policy
from router.protocols.coding import Coding, Predicts
from router.staging.check import Check, verdict_of
from router.staging.contract import Columns
from router.staging.holdout import HoldoutError, read_holdout
from router.staging.latency import Timed, budget
from router.staging.registered import read_mlmodel
from router.staging.report import Report, as_html, as_json


def report(*checks, model="late-arrival", champion=1, policy=None):
    digest = (policy or Policy()).digest
    return Report(model, 2, champion, digest, "sha256:ab", "http://staging", "titleshot 0.1", 1.7e9, checks)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text += data


def seen(page):
    parser = Tags()
    parser.feed(page)
    return parser


PLAIN = seen(as_html(report(Check("a", Verdict.PASS, "b")).as_data()))


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_no_text_becomes_markup(name, reason, model):
    page = as_html(report(Check(name, Verdict.FAIL, reason), model=model).as_data())
    parser = seen(page)
    assert parser.tags == PLAIN.tags
    assert parser.attributes == PLAIN.attributes
    assert "script" not in parser.tags


def test_a_hostile_report_stays_text():
    bad = "<script>alert(1)</script>\"'&<img src=x onerror=y>"
    page = as_html(report(Check("contract.<b>", Verdict.FAIL, bad), model=bad).as_data())
    assert "<script" not in page
    assert "<img" not in page
    assert html.escape(bad, quote=True) in page


def test_what_is_made_is_what_is_read():
    policy = Policy()
    checks = [
        Check(name, Verdict.PASS, f"{name}\nwas \x1b[31mfine", {"x": float("inf")}) for name in expected_checks(policy)
    ]
    data = json.loads(as_json(report(*checks, policy=policy).as_data()))
    taken = reported(Gated(1.0, "ci", data), 1, policy)
    assert taken.evidence["verdict"] == "PASS"
    assert data["checks"][0]["numbers"] == {}
    long = Check("a", Verdict.FAIL, "x" * 5000).as_data()
    assert len(long["reason"]) == 2000


def test_what_checks_come_to():
    one = {verdict: Check("a", verdict, "b") for verdict in Verdict}
    assert verdict_of([]) is Verdict.INCONCLUSIVE
    assert verdict_of([one[Verdict.PASS]]) is Verdict.PASS
    assert verdict_of([one[Verdict.PASS], one[Verdict.INCONCLUSIVE]]) is Verdict.INCONCLUSIVE
    assert verdict_of(one.values()) is Verdict.FAIL


# ---- latency


def timed(seconds, failed=0, late=0.0):
    return Timed(seconds, [late] * (len(seconds) + failed), failed)


@pytest.mark.parametrize(
    ("q", "of", "most", "verdict", "says"),
    [
        (0.99, timed([0.01] * 500), 0.1, Verdict.PASS, "p99 10.0 ms"),
        (0.99, timed([0.01] * 200), 0.1, Verdict.INCONCLUSIVE, "about 299 requests would tell"),
        (0.99, timed([0.01] * 450 + [0.5] * 50), 0.1, Verdict.FAIL, "the budget is 100.0 ms"),
        (0.99, timed([0.01] * 496 + [0.5] * 4), 0.1, Verdict.INCONCLUSIVE, "requests would tell"),
        (0.99, timed([0.01] * 480, failed=20), 0.1, Verdict.FAIL, "of which 20 failed"),
        (0.99, timed([], failed=500), 0.1, Verdict.FAIL, "no bound"),
        (0.5, timed([0.01] * 100), 0.1, Verdict.PASS, "p50 10.0 ms"),
        (0.5, timed([0.2] * 100), 0.1, Verdict.FAIL, "p50 200.0 ms"),
        (0.5, timed([0.01] * 51 + [0.2] * 49), 0.1, Verdict.INCONCLUSIVE, "requests would tell"),
        (0.5, timed([0.2] * 100, late=0.15), 0.1, Verdict.INCONCLUSIVE, "this machine did not keep the rate"),
        (0.5, timed([]), 0.1, Verdict.INCONCLUSIVE, "nothing was asked"),
    ],
)
def test_a_budget_is_judged_by_the_bounds(q, of, most, verdict, says):
    check = budget(q, of, most, 20.0)
    assert check.verdict is verdict, check.reason
    assert says in check.reason


@given(st.lists(st.floats(0.001, 1.0), min_size=100, max_size=200), st.floats(0.01, 1.0))
def test_a_larger_budget_never_gets_a_worse_verdict(seconds, most):
    order = [Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS]
    small, large = (order.index(budget(0.5, timed(seconds), each, 10.0).verdict) for each in (most, 2 * most))
    assert large >= small


# ---- holdout rows

TYPES = {"x": "double", "n": "long", "b": "boolean", "s": "string"}


def written(tmp_path, *lines):
    path = tmp_path / "holdout.csv"
    path.write_text("x,n,b,s,label\n" + "\n".join(lines) + "\n")
    return path


def test_rows_are_read_by_the_signature(tmp_path):
    found = read_holdout(written(tmp_path, "1.5,2,true,a,1", ",,0,,0", "2,3,FALSE,1,true"), "label", TYPES, Coding())
    assert found.rows == [
        {"x": 1.5, "n": 2, "b": True, "s": "a"},
        {"x": None, "n": None, "b": False, "s": None},
        {"x": 2.0, "n": 3, "b": False, "s": "1"},
    ]
    assert found.labels.tolist() == [1.0, 0.0, 1.0]
    assert found.data_hash.startswith("sha256:")
    classes = read_holdout(written(tmp_path, "1,2,1,a,2", "1,2,1,a,0"), "label", TYPES, Coding(positive=2.0))
    assert classes.labels.tolist() == [1.0, 0.0]
    numbers = read_holdout(written(tmp_path, "1,2,1,a,2.5"), "label", TYPES, Coding(Predicts.NUMBER))
    assert numbers.labels.tolist() == [2.5]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("one,2,true,a,1", "row 1, column x: expected a value of type double"),
        ("1,1.5,true,a,1", "row 1, column n: expected a value of type long"),
        ("1,1,maybe,a,1", "row 1, column b: expected a value of type boolean"),
        ("1,1,true,a,", "row 1: expected a label that is a number"),
        ("1,1,true,a,nan", "row 1: expected a label that is a number"),
    ],
)
def test_a_cell_that_does_not_fit(tmp_path, line, said):
    with pytest.raises(HoldoutError, match=said):
        read_holdout(written(tmp_path, line), "label", TYPES, Coding())


def test_data_that_cannot_be_used(tmp_path):
    path = written(tmp_path, "1,1,true,a,1")
    with pytest.raises(HoldoutError, match="there is no column truth"):
        read_holdout(path, "truth", TYPES, Coding())
    path.write_text("x,label\n")
    with pytest.raises(HoldoutError, match="there are no rows"):
        read_holdout(path, "label", {"x": "double"}, Coding())
    with pytest.raises(HoldoutError, match=r"\.csv or \.parquet"):
        read_holdout(tmp_path / "holdout.txt", "label", TYPES, Coding())


def test_parquet_with_gaps(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"n": pa.array([1.0, float("nan"), None]), "label": pa.array([1, 0, 1])})
    parquet.write_table(table, tmp_path / "h.parquet")
    found = read_holdout(tmp_path / "h.parquet", "label", {"n": "long"}, Coding())
    assert [row["n"] for row in found.rows] == [1, None, None]


# ---- signatures


def mlmodel(inputs):
    return f"signature:\n  inputs: '{inputs}'\n".encode()


def test_the_columns_of_a_signature():
    written_columns = (
        '[{"type": "double", "name": "x", "required": true}, {"type": "long", "name": "n", "required": false}]'
    )
    columns, trouble, example = read_mlmodel(mlmodel(written_columns))
    assert columns == Columns({"x": "double", "n": "long"}, frozenset({"x"}))
    assert (trouble, example) == ("", False)


@pytest.mark.parametrize(
    ("written_model", "said"),
    [
        (b"flavors: {}\n", "no signature"),
        (b"signature: null\n", "no signature"),
        (b": : :", "cannot be read"),
        (b"[]", "cannot be read"),
        (mlmodel("no json"), "cannot be read"),
        (mlmodel("{}"), "no signature"),
        (
            mlmodel('[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]'),
            "inputs without names",
        ),
        (mlmodel('[{"type": "binary", "name": "x"}]'), "of type"),
        (mlmodel('[{"type": {"a": 1}, "name": "x"}]'), "of type"),
        (mlmodel('{"x": 1}'), "cannot be read"),
    ],
)
def test_a_signature_that_cannot_be_checked(written_model, said):
    columns, trouble, _ = read_mlmodel(written_model)
    assert columns is None
    assert said in trouble


@pytest.mark.parametrize(
    ("coding", "cells", "labels"),
    [
        (Coding(Predicts.MULTICLASS), ("cancel", "2"), [class_code("cancel"), 2.0]),
        (Coding(Predicts.MULTICLASS, classes=("a",)), ("cancel", "2"), [class_code("cancel"), class_code("2")]),
        (Coding(Predicts.MULTICLASS, classes=(1.0,)), ("3", "true"), [3.0, 1.0]),
        (Coding(positive="late"), ("late", "1"), [1.0, 0.0]),
        (Coding(positive="1"), ("late", "1"), [0.0, 1.0]),
    ],
)
def test_labels_that_are_classes(tmp_path, coding, cells, labels):
    path = written(tmp_path, *(f"1,2,1,a,{cell}" for cell in cells))
    assert read_holdout(path, "label", TYPES, coding).labels.tolist() == labels


@pytest.mark.parametrize("coding", [Coding(Predicts.MULTICLASS, classes=(1.0,)), Coding(Predicts.NUMBER), Coding()])
def test_a_label_that_is_no_number_where_classes_are(tmp_path, coding):
    with pytest.raises(HoldoutError, match="row 1: expected a label that is a number"):
        read_holdout(written(tmp_path, "1,2,1,a,cancel"), "label", TYPES, coding)


def test_a_cell_without_a_label(tmp_path):
    with pytest.raises(HoldoutError, match="row 1: expected a label"):
        read_holdout(written(tmp_path, "1,2,1,a,"), "label", TYPES, Coding(Predicts.MULTICLASS))
