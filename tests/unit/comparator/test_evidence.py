import dataclasses
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from duel import CHALLENGER, CHAMPION, Duel, Model, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.events import Mode, Outcome, Role
from comparator.evidence import Evidence
from comparator.guardrail import Verdict
from comparator.pairing import Pairing
from comparator.policy import Guardrail, Metric, Policy
from comparator.words import duration

POLICY = Policy(
    guardrails=(
        Guardrail(Metric.PRECISION, 0.05, offline_tolerance=0.2),
        Guardrail(Metric.LATENCY, 1.0, quantile=0.9),
        Guardrail(Metric.ERROR_RATE, 0.05),
    ),
    bucket_seconds=1.0,
    bucket_min_answers=4,
    min_buckets=10,
    min_answers=200,
    min_labelled_positives=20,
    tau_window_seconds=20.0,
    tau_lag_seconds=1.0,
)
GOOD = Duel(Model(0.10, 0.34), Model(0.12, 0.73))
EQUAL = Duel(Model(0.12, 0.7), Model(0.12, 0.7))


def evidence(policy=POLICY, offline=0.73, mode=Mode.SHADOW, at=1000.0):
    metrics = {} if offline is None else {"precision": offline}
    fresh = Evidence(policy, trial=CHALLENGER, reference=CHAMPION, offline=metrics)
    fresh.enter(mode, at)
    return fresh


def feed(judge, pairing, observations, labels, *, every=2.0, until_fail=False):
    """In slices of data time, as they come live; the last report, or the first that fails."""
    start, stop = float(observations["at"][0]), float(max(observations["at"][-1], labels["at"][-1], 0.0))
    report, at = judge.report(start), start
    while at < stop:
        low, high = np.searchsorted(observations["at"], [at, at + every])
        judge.observe(observations[low:high])
        judge.label(pairing.observe(observations[low:high]))
        low, high = np.searchsorted(labels["at"], [at, at + every])
        judge.label(pairing.label(labels[low:high]))
        at += every
        if until_fail:
            report = judge.report(at)
            if report.verdict is Verdict.FAIL:
                return report
    return judge.report(at)


def run(duel, seconds=60.0, seed=1, *, policy=POLICY, offline=0.73, mode=Mode.SHADOW, canary=0.1):
    observations, labels = traffic(duel, np.random.default_rng(seed), seconds, mode=mode, canary=canary)
    return feed(evidence(policy, offline, mode), Pairing(1e6), observations, labels, until_fail=True)


NO_BAD_LABELS = {"bad_label": 0, "bad_score": 0}


def rail(report, name):
    return next(each for each in report.guardrails if each.name == name)


def test_no_evidence_is_not_a_pass():
    report = evidence().report(1100.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.combined_e == pytest.approx(1.0)
    assert report.seconds_left is None
    assert "200 more answers" in report.reason
    assert json.loads(json.dumps(report.as_data(), allow_nan=False)) == report.as_data()


def test_a_better_challenger_passes_in_shadow():
    report = run(GOOD, seed=2)
    assert report.verdict is Verdict.PASS, report.reason
    assert report.missing == ()
    assert "not worse by 5 points" in report.reason
    assert all(each.proven for each in report.guardrails)
    assert json.loads(json.dumps(report.as_data(), allow_nan=False)) == report.as_data()


@pytest.mark.parametrize(
    ("challenger", "blame"),
    [
        (Model(0.12, 0.24), "precision"),
        (Model(0.10, 0.73, errors=0.3), "error_rate"),
        (Model(0.10, 0.73, errors=1.0), "error_rate"),
        (Model(0.10, 0.73, median_seconds=0.2), "p90_latency"),
    ],
)
@pytest.mark.parametrize(("mode", "seconds"), [(Mode.SHADOW, 40.0), (Mode.CANARY, 150.0)])
def test_clear_harm_rolls_back_and_names_the_guardrail(challenger, blame, mode, seconds):
    report = run(Duel(Model(0.10, 0.73), challenger), seconds, mode=mode, seed=3)
    assert report.verdict is Verdict.FAIL
    assert report.blame == blame
    assert rail(report, blame).verdict is Verdict.FAIL
    assert "worse by" in report.reason
    assert report.combined_e >= report.threshold == pytest.approx(20.0)


def test_a_precision_five_points_worse_is_found():
    policy = dataclasses.replace(POLICY, guardrails=(Guardrail(Metric.PRECISION, 0.05),), bucket_seconds=10.0)
    duel = Duel(Model(0.4, 0.70), Model(0.4, 0.65), rate=200.0, base=0.45)
    report = run(duel, 100.0, policy=policy, seed=4)
    assert report.verdict is Verdict.FAIL


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_equal_versions_pass_in_a_canary(share):
    policy = dataclasses.replace(POLICY, guardrails=POLICY.guardrails[1:])
    report = run(EQUAL, 90.0, policy=policy, mode=Mode.CANARY, canary=share, seed=5)
    assert report.verdict is Verdict.PASS, report.reason


def test_a_trivial_difference_never_rolls_back():
    """Certain, but far below half the margin."""
    policy = dataclasses.replace(POLICY, guardrails=(Guardrail(Metric.ERROR_RATE, 0.5),))
    duel = Duel(Model(errors=0.0), Model(errors=0.05), rate=150.0)
    report = run(duel, 50.0, policy=policy, seed=6)
    assert report.combined_e > report.threshold
    assert report.verdict is Verdict.PASS


def test_what_is_missing_is_said_and_about_how_long_it_takes():
    report = run(dataclasses.replace(EQUAL, rate=20.0), 20.0, seed=7)
    assert report.verdict is Verdict.INCONCLUSIVE
    precision = rail(report, "precision")
    assert precision.verdict is Verdict.INCONCLUSIVE
    assert precision.missing == ("proof that it is not worse by 5 points",)
    assert report.reason.startswith("waiting for precision: proof that it is not worse by 5 points")


def test_a_missing_offline_precision_holds():
    report = run(GOOD, seed=2, offline=None)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "an offline precision of this version" in report.reason


def test_an_offline_claim_that_does_not_hold_live_never_passes():
    report = run(GOOD, seed=2, offline=1.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert any("offline promise (1.000 less 20 points)" in each for each in rail(report, "precision").missing)


def test_labels_that_exist_only_where_the_champion_acted_hold():
    observations, labels = traffic(GOOD, np.random.default_rng(8), 60.0)
    acted = observations[(observations["role"] == Role.CHAMPION) & (observations["prediction"] == 1.0)]
    labels = labels[np.isin(labels["request_lo"], acted["request_lo"])]
    report = feed(evidence(offline=0.1), Pairing(1e6), observations, labels)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.coverage is not None
    assert report.coverage[1] == 0.0
    assert "use a canary" in report.reason


@pytest.mark.parametrize("share", [0.5])
def test_labels_that_never_come_for_some_do_not_bias(share):
    report = run(dataclasses.replace(GOOD, label_share=share, label_delay=10.0), 90.0, seed=9)
    assert report.verdict is Verdict.PASS, report.reason


def test_proof_of_precision_stands_in_the_canary_and_errors_are_proven_anew():
    judge, pairing, rng = evidence(), Pairing(1e6), np.random.default_rng(10)
    assert feed(judge, pairing, *traffic(GOOD, rng, 60.0)).verdict is Verdict.PASS
    judge.enter(Mode.CANARY, 1062.0)
    report = judge.report(1062.0)
    assert report.answers == 0
    assert rail(report, "precision").verdict is Verdict.PASS
    assert rail(report, "error_rate").verdict is Verdict.INCONCLUSIVE
    assert rail(report, "p90_latency").champion is None
    later = traffic(dataclasses.replace(GOOD, label_share=0.01), rng, 90.0, start=1062.0, mode=Mode.CANARY)
    assert feed(judge, pairing, *later).verdict is Verdict.PASS
    judge.enter(Mode.CANARY, 1155.0)  # the next canary step: what was proven in this mode stands
    report = judge.report(1155.0)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.missing == ("200 more answers of 200 in this step",)
    assert all(each.verdict is Verdict.PASS for each in report.guardrails)


def test_a_watch_needs_answers_and_no_harm():
    judge = evidence(mode=Mode.WATCH, offline=None)
    assert judge.report(1000.0).verdict is Verdict.INCONCLUSIVE
    watched = traffic(EQUAL, np.random.default_rng(11), 20.0, mode=Mode.WATCH)
    report = feed(judge, Pairing(1e6), *watched)
    assert report.verdict is Verdict.PASS, report.reason
    assert "the previous champion's" in report.reason
    worse = Duel(Model(), Model(errors=0.5))
    report = feed(
        evidence(mode=Mode.WATCH), Pairing(1e6), *traffic(worse, np.random.default_rng(12), 30.0, mode=Mode.WATCH)
    )
    assert report.verdict is Verdict.FAIL


def test_a_late_regression_is_found():
    policy = dataclasses.replace(POLICY, restart_seconds=30.0)
    judge, pairing, rng = evidence(policy), Pairing(1e6), np.random.default_rng(13)
    assert feed(judge, pairing, *traffic(GOOD, rng, 90.0)).verdict is Verdict.PASS
    report = feed(judge, pairing, *traffic(Duel(Model(), Model(errors=0.4)), rng, 40.0, start=1100.0), until_fail=True)
    assert report.verdict is Verdict.FAIL
    assert report.blame == "error_rate"


def test_what_is_no_evidence_is_left_out_and_counted():
    observations, _ = traffic(EQUAL, np.random.default_rng(14), 10.0)
    n = observations.size
    judge = evidence()
    forced, stranger, unpaired, cancelled, bad, second_row = (observations.copy() for _ in range(6))
    forced["mode"] = Mode.FORCED
    stranger["version"] = 99
    unpaired["attempted_both"] = False
    cancelled["outcome"] = Outcome.CANCELLED
    bad["latency"][:3] = np.nan, -1.0, np.inf
    second_row["row"] = 1
    for each in (forced, stranger, unpaired, cancelled, second_row):
        judge.observe(each)
    assert judge.report(1010.0).answers == 0
    judge.observe(bad)
    report = judge.report(1010.0)
    kinds = {"repeated": 0, "other_version": n, "other_mode": n, "unpaired": n, "warm_up": 0, "bad_latency": 3}
    assert report.left_out == {**kinds, **NO_BAD_LABELS}
    assert report.answers == n // 2
    assert rail(report, "p90_latency").challenger.count + rail(report, "p90_latency").champion.count == n - 3


@pytest.mark.parametrize(("shed", "passes"), [(0.05, True), (0.2, False)])
def test_beyond_a_share_of_shed_copies_nothing_passes(shed, passes):
    observations, labels = traffic(GOOD, np.random.default_rng(3), 60.0)
    dropped = observations[observations["role"] == Role.CHAMPION].copy()
    dropped = dropped[: int(len(dropped) * shed / (1 - shed))]  # beside the pairs: champion's rows without their copy
    dropped["attempted_both"], dropped["shed"] = False, True
    dropped["request_lo"] += 1 << 40
    together = np.concatenate([observations, dropped])
    together = together[np.argsort(together["at"], kind="stable")]
    report = feed(evidence(), Pairing(3600.0), together, labels)
    assert report.shed == pytest.approx(shed, abs=0.005)
    assert (report.verdict is Verdict.PASS) is passes
    assert any("were shed" in each for each in report.missing) is not passes


@given(st.lists(st.floats(0, 25), max_size=6))
@settings(max_examples=5, deadline=None)
def test_a_report_does_not_depend_on_batches(cuts):
    observations, labels = traffic(Duel(Model(errors=0.05), Model(errors=0.1)), np.random.default_rng(15), 25.0)
    reports = []
    for edges in ([0.0, 1e9], [0.0, *(1000.0 + cut for cut in sorted(cuts)), 1e9]):
        judge, pairing = evidence(), Pairing(1e6)
        for low, high in pairwise(edges):
            part = observations[slice(*np.searchsorted(observations["at"], [low, high]))]
            judge.observe(part)
            judge.label(pairing.observe(part))
        for low, high in pairwise(edges):
            judge.label(pairing.label(labels[slice(*np.searchsorted(labels["at"], [low, high]))]))
        reports.append(judge.report(1030.0).as_data())
    assert reports[0] == reports[1]


def test_every_guardrail_from_labels_has_a_test_of_its_own():
    policy = replace(
        POLICY,
        guardrails=(
            Guardrail(Metric.RECALL, 0.1),
            Guardrail(Metric.ERROR_RATE, 0.05),
            Guardrail(Metric.PRECISION, 0.05),
            Guardrail(Metric.F1, 0.1, offline_tolerance=0.2),
            Guardrail(Metric.ACCURACY, 0.05),
        ),
    )
    duel = Duel(Model(0.12, 0.7), Model(0.12, 0.35))
    report = run(duel, 100.0, policy=policy)
    assert report.verdict is Verdict.FAIL
    assert report.blame in {"recall", "precision", "f1", "accuracy"}
    assert [each.name for each in report.guardrails] == ["recall", "error_rate", "precision", "f1", "accuracy"]
    assert rail(report, "recall").challenger.value < rail(report, "recall").champion.value
    assert any("offline F1" in each for each in rail(report, "f1").missing)
    assert rail(report, "accuracy").reason.startswith("accuracy 0.")


def test_labels_that_are_neither_0_nor_1_are_counted():
    observations, labels = traffic(EQUAL, np.random.default_rng(3), 30.0)
    labels["label"][:5] = 0.5
    judge = evidence(replace(POLICY, guardrails=(Guardrail(Metric.PRECISION, 0.1), Guardrail(Metric.RECALL, 0.1))))
    report = feed(judge, Pairing(1e6), observations, labels)
    assert report.left_out["bad_label"] == 5


def test_what_holds_is_said_with_the_time_it_takes_and_the_margin_that_would_do():
    """Noisy latencies: a tight margin is not proven in a minute, one and a half times of it is."""
    policy = dataclasses.replace(
        POLICY, guardrails=(Guardrail(Metric.LATENCY, 0.1, quantile=0.9), Guardrail(Metric.ERROR_RATE, 0.004))
    )
    noisy = Model(0.1, 0.7, sigma=1.0, errors=0.01)
    report = run(Duel(noisy, noisy), 60.0, policy=policy, seed=4)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "proof that it is not worse by 10 % (or a margin of 15 %)" in report.reason
    assert re.search(r"not worse by 0\.4 points \(or a margin of [0-9.]+ points\)", report.reason)
    assert re.search(r", about \d+ (s|min|h|days) more at this rate", report.reason)


@pytest.mark.parametrize(
    ("seconds", "said"), [(5.4, "5 s"), (119, "119 s"), (120, "2 min"), (10_800, "3 h"), (200_000, "2 days")]
)
def test_durations_as_one_would_say_them(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.CANARY])
def test_the_breaker_hears_the_reference_while_the_proxies_keep_traffic_from_the_trial_version(mode):
    """In the record of a breaker that opened the reference answers alone: without a pair, or for the other."""
    duel = Duel(Model(), Model(errors=1.0), rate=10.0, label_share=0.0)
    record, _ = traffic(duel, np.random.default_rng(1), 30.0, mode=mode, canary=0.95)
    ours = record["version"] == CHALLENGER
    opened = record["at"][ours][9]
    cut = (record["at"] > opened) & (record["at"] - record["latency"] < opened + 16.0)
    if mode is Mode.SHADOW:
        record["attempted_both"][cut], record["shed"][cut] = False, True
        record = record[~(cut & ours)]
    else:
        record["version"][cut], record["role"][cut], record["outcome"][cut] = CHAMPION, Role.CHAMPION, Outcome.OK
        record["mode"][cut & ours] = Mode.FORCED
        record = record[~cut | ours]  # by chance it had none of its own
    judge = evidence(mode=mode)
    judge.observe(record)
    assert "10 of its last 10 answers failed" in judge.tripped
    silent = evidence(mode=mode)
    silent.observe(record[(record["at"] <= opened) | (record["version"] == CHALLENGER)])
    assert silent.tripped is None
