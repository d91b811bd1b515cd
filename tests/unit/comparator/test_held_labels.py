"""Labels that are held for a grace: held against what is said of them, key by key, and across restarts."""

import json
from itertools import pairwise

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_pairing import Plain

from comparator.checkpoint import freeze
from comparator.events import (
    LABEL,
    OBSERVATION,
    AliasesRead,
    Labels,
    Mode,
    Observations,
    Outcome,
    Role,
    Tick,
    VersionFacts,
)
from comparator.held import HeldLabels
from comparator.pairing import Pairing
from comparator.policy import Gate, Guardrail, Metric, Policy, Step, StepKind
from comparator.resuming import checkpoint, go_on, rejoin
from comparator.title import Title

RETENTION = 1e6
EXAMPLES = 3 * settings().max_examples

graces = st.sampled_from([0.5, 10.0, 70.0])
cuts = st.lists(st.integers(0, 60), max_size=6)
events = st.lists(
    st.tuples(
        st.integers(0, 3),  # which request
        st.sampled_from([0.0, 0.5, 1.0, 9.5, 10.0, 30.0]),  # seconds after the event before
        st.sampled_from([0.0, 1.0, 1.0, None]),  # its label; None: it is observed
    ),
    max_size=60,
)


def timed(given_events):
    at, found = 1000.0, []
    for request, wait, label in given_events:
        at += wait
        found.append((at, request, label))
    return found


def columns(given_events):
    seen = [(at, request) for at, request, label in given_events if label is None]
    told = [(at, request, label) for at, request, label in given_events if label is not None]
    observations, labels = np.zeros(len(seen), OBSERVATION), np.zeros(len(told), LABEL)
    if seen:
        observations["at"], observations["request_lo"] = zip(*seen, strict=True)
    if told:
        labels["at"], labels["request_lo"], labels["label"] = zip(*told, strict=True)
    observations["version"], observations["mode"], observations["prediction"] = 1, Mode.CANARY, 1.0
    return observations, labels


def counted(told, grace):
    """Of each request's labels, each first one opens a grace, in which the last one counts.

    Returns:
        (when, which request, label) of those that count, in the order in which they do; duplicates; conflicts.
    """
    found, duplicates, conflicts = [], 0, 0
    for request in {each[1] for each in told}:
        due = -np.inf
        for order, (at, _, label) in enumerate(told):
            if told[order][1] != request:
                continue
            if at > due:
                due = at + grace
                found.append([due, order, request, label])
            elif found[-1][3] == label:
                duplicates += 1
            else:
                conflicts += 1
                found[-1][3] = label
    return [(due, request, label) for due, _, request, label in sorted(found)], duplicates, conflicts


@given(events, cuts, graces, st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_the_last_label_within_the_grace_counts_however_they_come(given_events, cuts, grace, data):
    told = [each for each in timed(given_events) if each[2] is not None]
    expected, duplicates, conflicts = counted(told, grace)
    held, found = HeldLabels(grace), []
    edges = [0, *sorted(min(cut, len(told)) for cut in cuts), len(told)]
    for low, high in pairwise(edges):
        next_at = told[high][0] if high < len(told) else np.inf
        last_at = told[high - 1][0] if high else 1000.0
        until = data.draw(st.sampled_from([-np.inf, last_at, (last_at + min(next_at, last_at + 100.0)) / 2, next_at]))
        due = held.take(columns(told[low:high])[1], until)
        assert (due["at"] < held.clock).all()
        found += due[["at", "request_lo", "label"]].tolist()
    found += held.take(columns([])[1], np.inf)[["at", "request_lo", "label"]].tolist()
    assert found == expected
    assert (held.duplicates, held.conflicts) == (duplicates, conflicts)


@given(events, cuts, graces)
@example([(0, 0.0, 1.0), (0, 0.5, 0.0), (0, 0.0, None)], [2], 0.5)  # seen in the moment in which the first comes due
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_counts_is_joined_as_if_it_had_come_when_it_was_due(given_events, cuts, grace):
    given_events = timed(given_events)
    due, duplicates, conflicts = counted([each for each in given_events if each[2] is not None], grace)
    plain = Plain(RETENTION)
    seen = [each for each in given_events if each[2] is None]
    for at, request, label in sorted([*seen, *due], key=lambda event: (event[0], event[2] is not None)):
        if label is None:
            plain.observe((request,), at, 1, False, 1.0)
        else:
            plain.take_label((request,), at, label)
    pairing, completed = Pairing(RETENTION, grace_seconds=grace), []
    edges = [0, *sorted(min(cut, len(given_events)) for cut in cuts), len(given_events)]
    for low, high in pairwise(edges):
        completed += pairing.take(*columns(given_events[low:high])).completed[["at", "label"]].tolist()
    completed += pairing.come_due(1e9).completed[["at", "label"]].tolist()
    assert completed == [(at, label) for at, _, label in plain.completed]
    assert (pairing.matched, pairing.unknown, pairing.repeated) == (plain.matched, plain.unknown, plain.repeated)
    assert pairing.duplicates == duplicates + plain.duplicates
    assert pairing.conflicts == conflicts + plain.conflicts


# ---- across restarts

POLICY = Policy(
    steps=(Step(StepKind.SHADOW, 100, 5.0), Step(StepKind.PROMOTE)),
    guardrails=(Guardrail(Metric.PRECISION, 0.1), Guardrail(Metric.ERROR_RATE, 0.1)),
    gate=Gate.OFF,
    min_answers=10**6,
    label_grace_seconds=10.0,
)


def started():
    title = Title(POLICY)
    versions = {1: VersionFacts(1), 2: VersionFacts(2)}
    (start,) = title.receive(AliasesRead(1000.0, 1, 2, None, versions=versions, ready=frozenset({1, 2})))
    title.receive(start)
    return title


def fact_of(at, request, what, rollout_id):
    """Both sides of a pair, a label, or a look at the evidence."""
    if what is TICK:
        return Tick(at)
    if what is not None:
        return Labels(columns([(at, request, what)])[1])
    rows = np.repeat(columns([(at, request, None)])[0], 2)
    rows["version"], rows["role"] = (1, 2), (Role.CHAMPION, Role.CHALLENGER)
    rows["mode"], rows["attempted_both"], rows["rollout_id"] = Mode.SHADOW, True, rollout_id
    rows["outcome"], rows["latency"] = Outcome.OK, 0.05
    return Observations(rows)


def resumed(received, cursor, kept):
    """As the ledger has it: ticks are not recorded."""
    title = started()
    if kept is not None:
        for fact in received[:cursor]:
            rejoin(title, fact)
        go_on(title, json.loads(kept))
    for fact in received[cursor:]:
        title.receive(fact)
    return title


TICK, KEPT, RESTART = "a tick", "a checkpoint", "a restart"
looked_at = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([0.0, 0.5, 9.5, 10.0, 30.0]),
        st.sampled_from([0.0, 1.0, None, TICK, KEPT, RESTART]),
    ),
    min_size=5,
    max_size=40,
)


@given(looked_at)
@example([(0, 0.0, None), (0, 0.0, 1.0), (0, 10.0, TICK), (0, 0.0, KEPT), (0, 0.0, RESTART)])
@settings(max_examples=2 * settings().max_examples, deadline=None)
def test_a_restart_knows_what_is_held_and_what_has_counted(given_events):
    given_events = [*timed(given_events), (2000.0 + len(given_events) * 30.0, 0, TICK)]
    whole, title = started(), started()
    received, kept = [], (0, None)
    for at, request, what in given_events:
        if what is KEPT:
            kept = len(received), json.dumps(checkpoint(title))
        elif what is RESTART:
            title = resumed(received, *kept)
        else:
            fact = fact_of(at, request, what, whole.rollout.rollout_id)
            whole.receive(fact)
            title.receive(fact)
            if what is not TICK:
                received.append(fact)
    assert title.pairing.totals == whole.pairing.totals
    assert title.pairing.labels_waiting == whole.pairing.labels_waiting
    assert title.pairing.predictions_waiting == whole.pairing.predictions_waiting
    assert freeze(title.rollout.evidence) == freeze(whole.rollout.evidence)
    assert freeze(title.scoreboard) == freeze(whole.scoreboard)
    told = [each for each in given_events if isinstance(each[2], float)]
    due, duplicates, conflicts = counted(told, POLICY.label_grace_seconds)
    first = {}
    for _, request, label in due:
        first.setdefault(request, label)
    seen = {request for _, request, label in given_events if label is None}
    assert title.pairing.matched == len(first.keys() & seen)
    again = [label == first[request] for _, request, label in due]
    assert title.pairing.duplicates == duplicates + again.count(True) - len(first)
    assert title.pairing.conflicts == conflicts + again.count(False)
    met = [first[request] for request in first.keys() & seen]
    scores = title.scoreboard.score(2).labelled
    assert (scores["tp"], scores["fp"]) == (met.count(1.0), met.count(0.0))
