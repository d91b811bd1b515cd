"""The four acts: what the demo's user does, and what must then have happened. Nothing here makes it happen."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from comparator.events import JUDGE, DecisionKind
from router.demo.aliases import Aliases
from router.demo.children import Children
from router.demo.desk import Desk, Told
from router.demo.servers import COMMAND, HOST, QUIET, Addresses
from router.demo.workspace import MODEL, Workspace

POLL_SECONDS = 0.25
WHY = "to see it"
LEAKED = "precision.reproduced"
"""The check of the gate that finds an evaluation that cannot be had again."""

WAY = ("shadow 100 %", "canary 10 %", "canary 50 %", "promoted")
"""What version 2 has to go through, in this order."""


class DidNotHappen(Exception):
    """What an act is about cannot happen any more; the message says why."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An act, as the summary tells it.

    Args:
        what: in a few words.
        seconds: from the user's act to the registry's word.
        lines: what is worth a line in the summary: (what, value).
    """

    what: str
    seconds: float
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """What the acts are played on.

    Args:
        desk: read again and again by whoever shows it.
        say: takes a line that tells what is done now.
    """

    desk: Desk
    aliases: Aliases
    children: Children
    addresses: Addresses
    workspace: Workspace
    say: Callable[[str], None]


T = TypeVar("T")

Act = Callable[[Stage], Awaitable[Happened]]


async def promotion(stage: Stage) -> Happened:
    """Act one: @challenger = version 2, and the evidence carries it to the title.

    Raises:
        DidNotHappen: it was rolled back, or its rollout ended otherwise.
    """
    stage.say("act one: @challenger = version 2, in MLflow")
    began = time.time()
    await stage.aliases.name("challenger", 2)
    way = await _until(stage, lambda: _promoted(stage.desk, began))
    named = await _named(stage, {"champion": 2, "previous": 1, "challenger": None})
    seconds = time.time() - began
    stage.say(
        f"act one: promoted after {seconds:.1f} s: @champion = {named['champion']}, @previous = {named['previous']}"
    )
    steps = tuple((f"v2 {what}", f"after {at - began:.1f} s") for what, at in way)
    return Happened("version 2 promoted on its evidence", seconds, steps)


async def gate(stage: Stage) -> Happened:
    """Act two: `titleshot gate late-arrival 3` on its staged server, before anybody names it.

    Raises:
        DidNotHappen: the gate found nothing.
        ChildFailed: the command ended otherwise than with what the gate found; the message has its log.
    """
    claim = await stage.aliases.offline_precision(3)
    stage.say(f"act two: version 3 claims an offline precision of {claim:.3f}")
    staged = f"http://{HOST}:{stage.addresses.models[3]}"
    command = ["gate", MODEL, "3", "--staging", staged, "--data", stage.workspace.holdout.name, "--label", "late"]
    stage.say(f"act two: titleshot {' '.join(command)}")
    printed: list[str] = []
    clock = time.monotonic()
    admin = f"http://{HOST}:{stage.addresses.admin}"
    options = ["--settings", stage.workspace.settings.name, "--json", "--admin", admin]
    await stage.children.run("titleshot gate", [*COMMAND, *command, *options], QUIET, printed.append, expected=1)
    took = time.monotonic() - clock
    report = json.loads("\n".join(printed))
    failed = {check["name"]: str(check["reason"]) for check in report["checks"] if check["verdict"] == "FAIL"}
    if LEAKED not in failed:
        raise DidNotHappen(f"the gate says {report['verdict']}, but nothing of the evaluation of version 3")
    passed = sum(check["verdict"] == "PASS" for check in report["checks"])
    stage.say(f"act two: the gate says {report['verdict']}: {failed[LEAKED]}")
    return Happened(
        "version 3 caught before its first request",
        took,
        (("checks passed", f"{passed} of {len(report['checks'])}"), *failed.items()),
    )


async def rollback(stage: Stage) -> Happened:
    """Act three: @challenger = version 3, on its offline score, and the evidence takes it out.

    Raises:
        DidNotHappen: it was promoted, or its rollout ended otherwise.
    """
    claim = await stage.aliases.offline_precision(3)
    stage.say("act three: the policy's gate is off, and somebody names version 3 all the same")
    stage.say("act three: @challenger = version 3, in MLflow")
    began = time.time()
    await stage.aliases.name("challenger", 3)
    decided = await _until(stage, lambda: _rolled_back(stage.desk, began, version=3))
    await _named(stage, {"champion": 2, "challenger": None})
    seconds = time.time() - began
    reason = str(decided["reason"])
    stage.say(f"act three: version 3 rolled back after {seconds:.1f} s: {reason}")
    return Happened(
        "version 3 rolled back on its evidence",
        seconds,
        (
            ("v3 offline precision, as claimed", f"{claim:.3f}"),
            ("v3 rolled back", f"decided after {decided['at'] - began:.1f} s"),
            ("reason", reason),
        ),
    )


async def by_hand(stage: Stage) -> Happened:
    """Act four: `titleshot rollback late-arrival --reason TEXT`.

    Raises:
        DidNotHappen: the command failed.
        ChildFailed: the command ended with an error; the message has its log.
    """
    command = f"titleshot rollback {MODEL} --reason '{WHY}'"
    stage.say(f"act four: {command}")
    printed: list[str] = []
    began, clock = time.time(), time.monotonic()
    await stage.children.run(
        command,
        [*COMMAND, "rollback", MODEL, "--reason", WHY, "--json", "--admin", f"http://{HOST}:{stage.addresses.admin}"],
        QUIET,
        printed.append,
    )
    took = time.monotonic() - clock
    named = await stage.aliases.read()
    if named["champion"] != 1:
        raise DidNotHappen(f"`{command}` ended well, but @champion names version {named['champion']}")
    told = json.loads("\n".join(printed))
    confirmed = float(told["seconds"])
    await _until(stage, lambda: _served_by(stage.desk, 1) or None)
    stage.say(f"act four: @champion = 1, confirmed {confirmed:.2f} s after the command")
    return Happened(
        "version 2 rolled back by hand",
        took,
        (
            ("routes changed", f"{max(0.0, float(told['at']) - began):.2f} s after Enter"),
            ("registry confirmed", f"{took:.2f} s after Enter, {confirmed:.2f} s of it titleshot's"),
            ("by", str(told["actor"])),
        ),
    )


ACTS: tuple[tuple[str, Act], ...] = (
    ("act one: a good challenger is promoted", promotion),
    ("act two: the gate in staging finds a leaked evaluation", gate),
    ("act three: a bad one is rolled back", rollback),
    ("act four: rolled back by hand", by_hand),
)


def way_of(decisions: Sequence[Told], steps: Sequence[Told], version: int) -> list[tuple[str, float]]:
    """Through which steps a version went, and when it entered each: (as in WAY, seconds since the epoch)."""
    way: list[tuple[str, float]] = []
    promoting = False
    for decision in decisions:
        if decision["version"] != version:
            continue
        kind = decision["kind"]
        if kind in (DecisionKind.START, DecisionKind.ADVANCE):
            step = steps[decision["step"]]
            way.append((f"{step['kind']} {step['percent']} %", decision["at"]))
        elif kind == DecisionKind.PROMOTE:
            promoting = True
        elif kind == DecisionKind.MOVED and promoting:
            way.append(("promoted", decision["at"]))
    return way


def _promoted(desk: Desk, since: float) -> list[tuple[str, float]] | None:
    decisions = desk.decisions_since(since)
    for decision in decisions:
        if decision["version"] == 2 and decision["kind"] in _ENDS_OTHERWISE:
            raise DidNotHappen(f"version 2: {decision['kind'].replace('_', ' ')}: {decision['reason']}")
    way = way_of(decisions, (desk.state.get("rollout") or {}).get("steps", []), 2)
    if not way or way[-1][0] != "promoted":
        return None
    if tuple(what for what, _ in way) != WAY:
        raise DidNotHappen(f"version 2 was promoted, but went through {', '.join(what for what, _ in way)}")
    return way


_ENDS_OTHERWISE = (
    DecisionKind.ROLL_BACK,
    DecisionKind.ABORT,
    DecisionKind.SUPERSEDE,
    DecisionKind.FOREIGN_MOVE,
)


def _rolled_back(desk: Desk, since: float, version: int) -> Told | None:
    """The decision, once it is carried out."""
    decided: Told | None = None
    for decision in desk.decisions_since(since):
        if decision["version"] != version:
            continue
        kind = decision["kind"]
        if kind == DecisionKind.ROLL_BACK:
            if decision["actor"] != JUDGE:
                raise DidNotHappen(f"version {version} was rolled back by {decision['actor']}, not by its evidence")
            decided = decision
        elif kind == DecisionKind.MOVED and decided is not None:
            return decided
        elif kind in (DecisionKind.PROMOTE, *_ENDS_OTHERWISE):
            raise DidNotHappen(f"version {version}: {kind.replace('_', ' ')}: {decision['reason']}")
    return None


def _served_by(desk: Desk, version: int) -> bool:
    champion = (desk.state.get("roles") or {}).get("champion") or {}
    return desk.state.get("champion") == version and champion.get("version") == version


async def _until(stage: Stage, look: Callable[[], T | None]) -> T:
    """Wait until there is something to see; whoever called bounds the wait."""
    while True:
        stage.children.check()
        if (seen := look()) is not None:
            return seen
        await asyncio.sleep(POLL_SECONDS)


async def _named(stage: Stage, expected: dict[str, int | None]) -> dict[str, int | None]:
    """Wait until MLflow itself names these versions."""
    while True:
        stage.children.check()
        named = await stage.aliases.read()
        if all(named[alias] == version for alias, version in expected.items()):
            return named
        await asyncio.sleep(POLL_SECONDS)
