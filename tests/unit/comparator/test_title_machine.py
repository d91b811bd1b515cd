"""Facts in any order: nothing but Refused is ever raised, no phase leaves the table, a restart changes nothing."""

from desk import CANARY, PROMOTE, SHADOW, SIGNED, WATCH, Desk, policy, state
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from comparator.acts import NotOnTrial, Refused
from comparator.events import CommandKind, DecisionKind, Mode, Tick
from comparator.phases import Phase
from comparator.policy import SignOff, Step, StepKind
from comparator.restraint import FreezeWindow, Restraint, Then

POLICIES = (
    policy(SHADOW, CANARY, PROMOTE, WATCH),
    policy(SHADOW, SIGNED),
    policy(Step(StepKind.CANARY, 20), Step(StepKind.CANARY, 50), PROMOTE, WATCH),
    policy(Step(StepKind.CANARY, 5)),
    policy(
        Step(StepKind.SHADOW, within_seconds=300.0, at_deadline=Then.ABORT),
        PROMOTE,
        Step(StepKind.WATCH, within_seconds=200.0),
        restraint=Restraint(
            cool_down_seconds=50.0,
            max_rollbacks_per_day=3,
            freeze=(FreezeWindow(tuple(range(7)), 1200.0, 1800.0), FreezeWindow((3,), 3000.0, 3300.0)),
            no_data_seconds=250.0,
            no_data_then=Then.ABORT,
        ),
    ),
    policy(
        Step(StepKind.CANARY, 20, within_seconds=500.0),
        Step(StepKind.PROMOTE, sign_off=True, within_seconds=400.0, at_deadline=Then.ABORT),
        restraint=Restraint(warm_up_answers=3, no_data_seconds=100.0),
    ),
    policy(SHADOW, Step(StepKind.PROMOTE, sign_off=SignOff(people=2))),
)
versions = st.sampled_from([None, 1, 2, 3])
some_version = st.sampled_from([1, 2, 3])


class TitleMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.desk = Desk(POLICIES[0])

    @initialize(index=st.integers(0, len(POLICIES) - 1))
    def a_policy_is_there(self, index):
        self.desk.title.adopt(POLICIES[index])

    @rule(champion=versions, challenger=versions, ready=st.frozensets(some_version))
    def somebody_moves_aliases(self, champion, challenger, ready):
        self.desk.ready = ready
        self.desk.read(champion=champion, challenger=challenger)

    @rule(challenger=some_version)
    def a_challenger_is_named(self, challenger):
        self.desk.ready = frozenset({1, 2, 3})
        self.desk.read(challenger=challenger)

    @rule()
    def the_registry_is_read(self):
        self.desk.read()

    @rule(seconds=st.floats(0.1, 1000))
    def time_passes(self, seconds):
        self.desk.tick(seconds)

    @rule(seconds=st.floats(5.0, 1000))
    def time_passes_and_nothing_could_be_heard(self, seconds):
        self.desk.at += seconds
        self.desk.take(Tick(self.desk.at, deaf=True))

    @rule(failing=versions, count=st.sampled_from([1, 20, 60]))
    def answers_come_and_the_judge_looks(self, failing, count):
        self.desk.answers(count, failing=failing)
        self.desk.tick()

    @rule(kind=st.sampled_from(list(CommandKind)), to=versions, actor=st.sampled_from(["ann", "ben"]))
    def a_person_acts(self, kind, to, actor):
        try:
            self.desk.command(kind, to, actor)
        except NotOnTrial:
            assert kind is CommandKind.ALERT
        except Refused as refusal:
            assert str(refusal).startswith(("cannot", "version"))  # noqa: PT017 - what it says is what is tested

    @rule(mine=st.booleans())
    def the_breaker_trips(self, mine):
        self.desk.breaker(None if mine else 1)

    @rule()
    def the_registry_is_told(self):
        self.desk.confirm()

    @rule(index=st.integers(0, len(POLICIES) - 1))
    def the_policy_changes(self, index):
        self.desk.title.adopt(POLICIES[index])

    @invariant()
    def traffic_is_never_sent_nowhere(self):
        title, serving = self.desk.title, self.desk.title.serving
        if title.aliases is not None and title.champion is not None:
            assert serving.champion is not None
        assert 0 <= serving.share <= 99
        assert serving.other != serving.champion or serving.mode is Mode.NONE
        if serving.mode is Mode.NONE:
            assert (serving.other, serving.share, serving.mirror) == (None, 0, 0)

    @invariant()
    def a_decided_move_is_outstanding_until_it_is_confirmed(self):
        title, rollout = self.desk.title, self.desk.title.rollout
        if rollout is not None and rollout.phase is Phase.PROMOTING:
            assert title.pending == rollout.move
        if title.pending is not None or (rollout is not None and rollout.phase is Phase.ROLLING_BACK):
            assert title.effect is not None
            assert title.effect.confirms

    def teardown(self):
        fresh = self.desk.restarted()
        assert state(fresh) == state(self.desk.title)
        decided = [fact for fact in self.desk.recorded if hasattr(fact, "kind")]
        for promotion in (fact for fact in decided if fact.kind is DecisionKind.PROMOTE):
            if promotion.policy_digest == POLICIES[-1].digest:  # two people have to sign
                signed = promotion.evidence["sign_off"]["signatures"]
                assert sorted(each["name"] for each in signed) == ["ann", "ben"]
                assert promotion.evidence["verdict"] == "pass"
        if any(fact.kind in (DecisionKind.START, DecisionKind.FOREIGN_MOVE) for fact in decided):
            assert fresh.champion == self.desk.title.champion


TestTitleMachine = TitleMachine.TestCase
TestTitleMachine.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
