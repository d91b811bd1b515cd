"""A share of a shadow's copies goes to the champion once more, in a real proxy."""

from proxy_wire import answer, model, until

from comparator.events import Mode, Outcome, Role
from router.link.messages import SHED, BreakerChanged, Limits

SHADOW = {"mode": int(Mode.SHADOW), "mirror": 100, "rollout_id": 77}


def test_the_champion_has_the_copy_and_the_challenger_none(world):
    champion, challenger = world.server(), world.server()
    world.start(model(champion, challenger, asked_twice=100, **SHADOW))
    assert world.client().ask(fields="Authorization: secret\r\n").status == 200
    rows = world.control.wait_rows(2)
    told = sorted((row["mode"], row["role"], row["version"], row["both"], row["outcome"]) for row in rows)
    assert told == [
        (Mode.TWICE, Role.CHAMPION, 1, 1, Outcome.OK),
        (Mode.AGAIN, Role.CHAMPION, 1, 1, Outcome.OK),
    ]
    assert rows[0]["lo"] == rows[1]["lo"]
    assert challenger.requests == []
    shadow = [request for request in champion.requests if "x-titleshot-shadow" in request]
    assert len(shadow) == 1
    assert "authorization" not in shadow[0]


def test_a_share_of_them_by_the_requests_id(world):
    champion, challenger = world.server(), world.server()
    world.start(model(champion, challenger, asked_twice=30, request_id="header:x-request-id", **SHADOW))
    client = world.client()
    for _ in range(2):
        for number in range(100):
            assert client.ask(fields=f"X-Request-Id: {number}\r\n").status == 200
    rows = world.control.wait_rows(400)
    modes = {}
    for row in rows:
        modes.setdefault(row["lo"], set()).add(row["mode"])
    twice = [each for each in modes.values() if each == {Mode.TWICE, Mode.AGAIN}]
    assert all(each in ({Mode.SHADOW}, {Mode.TWICE, Mode.AGAIN}) for each in modes.values())
    assert 15 <= len(twice) <= 45
    assert len(challenger.requests) == 2 * (100 - len(twice))


def test_it_is_bounded_like_any_copy_and_asked_whatever_the_breaker_says(world):
    world.limits = Limits(breaker_wait_seconds=60, mirror_body_bytes=100)
    champion = world.server()
    challenger = world.server(lambda wire, _: wire.raw.sendall(answer(b"{}", "500 Sorry")))
    world.start(model(champion, challenger, **SHADOW))
    client, asked = world.client(), 0
    while not world.control.of(BreakerChanged):
        assert client.ask().status == 200
        asked += 1
        assert asked < 200

    def pairs(role):
        return len([row for row in world.control.rows() if row["role"] == role and row["both"]])

    until(lambda: len(world.control.rows()) >= asked and pairs(Role.CHAMPION) == pairs(Role.CHALLENGER))  # none is open
    world.control.set_routes(world.routes(model(champion, challenger, asked_twice=100, **SHADOW)))
    world.wait_counters(lambda counters: counters.revision == world.revision)
    before = len(challenger.requests)
    for _ in range(20):
        assert client.ask().status == 200
    assert client.ask(b"x" * 101).status == 200

    def rows(mode):
        return [row for row in world.control.rows() if row["mode"] == mode]

    until(lambda: len(rows(Mode.TWICE)) == 21 and len(rows(Mode.AGAIN)) == 20)
    assert [row["both"] for row in rows(Mode.TWICE) if row["flags"] & SHED] == [0]
    assert len(challenger.requests) == before
