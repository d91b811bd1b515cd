"""What the champion's server, which is in production, is asked of bad requests; and when that excuses a version."""

import asyncio

import pytest

from comparator.guardrail import Verdict
from router.protocols.protocol import Prediction
from router.staging import run
from router.staging.contract import Answer

GOOD, BAD, WORSE, FINE = b"a good row", b"bad", b"worse", b"fine"
REQUESTS = {"bad": BAD, "worse": WORSE, "fine": FINE}
PREDICTED = Answer(200, b"{}", (Prediction(1.0),))
USUAL = {GOOD: PREDICTED, BAD: Answer(500), WORSE: Answer(500), FINE: Answer(400)}


class Fake:
    """Answers as told; after a request that kills it, as `dead`."""

    def __init__(self, answers=(), kills=None, dead=None):
        self.answers = {**USUAL, **dict(answers)}
        self.kills, self.dead, self.killed = kills, dead or Answer(None), False
        self.asked = []
        self.open = self.most_open = 0

    async def ask(self, body):
        self.asked.append(body)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        await asyncio.sleep(0)
        self.open -= 1
        answer = self.dead if self.killed else self.answers[body]
        self.killed = self.killed or body == self.kills
        return answer

    async def ask_all(self, bodies):
        return list(await asyncio.gather(*(self.ask(body) for body in bodies)))


def refused(staged, champion):
    asked = run._refused("contract.malformed", "malformed requests", REQUESTS.items(), GOOD, staged, champion)
    return asyncio.run(asked)


def test_what_a_living_champion_does_as_well_is_the_servers_way():
    staged, champion = Fake(), Fake()
    check = refused(staged, champion)
    assert check.verdict is Verdict.PASS, check.reason
    assert champion.asked == [BAD, WORSE, GOOD]
    assert champion.most_open == 1


def test_nothing_is_asked_again_where_nothing_broke():
    staged, champion = Fake({BAD: Answer(400), WORSE: Answer(422)}), Fake()
    assert refused(staged, champion).verdict is Verdict.PASS
    assert (len(staged.asked), champion.asked) == (3, [])


@pytest.mark.parametrize("status", [502, 503, 504, 505, None])
def test_a_server_that_is_not_there_is_no_servers_way(status):
    staged, champion = Fake({WORSE: Answer(status)}), Fake({WORSE: Answer(status)})
    check = refused(staged, champion)
    assert check.verdict is Verdict.FAIL
    assert champion.asked == []  # the staged server has failed whatever the champion says


@pytest.mark.parametrize("dead", [Answer(None), Answer(500), Answer(503), Answer(200, b"<html>")])
def test_what_broke_the_staged_server_the_champion_is_not_asked(dead):
    staged, champion = Fake(kills=FINE, dead=dead), Fake()
    check = refused(staged, champion)
    assert check.verdict is Verdict.FAIL
    assert check.reason == f"malformed requests broke the server: after them a good row got {dead.told}"
    assert champion.asked == []


@pytest.mark.parametrize("status", [None, 502, 503, 504])
def test_the_champion_is_asked_no_more_once_it_does_not_answer(status):
    champion = Fake({BAD: Answer(status)})
    check = refused(Fake(), champion)
    assert check.verdict is Verdict.FAIL
    assert champion.asked == [BAD, GOOD]


@pytest.mark.parametrize("dead", [Answer(None), Answer(500), Answer(200, b"<html>")])
def test_the_answers_of_a_champion_that_broke_excuse_nothing(dead):
    champion = Fake(kills=WORSE, dead=dead)
    check = refused(Fake(), champion)
    assert check.verdict is Verdict.FAIL
    assert "bad got status 500, worse got status 500" in check.reason
    assert champion.asked == [BAD, WORSE, GOOD]


def test_without_a_champion_nothing_is_excused():
    assert refused(Fake(), None).verdict is Verdict.FAIL
