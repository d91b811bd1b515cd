"""The working directory of one demo: where everything that it makes lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODEL = "late-arrival"


@dataclass(frozen=True, slots=True)
class Workspace:
    """Paths below one directory."""

    directory: Path

    @property
    def registry(self) -> str:
        """The MLflow registry's URI."""
        return f"sqlite:///{self.directory / 'mlflow.db'}"

    @property
    def artifacts(self) -> Path:
        """Where MLflow keeps the models."""
        return self.directory / "artifacts"

    @property
    def replay(self) -> Path:
        """The flights to replay: arrays `columns`, `features`, `late`."""
        return self.directory / "replay.npz"

    @property
    def holdout(self) -> Path:
        """Labelled flights that no version was trained on, for the gate."""
        return self.directory / "holdout.csv"

    @property
    def settings(self) -> Path:
        """titleshot.yaml."""
        return self.directory / "titleshot.yaml"

    def log(self, process: str) -> Path:
        """What a process wrote to its standard error (and, servers, to standard output)."""
        return self.directory / f"{process}.log"
