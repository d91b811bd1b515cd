"""The whole demo: prepare, play the four acts, sum up, and leave nothing running."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Sequence

from router.demo.acts import ACTS, DidNotHappen, Stage
from router.demo.aliases import Aliases
from router.demo.children import ChildFailed, Children
from router.demo.connection import Client
from router.demo.desk import Desk
from router.demo.outcome import Outcome
from router.demo.servers import (
    HOST,
    QUIET,
    TITLESHOT,
    Addresses,
    NotReady,
    free_addresses,
    policy_text,
    start_scoring_server,
    start_titleshot,
    write_settings,
)
from router.demo.show import Picture, Show
from router.demo.traffic import Replay, read_replay
from router.demo.workspace import Workspace

VERSIONS = (1, 2, 3)
ACT_SECONDS = 240.0
"""An act that has not happened within so long does not."""

ALL_SECONDS = 600.0
LOOK_SECONDS = 0.5
CHECK_SECONDS = 1.0
RATE_OVER_LOOKS = 10
WARM_UP_ANSWERS = 200
"""Before act one: servers load some things late, and the champion needs a latency to be compared with."""

AFTERMATH_SECONDS = 3.0
"""Traffic goes on after the last act: a request that fails because of it counts."""


class Story:
    """One run of the demo.

    Args:
        workspace: an empty directory.
        show: where it is seen.
        rate: flights a second.
    """

    def __init__(self, workspace: Workspace, show: Show, rate: float) -> None:
        self.outcome = Outcome(acts_in_all=len(ACTS))
        self._workspace = workspace
        self._show = show
        self._rate = rate
        self._children = Children(workspace)
        self._aliases = Aliases(workspace)
        self._began = time.monotonic()
        self._act = "getting ready"

    async def play(self, *, stay: bool) -> None:
        """To the end; with `stay` on and on after it, until cancelled. However it ends, no process is left."""
        try:
            async with asyncio.timeout(ALL_SECONDS) as bound:
                self._show.policy(policy_text())
                addresses = await self._get_ready()
                await self._with_traffic(addresses, bound if stay else None)
        except TimeoutError:
            self.outcome.trouble = f"{self._act}: not done {ALL_SECONDS:.0f} s after the start"
        except (ChildFailed, DidNotHappen, NotReady) as error:
            self.outcome.trouble = f"{self._act}: {error}"
        finally:
            await self._children.stop(first=TITLESHOT)

    async def _get_ready(self) -> Addresses:
        addresses = free_addresses(len(VERSIONS))
        self.outcome.addresses = addresses
        arguments = ["-m", "router.demo.train", str(self._workspace.directory)]
        await self._children.run("training", arguments, QUIET, self._trained)
        self._took("training and registering")
        await self._aliases.name("champion", VERSIONS[0])
        write_settings(self._workspace, addresses)
        starting = [
            start_scoring_server(self._children, self._workspace, version, port)
            for version, port in addresses.models.items()
        ]
        starting.append(start_titleshot(self._children, self._workspace, addresses))
        for done, ready in enumerate(asyncio.as_completed(starting), 1):
            self._show.progress("starting the servers", done, len(starting), await ready)
        self._took("starting the servers")
        return addresses

    def _trained(self, line: str) -> None:
        told = json.loads(line)
        self._show.progress("training and registering", told["done"], told["of"], told["what"])

    async def _with_traffic(self, addresses: Addresses, stay: asyncio.Timeout | None) -> None:
        data, admin = Client(HOST, addresses.data), Client(HOST, addresses.admin, most=4)
        requests, late = read_replay(self._workspace.replay)
        replay = Replay(requests, late, data, admin, addresses.path, self._rate)
        desk = Desk(admin)
        departing = asyncio.create_task(replay.depart(), name="requests")
        background = [
            departing,
            asyncio.create_task(replay.land(), name="labels"),
            asyncio.create_task(self._look(desk, replay), name="view"),
            asyncio.create_task(self._guard(), name="processes"),
        ]
        playing = asyncio.create_task(self._acts(desk, replay, addresses), name="acts")
        try:
            await _first_of(playing, background)
            if stay is not None:
                stay.reschedule(None)
                self._act = "all acts are over; Ctrl-C ends the demo"
                await _first_of(asyncio.create_task(asyncio.Event().wait()), background)
        finally:
            playing.cancel()
            departing.cancel()
            await asyncio.wait([playing, departing])  # requests under way get their answers
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            self.outcome.take(replay.tally, desk.versions)
            data.close()
            admin.close()

    async def _acts(self, desk: Desk, replay: Replay, addresses: Addresses) -> None:
        while replay.tally.answered < WARM_UP_ANSWERS:  # noqa: ASYNC110 - a count that somebody else keeps
            await asyncio.sleep(LOOK_SECONDS)
        for version in VERSIONS:
            self.outcome.promised[version] = await self._aliases.offline_precision(version)
        stage = Stage(desk, self._aliases, self._children, addresses, self._workspace, self._show.say)
        for self._act, act in ACTS:
            try:
                async with asyncio.timeout(ACT_SECONDS):
                    self.outcome.acts[self._act] = await act(stage)
            except TimeoutError:
                raise DidNotHappen(f"not done after {ACT_SECONDS:.0f} s; {_missing(desk)}") from None
        self._took("the four acts")
        await asyncio.sleep(AFTERMATH_SECONDS)

    async def _look(self, desk: Desk, replay: Replay) -> None:
        addresses = self.outcome.links
        seen: deque[tuple[float, int]] = deque(maxlen=RATE_OVER_LOOKS)
        while True:
            await desk.read()
            seen.append((time.monotonic(), replay.tally.answered))
            span, answered = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
            self._show.look(Picture(self._act, desk, replay.tally, answered / span if span else 0.0, addresses))
            await asyncio.sleep(LOOK_SECONDS)

    async def _guard(self) -> None:
        while True:
            self._children.check()
            await asyncio.sleep(CHECK_SECONDS)

    def _took(self, what: str) -> None:
        now = time.monotonic()
        self.outcome.seconds.append((what, now - self._began))
        self._began = now


async def _first_of(wanted: asyncio.Task[object], background: Sequence[asyncio.Task[None]]) -> None:
    """Wait for `wanted`; what ends in the background before it has failed, and is raised."""
    done, _ = await asyncio.wait([wanted, *background], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _missing(desk: Desk) -> str:
    """What titleshot says that it waits for."""
    rollout = desk.state.get("rollout") or {}
    evidence = rollout.get("evidence") or {}
    return f"titleshot: {desk.trouble or rollout.get('hold_reason') or evidence.get('reason') or 'no rollout'}"
