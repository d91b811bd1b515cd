"""The policy of a rollout: its steps, its guardrails, and every number the judge uses.

An illegal policy cannot be constructed: `PolicyError` says which field, and what was expected.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from comparator.canonical import canonical_text, read_canonical
from comparator.outside import Outside
from comparator.policy_error import PolicyError, within
from comparator.rail import CLASS_METRICS, LABEL_METRICS, NUMBER_METRICS, RANGED, Guardrail, Metric
from comparator.restraint import Restraint, Then
from comparator.staging import Staging

__all__ = [
    "CLASS_METRICS",
    "DEFAULT_GUARDRAILS",
    "DEFAULT_STEPS",
    "LABEL_METRICS",
    "MOST_PEOPLE",
    "RANGED",
    "Gate",
    "Guardrail",
    "Metric",
    "Policy",
    "SignOff",
    "Step",
    "StepKind",
]


class StepKind(str, Enum):
    """What happens during a step."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTE = "promote"
    WATCH = "watch"


MOST_PEOPLE = 5
"""Who may be asked to sign off one version."""


class Gate(str, Enum):
    """What a challenger must show before its rollout may start."""

    OFF = "off"
    OFFLINE = "offline"  # lineage and offline metrics on the version, no worse than the champion's
    REQUIRED = "required"  # lineage on the version, and a passed gate in staging in the ledger


@dataclass(frozen=True, slots=True)
class SignOff:
    """Who may sign off.

    Args:
        by: the people who may, by the name that their token has; none: whoever has the right to.
        people: so many different people have to sign.
        not_registrant: whoever registered the version may not.
    """

    by: tuple[str, ...] = ()
    people: int = 1
    not_registrant: bool = False

    def __post_init__(self) -> None:
        if len(set(self.by)) != len(self.by) or not all(self.by):
            raise PolicyError("by", "expected each name once")
        if not 1 <= self.people <= MOST_PEOPLE:
            raise PolicyError("people", f"expected 1 to {MOST_PEOPLE}, not {self.people}")
        if self.by and len(self.by) < self.people:
            raise PolicyError("by", f"expected at least {self.people} names: so many people have to sign")
        object.__setattr__(self, "by", tuple(sorted(self.by)))  # their order means nothing, nor in the digest

    @classmethod
    def from_data(cls, data: bool | dict[str, Any]) -> bool | SignOff:  # noqa: FBT001 - as a policy has it
        """What canonical JSON says of it."""
        return data if isinstance(data, bool) else cls(**{**data, "by": tuple(data["by"])})


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its kind, its share in integer percent, and for how long at least.

    Args:
        within_seconds: the most that it may last (of promote: that a sign-off may take); None: it may wait for ever.
        at_deadline: what is done then.
    """

    kind: StepKind
    percent: int = 100  # shadow: of the traffic mirrored; canary: answered by the challenger; watch: mirrored
    min_seconds: float = 0.0
    sign_off: bool | SignOff = False  # promote only; True: anybody who has the right to
    within_seconds: float | None = None
    at_deadline: Then = Then.NOTIFY

    def __post_init__(self) -> None:
        if not 1 <= self.percent <= 100:
            raise PolicyError(self.kind.value, f"expected an integer percent from 1 to 100, not {self.percent}")
        if self.kind is StepKind.CANARY and self.percent > 99:
            raise PolicyError(
                "canary", "expected at most 99 percent: without a champion there is nothing to compare with"
            )
        if not 0 <= self.min_seconds < float("inf"):
            raise PolicyError("for", f"expected a duration of 0 or more, not {self.min_seconds} seconds")
        if self.sign_off and self.kind is not StepKind.PROMOTE:
            raise PolicyError("sign_off", "only a promote step waits for a sign-off")
        self._check_deadline()

    def _check_deadline(self) -> None:
        if self.within_seconds is None:
            return
        if self.kind is StepKind.PROMOTE and not self.sign_off:
            raise PolicyError("within", "expected sign_off: a promotion without one does not wait")
        if not max(self.min_seconds, 0.0) < self.within_seconds < math.inf:
            raise PolicyError("within", f"expected more than its minimum, not {self.within_seconds:g} seconds")
        if self.kind is StepKind.WATCH and self.at_deadline is Then.ABORT:
            raise PolicyError("at_deadline", "expected notify: a champion in its watch cannot be aborted")


DEFAULT_GUARDRAILS = (
    Guardrail(Metric.PRECISION, margin=0.02, offline_tolerance=0.05),
    Guardrail(Metric.LATENCY, margin=0.10, quantile=0.99),
    Guardrail(Metric.ERROR_RATE, margin=0.005),
)

HOUR = 3600.0

DEFAULT_STEPS = (
    Step(StepKind.SHADOW, 100, 24 * HOUR),
    Step(StepKind.CANARY, 10, HOUR),
    Step(StepKind.CANARY, 50, HOUR),
    Step(StepKind.PROMOTE, sign_off=True),
    Step(StepKind.WATCH, 100, 24 * HOUR),
)


_NUMBERS: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("alpha", "split_alpha"), lambda x: 0 < x <= 0.5, "more than 0 and at most 0.5"),
    (
        ("bucket_seconds", "restart_seconds", "tau_window_seconds", "label_retention_seconds"),
        lambda x: 0 < x < math.inf,
        "a duration of more than 0",
    ),
    (("tau_lag_seconds", "label_grace_seconds"), lambda x: 0 <= x < math.inf, "a duration of 0 or more"),
    (
        ("bucket_min_answers", "incident_buckets", "min_buckets", "min_answers", "min_labelled_positives"),
        lambda x: x >= 1,
        "at least 1",
    ),
    (("block_requests",), lambda x: x >= 2, "at least 2"),
    (("coverage_ratio", "most_shed_ratio"), lambda x: 0 <= x <= 1, "0 to 1"),
)
"""Fields of a policy, which numbers are legal, and that in words."""


_PARTS: Mapping[str, type[Restraint | Staging | Outside]] = {
    "restraint": Restraint,
    "staging": Staging,
    "outside": Outside,
}
"""Fields of a policy that are written and read by a class of their own."""


@dataclass(frozen=True)  # no slots: the digest is kept, it is asked for at every look
class Policy:
    """All that a rollout is judged by. Defaults are meant for production.

    Args:
        steps: in order. Without a promote step the challenger is compared and guarded, never promoted.
        guardrails: at least one, each metric (of each class, each latency quantile) once.
        multiclass: predictions and labels are classes of which none is the positive one.
        alpha: the probability of rolling back a harmless challenger, over the whole rollout, however often one looks.
        gate: what the challenger must show before it may start.
        bucket_seconds: the length of a time bucket for errors and latency.
        bucket_min_answers: a bucket stays open until each side has so many answers.
        incident_buckets: a one-sided incident (errors, slowness) that is over after so many buckets counts once.
        min_buckets: closed buckets before no harm on errors or latency may be said.
        min_answers: the challenger's answers in a step before it may pass.
        min_labelled_positives: the challenger's labelled positives before precision may pass; of any other metric from
            labels: its labelled requests.
        block_requests: requests per block of the precision test in shadow.
        restart_seconds: how often the tests restart, to find late regressions; also after 1/8, 1/4 and 1/2 of it.
        tau_window_seconds: past span that the champion's latency quantile is taken from.
        tau_lag_seconds: the most recent span left out of it.
        coverage_ratio: labels must reach the challenger-only positives at least so often, relative to the champion's.
        most_shed_ratio: of the copies that were to be sent, so many may be shed: what is shed is not chosen at random.
        split_alpha: the probability of holding a canary whose split is as asked, as one whose split is not.
        label_grace_seconds: how long a label is held before it counts; of those that differ the last one counts.
        label_retention_seconds: how long predictions and labels wait for one another.
        restraint: what keeps a rollout from starting or going on, whatever its evidence says.
        outside: what is asked of others: checks on the user's Prometheus, and webhooks.
        staging: what the gate in staging asks for.
    """

    steps: tuple[Step, ...] = DEFAULT_STEPS
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = 0.05
    gate: Gate = Gate.REQUIRED
    bucket_seconds: float = 10.0
    bucket_min_answers: int = 10
    incident_buckets: int = 4
    min_buckets: int = 30
    min_answers: int = 1000
    min_labelled_positives: int = 100
    block_requests: int = 6
    restart_seconds: float = 1200.0
    tau_window_seconds: float = 600.0
    tau_lag_seconds: float = 60.0
    coverage_ratio: float = 0.5
    most_shed_ratio: float = 0.1
    split_alpha: float = 0.001
    label_grace_seconds: float = 0.0
    label_retention_seconds: float = field(default=7 * 24 * HOUR)
    restraint: Restraint = field(default_factory=Restraint)
    outside: Outside = field(default_factory=Outside)
    staging: Staging = field(default_factory=Staging)
    multiclass: bool = False

    def __post_init__(self) -> None:
        self._check_steps()
        self._check_numbers()
        self._check_minimum()
        if not self.guardrails:
            raise PolicyError("guardrails", "expected at least one")
        names = [guardrail.name for guardrail in self.guardrails]
        if len(set(names)) != len(names):
            raise PolicyError("guardrails", "expected each guardrail once")
        for check in self.outside.checks:
            if check.name in names:
                raise PolicyError(f"checks.{check.name}", "expected another name: a guardrail is called so")
        self._check_kinds()

    def _check_kinds(self) -> None:
        """Predictions are numbers, one of two classes or one of several."""
        numbers = next((rail for rail in self.guardrails if rail.metric in NUMBER_METRICS), None)
        classes = {rail.name for rail in self.guardrails if rail.metric in CLASS_METRICS}
        if numbers is not None and (classes or self.multiclass):
            others = ", ".join(sorted(classes)) or "multiclass"
            raise PolicyError(
                f"guardrails.{numbers.name}", f"expected predictions to be numbers or classes, not both: see {others}"
            )
        if self.multiclass and self.guardrail(Metric.REWARD) is not None:
            raise PolicyError(
                "guardrails.reward", "expected a label to be a reward or one of several classes, not both"
            )
        for rail in self.guardrails:
            if rail.of_classes and not self.multiclass:
                raise PolicyError(
                    f"guardrails.{rail.metric.value}", "expected a policy of several classes (multiclass)"
                )
            if self.multiclass and rail.metric in CLASS_METRICS - {Metric.ACCURACY} and not rail.of_classes:
                raise PolicyError(
                    f"guardrails.{rail.metric.value}",
                    "expected accuracy, or precision, recall or f1 of a class (of: CLASS): there are several classes",
                )

    def _check_minimum(self) -> None:
        named = {rail.name: rail for rail in self.guardrails if rail.metric in LABEL_METRICS - {Metric.REWARD}}
        numbers = any(rail.metric in NUMBER_METRICS for rail in named.values())
        others = {Metric.ACCURACY} if self.multiclass else CLASS_METRICS
        known = named.keys() | (set() if numbers else {metric.value for metric in others})
        for name, figure in self.staging.minimum:
            if name not in known:
                raise PolicyError(f"staging.minimum.{name}", f"expected one of {', '.join(sorted(known))}")
            most = named[name].width if name in named else 1.0
            if not 0 < figure <= most:
                raise PolicyError(
                    f"staging.minimum.{name}", f"expected more than 0 and at most {most:g}, not {figure:g}"
                )

    def _check_numbers(self) -> None:
        for names, legal, expected in _NUMBERS:
            for name in names:
                if not legal(getattr(self, name)):
                    raise PolicyError(name, f"expected {expected}, not {getattr(self, name)}")
        if self.label_grace_seconds >= self.label_retention_seconds:
            raise PolicyError("label_grace_seconds", "expected less than label_retention_seconds")

    def _check_steps(self) -> None:
        if not self.steps:
            raise PolicyError("rollout", "expected at least one step")
        kinds = [step.kind for step in self.steps]
        if kinds.count(StepKind.PROMOTE) > 1 or kinds.count(StepKind.WATCH) > 1:
            raise PolicyError("rollout", "expected at most one promote step and one watch step")
        if StepKind.PROMOTE in kinds:
            at = kinds.index(StepKind.PROMOTE)
            if at == 0:
                raise PolicyError(
                    "rollout", "expected a shadow or canary step before promote: no evidence is never a pass"
                )
            if kinds[at + 1 :] not in ([], [StepKind.WATCH]):
                raise PolicyError("rollout", "expected nothing but a watch step after promote")
        elif StepKind.WATCH in kinds:
            raise PolicyError("rollout", "expected a promote step before watch")
        shares = [step.percent for step in self.steps if step.kind is StepKind.CANARY]
        if shares != sorted(shares):
            raise PolicyError("rollout", f"expected canary shares that grow, not {shares}")
        if StepKind.CANARY in kinds and StepKind.SHADOW in kinds[kinds.index(StepKind.CANARY) :]:
            raise PolicyError("rollout", "expected shadow steps before canary steps")

    @property
    def promotes(self) -> bool:
        """Whether the judge may promote by itself (or after a sign-off)."""
        return any(step.kind is StepKind.PROMOTE for step in self.steps)

    @property
    def sign_off(self) -> SignOff | None:
        """Who may sign off, where somebody has to."""
        asked = next((step.sign_off for step in self.steps if step.kind is StepKind.PROMOTE), False)
        return SignOff() if asked is True else asked or None

    @property
    def by_rule(self) -> bool:
        """Whether it says who signs off, or how many: then nobody gives the title by hand past that."""
        return self.sign_off not in (None, SignOff())

    def guardrail(self, metric: Metric) -> Guardrail | None:
        """The (first) guardrail on this metric."""
        return next((guardrail for guardrail in self.guardrails if guardrail.metric is metric), None)

    @classmethod
    def from_canonical(cls, text: str) -> Policy:
        """The policy that `canonical` wrote down; PolicyError or TypeError where it is not one."""
        data = read_canonical(text)
        steps = tuple(_step(step) for step in data.pop("steps"))
        guardrails = tuple(Guardrail(**{**rail, "metric": Metric(rail["metric"])}) for rail in data.pop("guardrails"))
        given: dict[str, Any] = {"gate": Gate(data.pop("gate"))}
        for name, part in _PARTS.items():
            with within(name):
                given[name] = part.from_data(data.pop(name, {}))
        return cls(steps=steps, guardrails=guardrails, **{**data, **given})

    def canonical(self) -> str:
        """Canonical JSON, see `canonical_text`."""
        return canonical_text(asdict(self))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()


def _step(data: Mapping[str, Any]) -> Step:
    return Step(
        **{
            **data,
            "kind": StepKind(data["kind"]),
            "sign_off": SignOff.from_data(data["sign_off"]),
            "at_deadline": Then(data.get("at_deadline", Then.NOTIFY.value)),
        }
    )
