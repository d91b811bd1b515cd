"""The traffic: every flight asks at the gate whether it will land late, and lands a little later.

An open loop, as clients are: a slow answer does not hold the next request back. A flight's label is sent when it has
landed, by the id that came with the answer.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from router.demo.connection import Answer, Client

SHORTEST_FLIGHT_SECONDS = 1.0
LONGEST_FLIGHT_SECONDS = 4.0
"""Real flights take hours; here time is scaled, and the order in which labels come is as mixed as at an airport."""

LABELS_EVERY_SECONDS = 0.25
LABELS_AT_ONCE = 500

PILE_SECONDS = 0.3
"""Answers that so many seconds of traffic wait for are a pile."""
SLOWER, FASTER = 0.98, 1.001
"""By which the rate is multiplied with every request sent, while there is a pile and while there is none."""
SLOWEST_RATE = 20.0

SETTLE_SECONDS = 60.0
KEPT_FAILURES = 20


@dataclass(slots=True)
class Tally:
    """What the traffic has come to so far."""

    sent: int = 0
    answered: int = 0  # with status 200
    failed: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # what they said -> how often
    labels_sent: int = 0
    labels_accepted: int = 0
    labels_refused: int = 0
    label_retries: int = 0

    @property
    def open(self) -> int:
        """Requests without an answer yet."""
        return self.sent - self.answered - self.failed


class Replay:
    """Replays flights, again from the first when all have flown.

    Args:
        requests: bodies, one flight each.
        late: the truth of each.
        data: client of the data port.
        admin: client of the admin port.
        path: of the inference.
        rate: flights a second, at most.
    """

    def __init__(
        self, requests: list[bytes], late: NDArray[np.bool_], data: Client, admin: Client, path: str, rate: float
    ) -> None:
        self.tally = Tally()
        self._requests = requests
        self._late = late
        self._data = data
        self._admin = admin
        self._path = path
        self._most = rate
        self.rate = rate
        self._random = random.Random(2013)  # noqa: S311 - spacing, no secrets
        self._landing: list[tuple[float, str, int]] = []  # a heap: when, request id, label
        self._open: set[asyncio.Task[None]] = set()

    async def depart(self) -> None:
        """Send requests until cancelled. At random intervals, as independent clients do (a Poisson process)."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        number = 0
        try:
            while True:
                due += self._random.expovariate(self.rate)
                if (early := due - loop.time()) > 0:
                    await asyncio.sleep(early)
                task = asyncio.create_task(self._fly(number % len(self._requests)))
                self._open.add(task)
                task.add_done_callback(self._open.discard)
                number += 1
                self._ease()
        finally:
            await self._settle()

    async def _settle(self) -> None:
        """Requests under way get their answers; those that get none in time have failed."""
        if not self._open:
            return
        _, without = await asyncio.wait(self._open, timeout=SETTLE_SECONDS)
        for task in without:
            task.cancel()
        self.tally.failed += len(without)
        if without:
            self.tally.failures["no answer until the end"] += len(without)

    def _ease(self) -> None:
        """Send less while answers pile up, and slowly more again: a slow machine takes longer, and is not run over."""
        if self.tally.open > self.rate * PILE_SECONDS:
            self.rate = max(self.rate * SLOWER, min(SLOWEST_RATE, self._most))
        elif self.rate < self._most:
            self.rate = min(self.rate * FASTER, self._most)

    async def land(self) -> None:
        """Send the labels of flights that have landed, until cancelled."""
        while True:
            await asyncio.sleep(LABELS_EVERY_SECONDS)
            now = asyncio.get_running_loop().time()
            batch: list[tuple[float, str, int]] = []
            while self._landing and self._landing[0][0] <= now and len(batch) < LABELS_AT_ONCE:
                batch.append(heapq.heappop(self._landing))
            if batch:
                await self._send_labels(batch)

    async def _fly(self, number: int) -> None:
        self.tally.sent += 1
        answer = await self._data.post(self._path, self._requests[number])
        if answer.status != 200 or not answer.request_id:
            self.tally.failed += 1
            self._note(answer)
            return
        self.tally.answered += 1
        lands = asyncio.get_running_loop().time() + self._random.uniform(
            SHORTEST_FLIGHT_SECONDS, LONGEST_FLIGHT_SECONDS
        )
        heapq.heappush(self._landing, (lands, answer.request_id, int(self._late[number])))

    def _note(self, answer: Answer) -> None:
        what = f"{answer.status or 'no answer'}: {answer.body[:200].decode(errors='replace').strip()}"
        if what in self.tally.failures or len(self.tally.failures) < KEPT_FAILURES:
            self.tally.failures[what] += 1

    async def _send_labels(self, batch: list[tuple[float, str, int]]) -> None:
        body = b"".join(b'{"request_id":"%s","label":%d}\n' % (key.encode(), label) for _, key, label in batch)
        answer = await self._admin.post("/labels", body, "application/x-ndjson")
        if answer.status not in (200, 202, 422):  # not acknowledged: sent again
            self.tally.label_retries += 1
            for each in batch:
                heapq.heappush(self._landing, each)
            return
        told = json.loads(answer.body)
        self.tally.labels_sent += len(batch)
        self.tally.labels_accepted += told["accepted"]
        self.tally.labels_refused += len(batch) - told["accepted"]


def read_replay(path: Path, most: int | None = None) -> tuple[list[bytes], NDArray[np.bool_]]:
    """The (first) requests, a flight each, as MLflow's `dataframe_split`, and their labels: what the training left."""
    with np.load(path) as arrays:
        columns, features, late = arrays["columns"].tolist(), arrays["features"][:most], arrays["late"][:most]
    requests = [
        json.dumps({"dataframe_split": {"columns": columns, "data": [row]}}).encode() for row in features.tolist()
    ]
    return requests, late
