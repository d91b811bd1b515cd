"""What the judge wants to know of a version, out of tags, run and logged model."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.lineage import model_in_source, offline_metrics, version_facts


def facts(version_tags=(), run_tags=(), model_metrics=(), run_metrics=(), digests=()):
    return version_facts(7, dict(version_tags), dict(run_tags), dict(model_metrics), dict(run_metrics), list(digests))


def test_the_logged_model_speaks_before_the_run_and_the_run_before_tags():
    found = facts(
        version_tags={"metric.precision": "0.1", "metric.recall": "0.2", "metric.F1": "0.3", "stage": "0.4"},
        run_metrics={"precision": 0.5, "recall": 0.6},
        model_metrics={"precision": 0.7},
    )
    assert found.version == 7
    assert found.offline == {"precision": 0.7, "recall": 0.6, "f1": 0.3}


def test_whoever_registered_it_by_the_registry_and_by_the_tag():
    assert facts().registered_by == ()
    assert facts({"titleshot.registered_by": " ann "}).registered_by == ("ann",)
    assert version_facts(7, {"titleshot.registered_by": "ann"}, {}, {}, {}, [], "ci").registered_by == ("ci", "ann")
    assert version_facts(7, {"titleshot.registered_by": "ann"}, {}, {}, {}, [], "ann").registered_by == ("ann",)
    assert version_facts(7, {}, {}, {}, {}, [], "").registered_by == ()
    for no_name in ("", " ", "a\nb", "\x1b[31m", "x" * 251):
        assert facts({"titleshot.registered_by": no_name}).registered_by == ()


def test_git_sha_and_data_hash_of_the_version_come_before_those_of_the_run():
    tags = {"git_sha": "a", "data_hash": "b"}
    assert (facts(tags, {"git_sha": "c", "data_hash": "d"}).git_sha, facts(tags).data_hash) == ("a", "b")
    assert facts((), {"git_sha": "c"}).git_sha == "c"
    assert facts({"mlflow.source.git.commit": "v"}, {"git_sha": "c"}).git_sha == "v"
    assert facts((), {"mlflow.source.git.commit": "r"}).git_sha == "r"
    assert facts((), {"data_hash": "d"}, digests=["e"]).data_hash == "d"
    assert facts((), (), digests=["", "e"]).data_hash == "e"


@pytest.mark.parametrize("nothing", ["", "   ", "x" * 251])
def test_what_is_empty_or_no_hash_at_all_is_not_there(nothing):
    found = facts({"git_sha": nothing, "data_hash": nothing})
    assert (found.git_sha, found.data_hash) == (None, None)


@pytest.mark.parametrize("value", ["", "high", "nan", "1e999", "0." + "1" * 100, math.inf, None, [1.0], 10**400])
def test_what_is_no_finite_number_is_no_metric(value):
    assert offline_metrics({"precision": value}, {"precision": 0.5}) == {"precision": 0.5}


@given(st.dictionaries(st.text(), st.floats() | st.text() | st.integers()))
def test_metrics_are_always_finite_and_lower_case(source):
    found = offline_metrics(source)
    assert all(math.isfinite(value) and name == name.lower() for name, value in found.items())


@pytest.mark.parametrize(
    ("source", "model"),
    [
        ("models:/m-0123456789abcdef", "m-0123456789abcdef"),
        ("models:/m-0123/artifacts", "m-0123"),
        ("models:/late/3", None),
        ("s3://bucket/m-1", None),
        ("models:/m-../../x", None),
        ("", None),
        (None, None),
    ],
)
def test_the_logged_model_is_found_in_the_source(source, model):
    assert model_in_source(source) == model
