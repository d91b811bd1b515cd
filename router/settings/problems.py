"""What is wrong with a settings file, and where; a list of all of it, not the first one only."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and list indices, from the document's top."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `where` is the path within the settings ("" for the whole file)."""

    file: str
    line: int
    column: int
    where: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: "
        return place + (f"{self.where}: {self.expected}" if self.where else self.expected)

    @classmethod
    def at(cls, mark: Mark, path: Path, expected: str) -> Problem:
        """The problem at a mark."""
        return cls(mark.file, mark.line, mark.column, dotted(path), expected)


class SettingsError(Exception):
    """Settings that are not valid.

    Args:
        problems: all that is wrong, in the order of file and line.
        files: what was read, file by file: the SHA-256 of the content, "" where a file could not be read.
    """

    def __init__(self, problems: Iterable[Problem], files: dict[str, str] | None = None) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
        self.files = files or {}
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: Path) -> str:
    """The path as people write it: models.late-arrival.rollout[1].canary."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """What may have been meant by a word that is not known, or what there is to choose from; goes after a sentence."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(choices)}" if choices else ""
