"""What is said of a policy, or a part of one, that makes no sense."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PolicyError(ValueError):
    """A policy, or a part of one, that makes no sense; `where` is the field's path within it."""

    def __init__(self, where: str, expected: str) -> None:
        super().__init__(f"{where}: {expected}")
        self.where = where
        self.expected = expected


@contextmanager
def within(part: str) -> Iterator[None]:
    """An error of a part, told with its path within the whole."""
    try:
        yield
    except PolicyError as error:
        raise PolicyError(f"{part}.{error.where}", error.expected) from None
