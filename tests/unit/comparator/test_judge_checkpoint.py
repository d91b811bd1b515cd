"""A restart from a checkpoint, anywhere in a record, goes on as if there had been none."""

import dataclasses
import json
from functools import cache

import numpy as np
import pytest
from duel import Duel, Model, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from comparator.checkpoint import _CLASSES, LAYOUT, Unusable, digest, freeze
from comparator.events import AliasesRead, Decision, DecisionKind, Labels, Mode, Observations, Tick, VersionFacts
from comparator.outside import Check, Outside
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.resuming import checkpoint, go_on, rejoin
from comparator.title import Title

POLICY = Policy(
    steps=(
        Step(StepKind.SHADOW, 100, 5.0),
        Step(StepKind.CANARY, 50, 5.0),
        Step(StepKind.PROMOTE),
        Step(StepKind.WATCH, 100, 5.0),
    ),
    guardrails=(
        Guardrail(Metric.PRECISION, 0.1, offline_tolerance=0.3),
        Guardrail(Metric.LATENCY, 1.0, quantile=0.9),
        Guardrail(Metric.RECALL, 0.3),
        Guardrail(Metric.ERROR_RATE, 0.1),
    ),
    gate=Gate.OFF,
    bucket_seconds=1.0,
    bucket_min_answers=3,
    min_buckets=5,
    min_answers=50,
    min_labelled_positives=10,
    tau_window_seconds=10.0,
    tau_lag_seconds=1.0,
    restart_seconds=10.0,
    label_retention_seconds=30.0,
)
GRACE = dataclasses.replace(POLICY, label_grace_seconds=3.0)
DUELS = {
    "good": Duel(Model(0.12, 0.4), Model(0.12, 0.9), label_delay=2.0),
    "bad": Duel(Model(0.12, 0.9), Model(0.12, 0.4), label_delay=2.0),
    "held": Duel(Model(0.12, 0.4), Model(0.12, 0.9), label_delay=2.0),
    "failing": Duel(Model(0.12, 0.9), Model(0.12, 0.9, errors=0.3), label_delay=2.0),
}
SLICE = 2.0
SECONDS = 40.0


@cache
def record(name):
    """Facts in order, as the ledger has them: traffic of every mode, so that each step finds its own."""
    rng = np.random.default_rng(3)
    parts = [
        traffic(DUELS[name], rng, SECONDS, mode=mode, canary=0.5) for mode in (Mode.SHADOW, Mode.CANARY, Mode.WATCH)
    ]
    observations, labels = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    facts = []
    for at in np.arange(1000.0, 1000.0 + SECONDS + 10, SLICE):
        for kind, columns in ((Observations, observations), (Labels, labels)):
            mine = columns[(columns["at"] >= at) & (columns["at"] < at + SLICE)]
            if mine.size:
                facts.append(kind(mine[np.argsort(mine["at"], kind="stable")]))
        facts.append(Tick(at + SLICE))
    return facts


def fresh(name="good", rules=None):
    title = Title(rules or (GRACE if name == "held" else POLICY))
    for decision in title.receive(begun()):
        settle(title, decision)
    return title


def begun():
    versions = {1: VersionFacts(1), 2: VersionFacts(2, {"precision": 0.9})}
    return AliasesRead(1000.0, 1, 2, None, versions=versions, ready=frozenset({1, 2}))


def settle(title, decision):
    """The decisions that one leads to, as they are recorded; the registry confirms at once."""
    title.receive(decision)
    found = [decision]
    if title.effect is not None and title.effect.confirms:
        moved = title.moved(decision.at, "confirmed")
        if moved is not None:
            found += settle(title, moved)
    return found


def receive(title, fact):
    if isinstance(fact, Observations):
        rollout = title.rollout
        fact = Observations(fact.columns.copy())
        fact.columns["rollout_id"] = rollout.rollout_id
    decided = [each for decision in title.receive(fact) for each in settle(title, decision)]
    return [fact, *decided] if not isinstance(fact, Tick) else decided


def played(name, restart_at=()):
    """All decisions; restarted from a checkpoint before each of these facts."""
    title, recorded, decided = fresh(name), [], []
    for index, fact in enumerate(record(name)):
        if index in restart_at:
            title = restarted(title, recorded, json.loads(json.dumps(checkpoint(title), allow_nan=False)))
        new = receive(title, fact)
        recorded += new
        decided += [each for each in new if isinstance(each, Decision)]
    return title, decided


def restarted(title, recorded, kept):
    again = Title(title.policy)
    (start,) = again.receive(begun())
    again.receive(start)
    for fact in recorded:
        if isinstance(fact, Decision):
            again.receive(fact)
        elif fact.columns["at"][-1] >= recorded_until(recorded) - POLICY.label_retention_seconds:
            rejoin(again, fact)
    go_on(again, kept)
    again.aliases = title.aliases
    return again


def recorded_until(recorded):
    return max((float(fact.columns["at"][-1]) for fact in recorded if not isinstance(fact, Decision)), default=0.0)


@pytest.mark.parametrize("name", DUELS)
@given(cuts=st.sets(st.integers(1, 70), max_size=3))
@settings(max_examples=settings().max_examples // 5, deadline=None)
def test_a_restart_anywhere_changes_nothing(name, cuts):
    whole, expected = once(name)
    title, decided = played(name, cuts)
    assert decided == expected
    assert freeze(title.rollout.evidence) == freeze(whole.rollout.evidence)
    assert freeze(title.agreement) == freeze(whole.agreement)
    assert title.pairing.totals == whole.pairing.totals
    # what met a part that is older than the record by now waits again, in vain, until the retention is over
    assert title.pairing.predictions_waiting >= whole.pairing.predictions_waiting
    assert title.pairing.labels_waiting >= whole.pairing.labels_waiting


@cache
def once(name):
    return played(name)


def test_the_records_are_of_every_kind():
    kinds = {name: [decision.kind for decision in once(name)[1]] for name in DUELS}
    assert kinds["good"][-1] is DecisionKind.FINISH
    assert kinds["bad"][0] is DecisionKind.ROLL_BACK
    assert kinds["failing"][0] is DecisionKind.ROLL_BACK


def test_a_checkpoint_does_not_grow_with_the_record():
    title = fresh()
    sizes = []
    for fact in record("good")[:40]:
        receive(title, fact)
        sizes.append(len(json.dumps(checkpoint(title))))
    assert sizes[-1] < 1.5 * sizes[20]
    assert sizes[-1] < 60_000


def test_a_digest_is_of_the_content():
    title, _ = once("good")
    one, two = freeze(title.rollout.evidence), freeze(title.rollout.evidence)
    assert digest(one) == digest(two) == digest(json.loads(json.dumps(one)))
    assert digest(one) != digest(freeze(fresh().rollout.evidence))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda kept: kept.update(layout=LAYOUT + 1),
        lambda kept: kept.update(rollout_id=1),
        lambda kept: kept.update(policy="another"),
        lambda kept: kept.update(evidence={"$.Popen": {}}),
        lambda kept: kept.update(evidence=None),
        lambda kept: kept["evidence"]["$.Evidence"].update(_errors={"$array": ["<f8", [3], "AAAA"]}),
        lambda kept: kept.pop("pairing"),
        lambda kept: kept["pairing"].pop("matched"),
        lambda kept: kept["pairing"].update(lost=3),
        lambda kept: kept["pairing"].update(matched="3"),
        lambda kept: kept["evidence"]["$.Evidence"].update(_new=0),
        lambda kept: kept["scoreboard"]["$.Scoreboard"].pop("_alpha"),
        lambda kept: kept["evidence"]["$.Evidence"]["_buckets"]["$.Buckets"].pop("_clock"),
        lambda kept: kept["evidence"]["$.Evidence"]["_buckets"]["$.Buckets"]["_open"]["$.Bucket"].pop("failed"),
        lambda kept: kept["evidence"]["$.Evidence"]["_breaker"]["$.Breaker"].update(_seen_before=0),
        lambda kept: kept["evidence"]["$.Evidence"]["_breaker"]["$.Breaker"].update(_last={"$deque": [20]}),
    ],
)
def test_what_is_no_checkpoint_is_refused_and_changes_nothing(spoil):
    title = fresh()
    for fact in record("good")[:10]:
        receive(title, fact)
    kept = json.loads(json.dumps(checkpoint(title)))
    spoil(kept)
    before = freeze(title.rollout.evidence)
    with pytest.raises(Unusable):
        go_on(title, kept)
    assert freeze(title.rollout.evidence) == before
    assert checkpoint(Title(POLICY)) is None


def test_every_part_of_a_state_is_refused_with_a_field_more_or_less():
    """A part whose fields are not looked at would be found out by the next one that uses it."""
    checked = dataclasses.replace(
        POLICY,
        guardrails=(*POLICY.guardrails, Guardrail(Metric.CALIBRATION, 0.1)),
        outside=Outside((Check("depth", "depth", at_most=1.0),)),
    )
    averaged = Guardrail(Metric.PRECISION, 0.1, classes=(0, 1))
    several = dataclasses.replace(POLICY, guardrails=(averaged, *POLICY.guardrails[1::2]), multiclass=True)
    seen = set()
    for rules in (checked, several):
        seen |= refused_parts(rules)
    assert seen == {f"$.{name}" for name in _CLASSES}


def refused_parts(rules):
    """The kinds of parts that the state of a rollout under a policy has, each of which was refused so."""
    title = fresh(rules=rules)
    for fact in record("good")[:40]:
        receive(title, fact)
    whole = json.loads(json.dumps(checkpoint(title)))
    seen = set()
    for path in parts_of(whole):
        kept = json.loads(json.dumps(whole))
        fields = kept
        for key in path:
            fields = fields[key]
        seen.add(path[-1])
        fields["_new"] = 0
        with pytest.raises(Unusable, match="_new"):
            go_on(title, kept)
        del fields["_new"], fields[next(iter(fields))]
        with pytest.raises(Unusable):
            go_on(title, kept)
    go_on(title, whole)
    return seen


def parts_of(data, path=()):
    """Where the objects are in plain data."""
    held = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
    for key, each in held:
        if isinstance(key, str) and key.startswith("$."):
            yield (*path, key)
        yield from parts_of(each, (*path, key))


def test_a_share_lowered_while_nobody_judged_is_the_one_that_is_asked():
    canary = dataclasses.replace(POLICY, steps=(Step(StepKind.CANARY, 50, 5.0), Step(StepKind.PROMOTE)))
    lower = dataclasses.replace(canary, steps=(Step(StepKind.CANARY, 10, 5.0), Step(StepKind.PROMOTE)))
    title = Title(canary)
    (start,) = title.receive(begun())
    title.receive(start)
    kept = json.loads(json.dumps(checkpoint(title)))
    again = Title(lower, {canary.digest: canary})
    again.receive(start)
    go_on(again, kept)
    assert again.rollout.percent == 10
    assert again.rollout.evidence._split.asked == 0.1
