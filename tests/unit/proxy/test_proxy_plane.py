"""What outcomes do to the breaker, and what control hears of it."""

import pytest

from comparator.breaker import LEAST_REFERENCE, PROBES
from comparator.events import Mode, Outcome
from router.link.messages import Backend, BreakerChanged, ModelRoutes, Routes
from router.proxy.breaker import Admission
from router.proxy.plane import DataPlane

WAIT_SECONDS = 15.0


def plane(mode: Mode) -> tuple[DataPlane, list[BreakerChanged]]:
    heard: list[BreakerChanged] = []
    made = DataPlane(heard.append)
    backends = Backend(1, "http://a:1"), Backend(2, "http://b:1")
    model = ModelRoutes("m", "mlflow", *backends, mode=int(mode), share=10, mirror=100, rollout_id=5)
    made.apply(Routes(1, "g", (model,)))
    return made, heard


@pytest.mark.parametrize(("mode", "tripped"), [(Mode.SHADOW, True), (Mode.CANARY, True), (Mode.WATCH, False)])
def test_failed_probes_are_told_as_tripped_but_not_in_a_watch(mode, tripped):
    made, heard = plane(mode)
    target = made.table.target("m")
    for _ in range(10):
        made.judge(target, Outcome.OK, 0.0, is_challenger=False, probe=False)
        made.judge(target, Outcome.TIMEOUT, 0.0, is_challenger=True, probe=False)
    for _ in range(LEAST_REFERENCE):
        made.judge(target, Outcome.OK, 1.0, is_challenger=False, probe=False)
    for _ in range(PROBES):
        assert target.shadows.breaker.admit(WAIT_SECONDS)[0] is Admission.PROBE
        made.judge(target, Outcome.CONNECT, WAIT_SECONDS, is_challenger=True, probe=True)
    assert [(each.state, each.tripped, each.rollout_id) for each in heard] == [("open", False, 5), ("open", tripped, 5)]
    assert (heard[1].failed, heard[1].seen) == (10, 10)


def test_clients_that_give_up_on_the_champion_do_not_keep_the_challenger_out_and_do_not_tell_against_it():
    made, heard = plane(Mode.CANARY)
    target = made.table.target("m")
    for _ in range(10):
        made.judge(target, Outcome.TIMEOUT, 0.0, is_challenger=True, probe=False)
    assert target.shadows.breaker.admit(WAIT_SECONDS)[0] is Admission.REFUSE
    for _ in range(LEAST_REFERENCE):
        made.judge(target, Outcome.CANCELLED, 1.0, is_challenger=False, probe=False)
    for _ in range(PROBES):
        assert target.shadows.breaker.admit(WAIT_SECONDS)[0] is Admission.PROBE
        made.judge(target, Outcome.CONNECT, WAIT_SECONDS, is_challenger=True, probe=True)
    assert [(each.state, each.tripped) for each in heard] == [("open", False), ("open", False)]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.LOST_RACE, Outcome.CLIENT_ERROR, Outcome.OK])
def test_what_does_not_count_against_a_challenger(outcome):
    made, heard = plane(Mode.CANARY)
    for _ in range(50):
        made.judge(made.table.target("m"), outcome, 0.0, is_challenger=True, probe=False)
    assert heard == []


def test_routes_that_are_not_newer_are_left_out():
    made, _ = plane(Mode.NONE)
    assert not made.apply(Routes(1, "g"))
    assert not made.apply(Routes(0, "g"))
    assert made.apply(Routes(2, "g"))
    assert made.apply(Routes(1, "h"))
    assert made.counters().revision == 1
