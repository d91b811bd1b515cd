import uuid

import numpy as np
import pytest
from duel import Duel, Model, traffic
from hypothesis import given
from hypothesis import strategies as st

from comparator.columns import key_bytes, label_columns, observation_columns
from comparator.events import LABEL, OBSERVATION, Mode, Outcome, Role, request_key
from comparator.policy import Guardrail, Metric, Policy, Step, StepKind
from comparator.replaying import replay

IDS = [str(uuid.UUID(int=each)) for each in (1, 1, 2, 3)]
PLAIN = {
    "at": [1.0, 1.5, 2.0, 3.0],
    "request_id": IDS,
    "role": ["champion", "challenger", "champion", "challenger"],
    "latency": [0.1, 0.2, float("nan"), -1.0],
    "status": [200, 503, 404, 0],
    "prediction": [1, None, False, 0.0],
}
TRUTHS = {"at": [9.0, 9.5], "request_id": ["a", "b"], "label": [True, 0]}


def without(source, name):
    return {key: value for key, value in source.items() if key != name}


def same(one, other):
    assert one.dtype == other.dtype
    for name in one.dtype.names:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_lists_and_what_is_left_out():
    out = observation_columns(PLAIN)
    assert out.dtype == OBSERVATION
    assert out["mode"].tolist() == [Mode.SHADOW, Mode.SHADOW, Mode.CANARY, Mode.CANARY]
    assert out["attempted_both"].tolist() == [True, True, False, False]
    assert out["version"].tolist() == [1, 2, 1, 2]
    assert out["outcome"].tolist() == [Outcome.OK, Outcome.SERVER_ERROR, Outcome.CLIENT_ERROR, Outcome.CONNECT]
    assert out["request_lo"].tolist() == [1, 1, 2, 3]
    assert out["row"].tolist() == [0, 0, 0, 0]
    np.testing.assert_array_equal(out["prediction"], [1.0, np.nan, 0.0, 0.0])
    np.testing.assert_array_equal(out["latency"], np.array([0.1, 0.2, np.nan, -1.0], dtype=np.float32))
    assert np.isnan(out["score"]).all()


def test_a_structured_array_gives_the_same():
    dtype = [("at", "f8"), ("request_id", "U36"), ("role", "U10"), ("latency", "f4"), ("status", "i2")]
    rows = [*zip(*(PLAIN[name] for name, _ in dtype), strict=True)]
    expected = observation_columns(without(PLAIN, "prediction"))
    same(observation_columns(np.array(rows, dtype=dtype)), expected)
    arrays = {name: np.array(PLAIN[name]) for name, _ in dtype}
    same(observation_columns({**arrays, "role": [Role.CHAMPION, 1, 0, Role.CHALLENGER]}), expected)


def test_every_way_to_write_an_id():
    ids = ["a", IDS[0], 5, (1 << 128) - 1]
    out = label_columns({"at": [0.0] * 4, "request_id": ids, "label": [0, 1, 0, 1]})
    expected = [request_key("a"), 1, 5, (1 << 128) - 1]
    assert [(int(row["request_hi"]) << 64) | int(row["request_lo"]) for row in out] == expected
    small = label_columns({"at": np.zeros(2), "request_id": np.array([7, 8]), "label": np.ones(2)})
    assert small["request_lo"].tolist() == [7, 8]
    halves = {"request_hi": out["request_hi"], "request_lo": out["request_lo"]}
    same(label_columns({"at": [0.0] * 4, **halves, "label": [0, 1, 0, 1]}), out)


@given(st.uuids().map(str) | st.text("0123456789abcdefABCDEF-_ {}xg\u0660", min_size=30, max_size=38) | st.text())
def test_the_quick_key_is_the_key(text):
    assert int.from_bytes(key_bytes(text), "big") == request_key(text)


SHAPES = ["{}-" * 4 + "{}", "{}{}{}{}-{}---", " {}{}{}{}{}   ", "{{{}-{}{}{}{}}}-", "urn:{}{}{}{}{}"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_quick_key_of_odd_uuids_is_the_key(shape):
    text = shape.format("01234567", "89ab", "cdef", "0123", "456789abcdef")
    assert int.from_bytes(key_bytes(text), "big") == request_key(text)


def test_modes_versions_and_outcomes_as_told():
    told = {**PLAIN, "mode": ["watch", "canary", 1, "shadow"], "version": ["7", 8, "7", 8]}
    out = observation_columns({**told, "ok": [True, False, True, False]})
    assert out["mode"].tolist() == [Mode.WATCH, Mode.CANARY, Mode.SHADOW, Mode.SHADOW]
    assert out["attempted_both"].tolist() == [True, False, True, True]
    assert out["version"].tolist() == [7, 8, 7, 8]
    assert out["outcome"].tolist() == [Outcome.OK, Outcome.SERVER_ERROR, Outcome.OK, Outcome.CONNECT]
    no_status = without(PLAIN, "status")
    assert observation_columns({**no_status, "ok": [True, False, 1, 0]})["outcome"].tolist() == [0, 2, 0, 2]
    assert observation_columns({**no_status, "outcome": [0, 3, 6, 4]})["outcome"].tolist() == [0, 3, 6, 4]
    both = {**PLAIN, "status": [200] * 4, "ok": [True, False, True, True], "attempted_both": [False] * 4}
    assert observation_columns(both)["outcome"].tolist() == [Outcome.OK, Outcome.GARBAGE, Outcome.OK, Outcome.OK]
    assert not observation_columns(both)["attempted_both"].any()


def test_a_watch_is_known_by_the_previous_champion():
    out = observation_columns({**PLAIN, "role": ["champion", "previous", "previous", "champion"]})
    assert out["mode"].tolist() == [Mode.WATCH, Mode.WATCH, Mode.WATCH, Mode.CANARY]
    assert out["version"].tolist() == [2, 1, 1, 1]


def test_columns_that_are_ours_are_not_copied():
    for dtype, make in ((OBSERVATION, observation_columns), (LABEL, label_columns)):
        ours = np.zeros(3, dtype=dtype)
        assert make(ours) is ours


def test_a_record_without_rows():
    nothing = {name: [] for name in PLAIN}
    assert observation_columns(nothing).size == 0
    assert label_columns({name: [] for name in TRUTHS}).size == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"at": [1.0, float("nan"), 2.0, 3.0]},
            "at: row 1: expected seconds since the epoch, before the year 10000, not nan",
        ),
        ({"at": [1.0, -1.0, 2.0, 3.0]}, "at: row 1: expected seconds since the epoch, before the year 10000, not -1.0"),
        ({"at": [1.0, 1.0, 1.7e12, 3.0]}, "at: row 2: expected seconds since the epoch, before the year 10000, not"),
        ({"at": [1.0, 2.0, None, 3.0]}, "at: row 2: expected a number, not None"),
        ({"at": ["now"] * 4}, "at: row 0: expected a number, not 'now'"),
        (
            {"role": ["champion", "champ", "champion", "champion"]},
            "role: row 1: expected champion, challenger, previous",
        ),
        ({"role": [0, 1, 0, 3]}, "role: row 3: expected champion"),
        ({"role": np.array([0, 1, 0, -1])}, "role: row 3: expected champion"),
        ({"mode": ["shadow", "shadow", "shade", "shadow"]}, "mode: row 2: expected none, shadow, canary, watch"),
        ({"row": [0, 0, -1, 0]}, "row: row 2: expected a whole number from 0 to 4294967295, not -1"),
        ({"row": np.array([0, 0, 0, -2])}, "row: row 3: expected a whole number"),
        ({"row": [0.0, 0.5, 0.0, 0.0]}, "row: row 1: expected a whole number"),
        ({"version": [1, 2, "v3", 4]}, "version: row 2: expected a whole number from 1"),
        ({"version": [1, 0, 1, 2]}, "version: row 1: expected a whole number from 1"),
        ({"request_id": ["a", "b", "", "c"]}, "request_id: row 2: expected text, or a whole number"),
        ({"request_id": [1, 2, -3, 4]}, "request_id: row 2: expected text, or a whole number"),
        ({"request_id": [1, 2, 3, 1 << 128]}, "request_id: row 3: expected text, or a whole number"),
        ({"request_id": np.array([1, 2, -3, 4])}, "request_id: row 2: expected text, or a whole number"),
        ({"request_id": [1.5, 2, 3, 4]}, "request_id: row 0: expected text, or a whole number"),
        ({"status": [200, 700, 200, 200]}, "status: row 1: expected a whole number from 0 to 599"),
        ({"status": [200, 20, 200, 200]}, "status: row 1: expected an HTTP status"),
        ({"ok": [True, True, True, "no"]}, "ok: row 3: expected true or false, not 'no'"),
        ({"outcome": [0, 1, 2, 9]}, "outcome: row 3: expected a whole number from 0 to 8"),
        ({"prediction": [1, 0, "late", 0]}, "prediction: row 2: expected a number, not 'late'"),
        ({"latency": [0.1, "slow", 0.1, 0.1]}, "latency: row 1: expected a number, not 'slow'"),
        ({"latency": [0.1, 0.1, 0.1]}, "latency: expected 4 rows, as `at` has, not 3"),
        ({"latency": np.zeros((4, 2))}, "latency: expected one dimension, not 2"),
        ({"latency": "fast"}, "latency: expected an array or a list, not str"),
        ({"latency_s": [0.1] * 4}, "latency_s: expected it or latency, not both"),
        ({"request_hi": [0] * 4, "request_lo": [0] * 4}, "request_id: expected it or request_hi and request_lo"),
        ({"colour": [0] * 4}, "colour: unknown field; expected columns among at, attempted_both"),
    ],
)
def test_observations_that_are_refused(change, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is tested
        observation_columns({**PLAIN, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("at", "at: expected this field"),
        ("role", "role: expected this field"),
        ("request_id", "request_id: expected this field"),
        ("status", "status: expected this field, ok or outcome"),
    ],
)
def test_observations_that_lack_a_field(name, message):
    with pytest.raises(ValueError, match=message):
        observation_columns(without(PLAIN, name))


@pytest.mark.parametrize("label", [["1", "0"], [1, "late"], [[1], 0], np.array(["1", "0"])])
def test_labels_of_the_wrong_type_are_refused(label):
    with pytest.raises(ValueError, match=r"label: row [01]: expected a number, not"):
        label_columns({**TRUTHS, "label": label})


def test_labels_that_are_no_number_stay_for_the_judge_to_count():
    out = label_columns({**TRUTHS, "label": [float("nan"), None]})
    assert np.isnan(out["label"]).all()


def test_an_array_without_names_is_refused():
    with pytest.raises(ValueError, match="expected columns with names"):
        label_columns(np.zeros(3))


def test_a_replay_of_a_dict_decides_as_one_of_our_columns():
    policy = Policy(
        steps=(Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE)),
        guardrails=(Guardrail(Metric.PRECISION, 0.1),),
        block_requests=4,
    )
    observations, labels = traffic(Duel(Model(0.12, 0.9), Model(0.12, 0.2)), np.random.default_rng(2), 60.0)
    plain = {
        "at": observations["at"],
        "request_id": [(int(row["request_hi"]) << 64) | int(row["request_lo"]) for row in observations],
        "role": [Role(role).name.lower() for role in observations["role"]],
        "latency_s": observations["latency"],
        "ok": observations["outcome"] == Outcome.OK,
        "prediction": observations["prediction"],
    }
    truths = {name: labels[name] for name in LABEL.names}
    expected = replay(policy, observations, labels)
    assert replay(policy, plain, truths) == expected
    assert expected[-1].phase == "rolled_back"
    named = replay(policy, plain, truths, champion=7, challenger=8)
    assert [(each.kind, each.version) for each in named] == [(each.kind, 8) for each in expected]
