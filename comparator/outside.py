"""What a policy wants to know beside its evidence: checks, and webhooks.

Checks are on the user's own Prometheus, or on what titleshot measures itself. Where others are is no part of it: that
only the settings say.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from comparator.policy_error import PolicyError

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
"""Of checks and webhooks."""

FILLED_IN = ("role", "version", "model")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(FILLED_IN) + r")\}")
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)

MOST_CHECKS = 20
MOST_WEBHOOKS = 5  # of each kind
LONGEST_QUERY = 4000
SKEWED_FEATURES = "skewed_features"
FIGURES = (SKEWED_FEATURES,)
"""What titleshot itself measures of a version: how many features live requests have otherwise than its training had."""

RESERVED = frozenset({"none", "breaker", "operator", "alert", "deadline", "no_data", "webhook"})
"""What else a decision's trigger can be."""


@dataclass(frozen=True, slots=True)
class Check:
    """A query to the user's own Prometheus, or a figure of titleshot's own: one number, and a threshold on it.

    Exactly one of `query` and `figure`, and one of `worse_by`, `at_most` and `at_least`. A threshold is no test: looked
    at again and again, it has no false-alarm rate.

    Args:
        name: for decisions, and people.
        query: PromQL; {role}, {version} and {model} in it are filled in.
        figure: one of FIGURES.
        worse_by: how much more than the champion's figure the challenger's may be, relative to it (0.2 is 20 percent).
        higher_is_better: with `worse_by`: how much less it may be.
        at_most: the challenger's figure may not be larger.
        at_least: the challenger's figure may not be smaller.
        every_seconds: between two results.
        results: so many in a row fail or pass.
        holds: results beyond the threshold are no harm: they hold the rollout where it is, for as long as they last.
    """

    name: str
    query: str = ""
    worse_by: float | None = None
    higher_is_better: bool = False
    at_most: float | None = None
    at_least: float | None = None
    every_seconds: float = 30.0
    results: int = 3
    figure: str = ""
    holds: bool = False

    def __post_init__(self) -> None:
        if NAME.fullmatch(self.name) is None or self.name in RESERVED:
            raise PolicyError("name", f"expected a name such as queue_time (a-z, 0-9 and _), not {self.name}")
        self._asks()
        self._compares()
        if self.higher_is_better and self.worse_by is None:
            raise PolicyError("better", "expected worse_by: a threshold says itself which side is better")
        if not 1 <= self.every_seconds <= 86_400:
            raise PolicyError("every", f"expected 1s to 1d, not {self.every_seconds:g} seconds")
        if not 1 <= self.results <= 100:
            raise PolicyError("for", f"expected 1 to 100 results, not {self.results}")

    def _asks(self) -> None:
        if bool(self.figure) is bool(self.query.strip()):
            raise PolicyError("query", "expected either query or figure")
        if self.figure and self.figure not in FIGURES:
            raise PolicyError("figure", f"expected {' or '.join(FIGURES)}, not {self.figure}")
        if len(self.query) > LONGEST_QUERY:
            raise PolicyError("query", f"expected PromQL of at most {LONGEST_QUERY} characters")

    def _compares(self) -> None:
        thresholds = (self.worse_by, self.at_most, self.at_least)
        asked = "figure" if self.figure else "query"
        if sum(each is not None for each in thresholds) != 1:
            raise PolicyError(asked, "expected exactly one of worse_by, at_most and at_least beside it")
        if not all(each is None or math.isfinite(each) for each in thresholds):
            raise PolicyError(asked, "expected a finite threshold")
        if self.figure and self.at_most is None:
            raise PolicyError(self._threshold(), "expected at_most: the fewer features, the better")
        if self.worse_by is None:
            return
        if not 0 < self.worse_by <= 100:
            raise PolicyError("worse_by", "expected more than 0% and at most 10000%")
        if not {"role", "version"} & set(_PLACEHOLDER.findall(self.query)):
            raise PolicyError("query", "expected {role} or {version} in it: both versions would have the same figure")

    def _threshold(self) -> str:
        return "worse_by" if self.worse_by is not None else "at_least"

    @property
    def compares(self) -> bool:
        """Whether the champion is asked for, too."""
        return self.worse_by is not None


def fill(query: str, *, role: str, version: int, model: str) -> str:
    """The query with its placeholders filled in.

    Every value is one that means nothing but itself in a PromQL string, however that is quoted.

    Raises:
        ValueError: a value that is not.
    """
    values = {"role": role, "version": str(version), "model": model}
    for name, value in values.items():
        if _PLAIN.fullmatch(value) is None:
            raise ValueError(f"expected letters, digits and any of . _ - as the {name} of a query")
    return _PLACEHOLDER.sub(lambda found: values[found[1]], query)


@dataclass(frozen=True, slots=True)
class Outside:
    """All that a policy wants to know beside its evidence.

    Args:
        checks: each name once.
        confirm_start: webhooks that have to confirm before a rollout starts.
        confirm_promote: webhooks that have to confirm before the judge promotes, or asks people to sign off.
        on_rollback: webhooks that are told of a rollback.
    """

    checks: tuple[Check, ...] = ()
    confirm_start: tuple[str, ...] = ()
    confirm_promote: tuple[str, ...] = ()
    on_rollback: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [check.name for check in self.checks]
        if len(set(names)) != len(names) or len(names) > MOST_CHECKS:
            raise PolicyError("checks", f"expected at most {MOST_CHECKS} checks, each name once")
        object.__setattr__(self, "checks", tuple(sorted(self.checks, key=lambda check: check.name)))  # one digest
        for where in ("confirm_start", "confirm_promote", "on_rollback"):
            named = getattr(self, where)
            if len(set(named)) != len(named) or len(named) > MOST_WEBHOOKS:
                raise PolicyError(where, f"expected at most {MOST_WEBHOOKS} webhooks, each once")
            if not all(NAME.fullmatch(name) for name in named):
                raise PolicyError(where, "expected names of webhooks, such as change_desk")
            object.__setattr__(self, where, tuple(sorted(named)))

    @property
    def webhooks(self) -> frozenset[str]:
        """The names of all webhooks."""
        return frozenset((*self.confirm_start, *self.confirm_promote, *self.on_rollback))

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Outside:
        """What canonical JSON says of it. Raises PolicyError, TypeError."""
        checks = tuple(Check(**check) for check in data.get("checks", ()))
        return cls(checks, **{name: tuple(names) for name, names in data.items() if name != "checks"})


CHECK_DEFAULTS: Mapping[str, object] = {
    "query": "",
    "figure": "",
    "holds": False,
    "worse_by": None,
    "higher_is_better": False,
    "at_most": None,
    "at_least": None,
}
OUTSIDE_DEFAULTS: Mapping[str, object] = {
    "checks": [],
    "confirm_start": (),
    "confirm_promote": (),
    "on_rollback": (),
}


def as_canonical(outside: Mapping[str, Any], without: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What canonical JSON says of an Outside as a dict; `without` leaves out what is at its default."""
    checks = [without(check, CHECK_DEFAULTS) for check in outside["checks"]]
    return without({**outside, "checks": checks}, OUTSIDE_DEFAULTS)
