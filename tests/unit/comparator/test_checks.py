"""Thresholds on what the user's own Prometheus says: what they come to, and what never comes of no answer."""

import json
import math
from dataclasses import replace

import pytest
from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, Desk, policy, state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comparator.checkpoint import Unusable
from comparator.checks import exceeds, stale_seconds
from comparator.events import CheckResult, CommandKind, DecisionKind
from comparator.outside import Check, Outside, fill
from comparator.phases import Phase
from comparator.policy import Policy
from comparator.policy_error import PolicyError
from comparator.proof import proven, recompute
from comparator.replaying import replay
from comparator.resuming import checkpoint, go_on, rejoin
from comparator.title import Title

QUEUE = Check("queue_time", 'q{role="{role}"}', worse_by=0.2, every_seconds=10.0, results=3)
DEPTH = Check("depth", "depth", at_most=5.0, every_seconds=10.0, results=1)


def watched(*checks, steps=(SHADOW, PROMOTE, WATCH)):
    return policy(*steps, outside=Outside(checks or (QUEUE,)))


class Asker(Desk):
    """A desk that also has answers to checks, recorded as the controller does."""

    def answer(self, challenger=None, champion=1.0, *, check=QUEUE, seconds=0.0, problem="timed out"):
        self.at += seconds
        rollout = self.title.rollout
        problem = problem if challenger is None else ""
        result = CheckResult(self.at, rollout.rollout_id, rollout.step, check.name, challenger, champion, problem)
        self.recorded.append(result)
        assert self.title.receive(result) == []

    def report(self):
        return self.title.rollout.report(self.at)

    def check(self, name="queue_time"):
        return next(each for each in self.report().checks if each.name == name)


def on_trial(rules=None):
    desk = Asker(rules or watched())
    desk.read(challenger=2)
    desk.answers()
    return desk


def test_results_in_a_row_beyond_the_threshold_roll_back():
    desk = on_trial()
    for _ in range(2):
        desk.answer(1.5)
        assert desk.tick(0.1) == []
    desk.answer(1.5)
    (decided,) = desk.tick(0.1)
    assert (decided.kind, decided.trigger, decided.actor) == (DecisionKind.ROLL_BACK, "queue_time", "titleshot")
    assert decided.reason.startswith("queue_time: 1.5 against the champion's 1 (+50 %), beyond at most 20 % higher")
    assert "not any-time-valid" in decided.reason
    (told,) = decided.evidence["checks"]
    assert (told["verdict"], told["challenger"], told["champion"], told["anytime_valid"]) == ("fail", 1.5, 1.0, False)
    assert desk.phase is Phase.ROLLING_BACK


def test_only_a_run_within_the_threshold_lets_the_evidence_pass():
    desk = on_trial()
    assert desk.tick() == []
    assert desk.report().reason == "waiting for checks: queue_time: not answered yet"
    for _ in range(2):
        desk.answer(1.1)
        assert desk.tick() == []
    assert desk.report().verdict.value == "inconclusive"
    desk.answer(1.1)
    (decided,) = desk.tick()
    assert decided.kind is DecisionKind.PROMOTE
    assert "queue_time: 1.1 against the champion's 1" in decided.reason
    assert decided.evidence["checks"][0]["verdict"] == "pass"


def test_one_result_on_the_other_side_ends_a_run():
    desk = on_trial()
    for challenger in (1.5, 1.5, 1.1, 1.5, 1.5, 1.1, 1.1):
        desk.answer(challenger)
        assert desk.tick() == []
    assert desk.check().in_a_row == 2


def test_no_answer_counts_for_nothing_and_ends_no_run():
    desk = on_trial()
    desk.answer(1.5)
    desk.answer(1.5)
    for _ in range(20):
        desk.answer(problem="no connection")
        assert desk.tick(0.5) == []
    assert desk.check().reason.endswith("no answer: no connection")
    desk.answer(1.5)
    (decided,) = desk.tick(0.1)
    assert decided.kind is DecisionKind.ROLL_BACK


def test_when_answers_stay_away_a_run_is_over():
    desk = on_trial()
    for _ in range(2):
        desk.answer(1.5)
    desk.answer(1.5, seconds=stale_seconds(QUEUE) + 1)
    assert desk.tick(0.1) == []
    assert desk.check().in_a_row == -1


def test_a_pass_does_not_outlive_the_answers():
    desk = on_trial(watched(steps=(replace(SHADOW, min_seconds=100.0), PROMOTE)))
    for _ in range(3):
        desk.answer(1.0)
    assert desk.check().verdict.value == "pass"
    desk.answer(problem="no connection", seconds=5.0)
    assert desk.check().verdict.value == "pass"
    assert desk.tick(100.0) == []
    assert (desk.check().verdict.value, desk.check().in_a_row) == ("inconclusive", 0)


def test_a_step_begins_its_checks_anew():
    desk = on_trial(watched(steps=(SHADOW, CANARY, PROMOTE)))
    step, rollout = desk.title.rollout.step, desk.title.rollout.rollout_id
    for _ in range(3):
        desk.answer(1.0)
    (decided,) = desk.tick()
    assert decided.kind is DecisionKind.ADVANCE
    desk.answers(40)
    for _ in range(3):  # asked in the step before
        desk.title.receive(CheckResult(desk.at, rollout, step, "queue_time", 9.0, 1.0))
    desk.title.receive(CheckResult(desk.at, rollout - 1, step + 1, "queue_time", 9.0, 1.0))
    desk.title.receive(CheckResult(desk.at, rollout, step + 1, "another", 9.0, 1.0))
    assert desk.tick() == []
    assert desk.check().reason == "not answered yet"


def test_in_a_watch_the_title_goes_back():
    desk = on_trial()
    for _ in range(3):
        desk.answer(1.0)
    desk.tick()
    desk.confirm()
    assert desk.phase is Phase.WATCH
    desk.answers()
    assert desk.tick() == []  # it is not over without its checks
    for _ in range(3):
        desk.answer(1.5)
    (decided,) = desk.tick()
    assert (decided.kind, decided.move.to, desk.title.champion) == (DecisionKind.ROLL_BACK, 1, 1)


def test_nobody_signs_off_while_a_check_has_no_answer():
    desk = on_trial(watched(steps=(SHADOW, SIGNED)))
    for _ in range(3):
        desk.answer(1.0)
    desk.tick()
    assert desk.phase is Phase.SIGN_OFF
    desk.at += 1000
    with pytest.raises(Exception, match="cannot sign off: the evidence is no pass: waiting for checks: queue_time"):
        desk.command(CommandKind.SIGN_OFF)
    for _ in range(3):
        desk.answer(1.0)
    desk.command(CommandKind.SIGN_OFF)
    assert desk.phase is Phase.PROMOTING


def test_a_decision_with_checks_is_made_again_from_its_state():
    for figures in (1.5, 1.0):
        desk = on_trial()
        for _ in range(3):
            desk.answer(figures)
        (proposal,) = desk.title.receive(desk_tick(desk))
        kept = proven(desk.title, proposal)
        before = [fact for fact in desk.recorded if hasattr(fact, "kind")]
        again = recompute(before, kept.decision, kept.state, desk.policy)
        assert again.differences == ()
        assert again.report.checks[0].challenger == figures
        with pytest.raises(Unusable):
            recompute(before, kept.decision, json.dumps({**json.loads(kept.state), "checks": None}), desk.policy)


def desk_tick(desk):
    from comparator.events import Tick

    return Tick(desk.at + 1)


steps_of_a_life = st.lists(
    st.tuples(
        st.sampled_from(["within", "beyond", "none", "none"]),
        st.sampled_from([QUEUE, DEPTH]),
        st.sampled_from([0.1, 5.0, 10.0, 75.0]),
    ),
    max_size=25,
)


@settings(max_examples=2 * settings().max_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps_of_a_life, st.integers(0, 25))
def test_a_restart_comes_to_the_same(life, when):
    """From the facts, and from a checkpoint anywhere among them."""
    rules = watched(QUEUE, DEPTH, steps=(SHADOW, CANARY, PROMOTE, WATCH))
    desk, kept = on_trial(rules), None
    for number, (what, check, seconds) in enumerate(life):
        if number == when:
            kept = (len(desk.recorded), json.loads(json.dumps(checkpoint(desk.title))))
        desk.answer({"within": 1.0, "beyond": 9.0, "none": None}[what], check=check, seconds=seconds)
        desk.tick(0.1)
    assert state(desk.restarted()) == state(desk.title)
    if kept is not None:
        fresh = Title(rules, dict(desk.title.policies), sticky=True)
        for number, fact in enumerate(desk.recorded):
            if number == kept[0]:
                go_on(fresh, kept[1])
            if number >= kept[0] or hasattr(fact, "kind"):
                fresh.receive(fact)
            else:
                rejoin(fresh, fact)
        if len(desk.recorded) == kept[0]:
            go_on(fresh, kept[1])
        assert state(fresh)["rollout"] == state(desk.title)["rollout"]


HOLDING = Check("skew", figure="skewed_features", at_most=0.0, every_seconds=10.0, results=2, holds=True)


def test_a_check_that_holds_rolls_nothing_back_and_lets_nothing_pass_while_it_lasts():
    desk = on_trial(watched(HOLDING))
    for _ in range(20):
        desk.answer(3.0, None, check=HOLDING, seconds=10.0)
        assert desk.tick(0.1) == []
    assert desk.report().verdict.value == "inconclusive"
    assert desk.report().reason == (
        "waiting for checks: skew: 3, beyond at most 0 (which holds), "
        "2 of 2 results in a row (a threshold, not any-time-valid)"
    )
    assert state(desk.restarted()) == state(desk.title)
    desk.answer(0.0, None, check=HOLDING, seconds=10.0)
    assert desk.tick(0.1) == []
    desk.answer(0.0, None, check=HOLDING, seconds=10.0)
    assert [each.kind for each in desk.tick(0.1)] == [DecisionKind.PROMOTE]


@settings(max_examples=2 * settings().max_examples, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["within", "none", "undefined"]), st.floats(0.1, 100.0)), max_size=30))
def test_without_answers_beyond_nothing_rolls_back_and_without_answers_within_nothing_passes(life):
    desk = on_trial()
    run, answered_at = 0, -math.inf
    for what, seconds in life:
        desk.answer({"within": 1.0, "none": None, "undefined": 3.0}[what], 0.0 if what == "undefined" else 1.0,
                    seconds=seconds)  # fmt: skip
        if what == "within":
            stale = desk.at - answered_at > stale_seconds(QUEUE)
            run, answered_at = 1 if stale else run + 1, desk.at
        decided = desk.tick(0.1)
        assert not [each for each in decided if each.kind is DecisionKind.ROLL_BACK]
        fresh = desk.at - answered_at <= stale_seconds(QUEUE)
        passes = run >= QUEUE.results and fresh
        if any(each.kind is DecisionKind.PROMOTE for each in decided):
            assert passes
            return
        assert (desk.check().verdict.value == "pass") == passes


@settings(max_examples=2 * settings().max_examples, deadline=None)
@given(st.integers(1, 8), st.lists(st.sampled_from([1.5, 1.0]), max_size=40))
def test_a_rollback_comes_with_the_last_of_so_many_in_a_row(results, figures):
    desk = on_trial(watched(replace(QUEUE, results=results), steps=(replace(SHADOW, min_seconds=1e6), PROMOTE)))
    run = 0
    for figure in figures:
        desk.answer(figure, seconds=1.0)
        run = run + 1 if figure > 1.2 else 0
        rolled_back = [each for each in desk.tick(0.1) if each.kind is DecisionKind.ROLL_BACK]
        assert bool(rolled_back) == (run == results)
        if rolled_back:
            return


@pytest.mark.parametrize(
    ("check", "challenger", "champion", "beyond"),
    [
        (QUEUE, 1.2, 1.0, False),
        (QUEUE, 1.21, 1.0, True),
        (QUEUE, 0.0, 0.0, False),
        (QUEUE, 0.1, 0.0, None),
        (QUEUE, 0.1, -1.0, None),
        (QUEUE, 0.1, None, None),
        (replace(QUEUE, higher_is_better=True), 0.8, 1.0, False),
        (replace(QUEUE, higher_is_better=True), 0.79, 1.0, True),
        (DEPTH, 5.0, None, False),
        (DEPTH, 5.1, None, True),
        (replace(DEPTH, at_most=None, at_least=5.0), 4.9, None, True),
        (replace(DEPTH, at_most=None, at_least=5.0), 5.0, None, False),
    ],
)
def test_what_is_beyond_a_threshold(check, challenger, champion, beyond):
    assert exceeds(check, challenger, champion) is beyond


def test_what_is_filled_in():
    query = 'a{r="{role}",v="{version}",m="{model}"} / on() b{x="{other}"} {role'
    filled = fill(query, role="challenger", version=8, model="late-arrival")
    assert filled == 'a{r="challenger",v="8",m="late-arrival"} / on() b{x="{other}"} {role'
    assert fill("{model}", role="champion", version=1, model="{role}".strip("{}")) == "role"


@given(st.text(max_size=70))
def test_what_is_filled_in_means_nothing_but_itself(model):
    """However the query quotes it: none of the characters that end or escape anything in PromQL gets in."""
    try:
        filled = fill("{model}", role="champion", version=1, model=model)
    except ValueError:
        return
    assert filled == model
    assert not set(filled) & set("\"'`\\\n{}[]() ,=")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"worse_by": None}, "query"),
        ({"at_most": 1.0}, "query"),
        ({"worse_by": 0.0}, "worse_by"),
        ({"worse_by": math.nan}, "query"),
        ({"query": "up"}, "query"),
        ({"query": " "}, "query"),
        ({"figure": "skewed_features"}, "query"),
        ({"query": "", "figure": "luck"}, "figure"),
        ({"query": "", "figure": "skewed_features"}, "worse_by"),
        ({"query": "", "figure": "skewed_features", "worse_by": None}, "figure"),
        ({"query": "x" * 5000 + "{role}"}, "query"),
        ({"worse_by": None, "at_most": math.inf}, "query"),
        ({"worse_by": None, "at_most": 1.0, "higher_is_better": True}, "better"),
        ({"every_seconds": 0.5}, "every"),
        ({"results": 0}, "for"),
        ({"name": "breaker"}, "name"),
        ({"name": "Queue"}, "name"),
    ],
)
def test_an_illegal_check_cannot_be_made(changes, where):
    with pytest.raises(PolicyError) as error:
        replace(QUEUE, **changes)
    assert error.value.where == where


def test_a_check_is_not_called_as_a_guardrail_and_each_is_there_once():
    with pytest.raises(PolicyError, match=r"checks\.precision"):
        Policy(outside=Outside((replace(QUEUE, name="precision"),)))
    with pytest.raises(PolicyError):
        Outside((QUEUE, QUEUE))


def test_the_digest_covers_what_is_asked_of_others_and_not_their_order():
    outside = Outside((QUEUE, DEPTH), ("desk", "board"), (), ("pager",))
    asked = Policy(outside=outside)
    assert Policy.from_canonical(asked.canonical()) == asked
    assert asked.digest == Policy(outside=Outside((DEPTH, QUEUE), ("board", "desk"), (), ("pager",))).digest
    assert len({asked.digest, Policy().digest, Policy(outside=replace(outside, on_rollback=())).digest}) == 3
    assert "outside" not in Policy().canonical()
    written = json.loads(asked.canonical())["outside"]
    assert sorted(written) == ["checks", "confirm_start", "on_rollback"]
    assert sorted(written["checks"][0]) == ["at_most", "every_seconds", "name", "query", "results"]


def test_a_replay_leaves_checks_and_webhooks_out():
    from duel import Duel, traffic
    from numpy.random import default_rng

    rules = policy(SHADOW, PROMOTE)
    observed, labels = traffic(Duel(), default_rng(1), 60.0)
    asked = replace(rules, outside=Outside((QUEUE,), ("desk",), ("desk",), ("desk",)))
    with_them, without = (
        [(each.kind, each.at, each.reason) for each in replay(which, observed, labels)] for which in (asked, rules)
    )
    assert with_them == without
    assert with_them[-1][0] is DecisionKind.MOVED
