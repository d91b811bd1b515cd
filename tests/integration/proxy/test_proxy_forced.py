"""Rules in a real proxy: who is forced where, what is recorded of it, and what the breaker makes of it."""

import time

from proxy_wire import answer, model, until

from comparator.events import Mode, Role
from router.link.messages import BreakerChanged, Limits, Rule

CHAMPION = Rule("header:x-tenant", int(Role.CHAMPION), ("acme", "initech"))
CHALLENGER = Rule("query:titleshot", int(Role.CHALLENGER), ("challenger",))
RULES = (CHAMPION, CHALLENGER)


def servers(world):
    return (
        world.server(lambda wire, _: wire.raw.sendall(answer(b"champion"))),
        world.server(lambda wire, _: wire.raw.sendall(answer(b"challenger"))),
    )


def trial(mode: Mode, **rest) -> dict:
    share = {"share": 50} if mode is Mode.CANARY else {"mirror": 100}
    return {"mode": int(mode), "rollout_id": 77, "rules": RULES, **share, **rest}


def test_in_a_shadow_forced_requests_have_no_copy_and_testers_see_the_challenger(world):
    champion, challenger = servers(world)
    world.start(model(champion, challenger, **trial(Mode.SHADOW)))
    client = world.client()
    kept = client.ask(fields="X-Tenant: acme\r\n", path="/invocations?titleshot=challenger")  # the first rule holds
    tester = client.ask(path="/invocations?a=b&titleshot=challenger")
    other = client.ask(fields="X-Tenant: hooli\r\n")
    assert [each.body for each in (kept, tester, other)] == [b"champion", b"challenger", b"champion"]
    rows = world.control.wait_rows(4)
    told = sorted((row["mode"], row["role"], row["version"], row["both"], row["flags"]) for row in rows)
    assert told == [
        (Mode.SHADOW, Role.CHAMPION, 1, 1, 0),
        (Mode.SHADOW, Role.CHALLENGER, 2, 1, 0),
        (Mode.FORCED, Role.CHAMPION, 1, 0, 0),
        (Mode.FORCED, Role.CHALLENGER, 2, 0, 0),
    ]
    assert {row["rollout_id"] for row in rows} == {77}
    assert (len(champion.requests), len(challenger.requests)) == (2, 2)


def test_in_a_canary_the_others_are_split_as_before(world):
    champion, challenger = servers(world)
    world.start(model(champion, challenger, **trial(Mode.CANARY, assign_by="query:user")))
    client = world.client()
    for user in range(40):
        kept = client.ask(fields="x-tenant: initech\r\n", path=f"/invocations?user={user}")
        tester = client.ask(path=f"/invocations?user={user}&titleshot=challenger")
        assert (kept.body, tester.body) == (b"champion", b"challenger")
    free = [client.ask(path=f"/invocations?user={user}").body for user in range(40)]
    assert {b"champion", b"challenger"} == set(free)
    world.control.set_routes(
        world.routes(model(champion, challenger, **trial(Mode.CANARY, assign_by="query:user", rules=())))
    )
    assert [client.ask(path=f"/invocations?user={user}").body for user in range(40)] == free
    rows = world.control.wait_rows(160)
    assert [row["mode"] for row in rows].count(Mode.FORCED) == 80


def test_cookies_and_segments_are_keys_too(world):
    champion, challenger = servers(world)
    world.start(model(champion, challenger, **trial(Mode.CANARY, assign_by="cookie:session")))
    client = world.client()
    first = {n: client.ask(fields=f"Cookie: a=b; session={n}\r\n").body for n in range(40)}
    assert {n: client.ask(fields=f"Cookie: session={n}\r\n").body for n in range(40)} == first
    assert len(set(first.values())) == 2


def test_in_a_watch_and_without_a_trial_the_champion_answers(world):
    champion, previous = servers(world)
    world.start(model(champion, previous, **trial(Mode.WATCH, other_role=int(Role.PREVIOUS))))
    client = world.client()
    assert client.ask(path="/invocations?titleshot=challenger").body == b"champion"
    (row,) = world.control.wait_rows(1)
    assert (row["mode"], row["role"], row["both"]) == (Mode.FORCED, Role.CHAMPION, 0)
    world.control.set_routes(world.routes(model(champion, None, rules=RULES)))
    until(lambda: client.ask(path="/invocations?titleshot=challenger").body == b"champion")
    until(lambda: any(row["mode"] == Mode.NONE for row in world.control.rows()))
    assert previous.requests == []


def test_a_failing_challenger_is_cut_off_from_testers_too_and_their_requests_are_no_probes(world):
    champion = world.server()
    challenger = world.server(lambda wire, _: wire.raw.sendall(answer(b"{}", "500 Sorry")))
    world.limits = Limits(breaker_wait_seconds=0.2)
    world.start(model(champion, challenger, **trial(Mode.SHADOW, mirror=0)))
    client = world.client()
    statuses = []
    while not world.control.of(BreakerChanged):
        statuses.append(client.ask(path="/invocations?titleshot=challenger").status)
        assert len(statuses) < 100
    assert statuses.count(500) >= 10
    asked = len(challenger.requests)
    began = time.monotonic()
    while time.monotonic() - began < 0.5:  # beyond the wait, and with the champion known to be well
        assert client.ask(path="/invocations?titleshot=challenger").status == 200
    assert len(challenger.requests) == asked
    assert [change.tripped for change in world.control.of(BreakerChanged)] == [False]
