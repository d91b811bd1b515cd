"""The policy as users write it, and its reading as a `comparator.policy.Policy`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from comparator.policy import DEFAULT_GUARDRAILS, DEFAULT_STEPS, MOST_PEOPLE, Gate, Policy, SignOff, Step
from comparator.policy import StepKind as Kind
from comparator.policy_error import PolicyError
from comparator.rail import CLASS_METRICS, NUMBER_METRICS
from comparator.restraint import Then
from router.protocols.coding import Predicts
from router.settings.block import Block, Count, Duration, Number, Percent, Switch, written, wrong, wrong_at
from router.settings.guardrails import Guardrails
from router.settings.outside import OutsideSettings
from router.settings.problems import Path
from router.settings.restraint import AtDeadline, RestraintSettings
from router.settings.staging import StagingSettings
from router.settings.units import parse_duration, shown


class Waiting(Block):
    """What does not wait for ever."""

    within: Duration | None = Field(default=None, description="At most so long. Default: it waits for ever.")
    at_deadline: AtDeadline = Field(
        default="notify",
        description="notify: say so, once, and wait on. abort: end the rollout. Nothing passes for it.",
    )

    def waits(self) -> dict[str, Any]:
        """The fields of `Step`."""
        return {"within_seconds": self.within, "at_deadline": Then(self.at_deadline)}


class ShadowStep(Waiting):
    """The challenger answers a copy; the client only ever sees the champion's answer."""

    shadow: Percent = Field(description="Percent of the traffic that is mirrored to the challenger.")
    for_: Duration = Field(
        default=0.0, alias="for", description="At least so long.", json_schema_extra={"default": "0s"}
    )

    def step(self) -> Step:
        """The judge's step. Raises PolicyError."""
        return Step(Kind.SHADOW, self.shadow, self.for_, **self.waits())


class CanaryStep(Waiting):
    """A share of the clients is answered by the challenger."""

    canary: Percent = Field(
        description="Percent of the clients that are answered by the challenger, 1 to 99.",
        json_schema_extra={"maximum": 99},
    )
    for_: Duration = Field(
        default=0.0, alias="for", description="At least so long.", json_schema_extra={"default": "0s"}
    )

    def step(self) -> Step:
        """The judge's step. Raises PolicyError."""
        return Step(Kind.CANARY, self.canary, self.for_, **self.waits())


_ACTOR_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}", re.ASCII)


def _actor_name(value: object) -> str:
    if isinstance(value, str) and _ACTOR_NAME.fullmatch(value):
        return value
    raise wrong(f"expected the name of a token: 1 to 64 letters, digits and any of . _ @ -, not {shown(value)}")


ActorName = Annotated[
    str, BeforeValidator(_actor_name), WithJsonSchema({"type": "string", "pattern": f"^{_ACTOR_NAME.pattern}$"})
]


class SignOffRules(Block):
    """Who may sign off."""

    by: tuple[ActorName, ...] = Field(
        default=(), description="The people who may, by the names of their tokens. Default: all who have the right to."
    )
    people: Count = Field(
        default=1,
        description=f"So many different people have to sign, 1 to {MOST_PEOPLE}.",
        json_schema_extra={"maximum": MOST_PEOPLE},
    )
    not_registrant: Switch = Field(
        default=False, description="Whether the person who registered the version may not; unknown: nobody may."
    )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        try:
            self.rules()
        except PolicyError as error:
            raise wrong_at([((error.where,), error.expected)]) from None
        return self

    def rules(self) -> SignOff:
        """The judge's. Raises PolicyError."""
        return SignOff(self.by, self.people, self.not_registrant)


AnySignOff = Annotated[
    Annotated[SignOffRules, Tag("<people>")] | Annotated[Switch, Tag("<switch>")],
    Discriminator(lambda written: "<people>" if isinstance(written, dict | SignOffRules) else "<switch>"),
]


class Promotion(Waiting):
    """How the title changes hands."""

    sign_off: AnySignOff = Field(
        default=False,
        description="Whether a person has to sign off first: true or false, or who may: {by, people, not_registrant}.",
    )


class PromoteStep(Block):
    """@champion is moved to the challenger."""

    promote: Promotion = Field(
        description="{} to promote at once, {sign_off: true} to wait for a person, {sign_off: {people: 2}} for two."
    )

    def step(self) -> Step:
        """The judge's step. Raises PolicyError."""
        asked = self.promote.sign_off
        rules = asked.rules() if isinstance(asked, SignOffRules) else SignOff()
        return Step(Kind.PROMOTE, sign_off=rules if rules != SignOff() else asked is not False, **self.promote.waits())


class WatchStep(Waiting):
    """After promotion the previous champion answers a copy, as the reference."""

    watch: Duration = Field(description="How long the new champion stays on trial.")
    percent: Percent = Field(default=100, description="Percent of the traffic that is copied to the previous champion.")

    def step(self) -> Step:
        """The judge's step. Raises PolicyError."""
        return Step(Kind.WATCH, self.percent, self.watch, **self.waits())


STEP_KINDS = tuple(kind.value for kind in Kind)


def step_kind(value: object) -> str | None:
    """Which step a mapping of the rollout is, by the one kind that it names."""
    named = [kind for kind in STEP_KINDS if kind in value] if isinstance(value, dict) else []
    return f"<{named[0]}>" if len(named) == 1 else None


AnyStep = Annotated[
    Annotated[ShadowStep, Tag("<shadow>")]
    | Annotated[CanaryStep, Tag("<canary>")]
    | Annotated[PromoteStep, Tag("<promote>")]
    | Annotated[WatchStep, Tag("<watch>")],
    Discriminator(step_kind),
]


class Judge(Block):
    """The judge's numbers. The defaults are meant for production."""

    bucket: Duration = written("10s", parse_duration, "Length of a time bucket for errors and latency.")
    bucket_min_answers: Count = Field(
        default=10, description="A bucket stays open until each side has so many answers."
    )
    incident_buckets: Count = Field(
        default=4,
        description="A one-sided incident (errors, slowness) that is over after so many buckets counts once.",
    )
    min_buckets: Count = Field(default=30, description="Closed buckets before no harm may be said.")
    min_answers: Count = Field(default=1000, description="The challenger's answers in a step before it may pass.")
    min_labelled_positives: Count = Field(
        default=100,
        description="The challenger's labelled positives before precision may pass; for any other metric from labels: "
        "its labelled requests.",
    )
    block_requests: Count = Field(
        default=6, description="Requests per block of the precision test in shadow; at least 2."
    )
    restart: Duration = written(
        "20m",
        parse_duration,
        "How often the tests restart, to find late regressions (before the first time after 1/8, 1/4 and 1/2 of it).",
    )
    tau_window: Duration = written(
        "10m", parse_duration, "Past span that the champion's latency quantile is taken from."
    )
    tau_lag: Duration = written("1m", parse_duration, "The most recent span left out of it.")
    coverage: Percent = Field(
        default=50,
        description="Labels must reach the challenger-only positives at least so often, in percent of the champion's; "
        "for recall, accuracy, brier and mae: the requests on which the two disagree, in percent of the others.",
    )
    shed: Percent = Field(
        default=10,
        description="Most copies, in percent, that may have been dropped for the challenger to pass in shadow.",
    )
    split_alpha: Number = Field(
        default=0.001,
        description="Probability of holding a canary whose split is as asked, as one whose split is not.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 0.5},
    )
    label_grace: Duration = written(
        "0s",
        parse_duration,
        "How long a label is held before it counts; of those that differ the last counts.",
    )
    label_retention: Duration = written("7d", parse_duration, "How long predictions and labels wait for one another.")

    def numbers(self) -> dict[str, Any]:
        """The fields of `Policy`."""
        return {
            "bucket_seconds": self.bucket,
            "bucket_min_answers": self.bucket_min_answers,
            "incident_buckets": self.incident_buckets,
            "min_buckets": self.min_buckets,
            "min_answers": self.min_answers,
            "min_labelled_positives": self.min_labelled_positives,
            "block_requests": self.block_requests,
            "restart_seconds": self.restart,
            "tau_window_seconds": self.tau_window,
            "tau_lag_seconds": self.tau_lag,
            "coverage_ratio": self.coverage / 100,
            "most_shed_ratio": self.shed / 100,
            "split_alpha": self.split_alpha,
            "label_grace_seconds": self.label_grace,
            "label_retention_seconds": self.label_retention,
        }

    @model_validator(mode="after")
    def _legal(self) -> Self:
        problems: list[tuple[Path, str]] = []
        names = {"bucket_seconds": "bucket", "coverage_ratio": "coverage", "most_shed_ratio": "shed"}
        for field, value in self.numbers().items():
            try:
                Policy(**{field: value})
            except PolicyError as error:
                problems.append(((names.get(field, field.removesuffix("_seconds")),), error.expected))
        if problems:
            raise wrong_at(problems)
        return self


class PolicySettings(OutsideSettings):
    """A promotion policy: inline under a model, or a file of its own (`policy: FILE`)."""

    gate: Literal["required", "offline", "off"] = Field(
        default=Gate.REQUIRED.value,
        description="What a challenger must show before its rollout may start. required: lineage on the version, and a "
        "PASS of the gate in staging (`titleshot gate`) in the ledger. offline: lineage and offline metrics on the "
        "version, no worse than the champion's. off: nothing.",
    )
    staging: StagingSettings = Field(
        default=StagingSettings(),
        description="What the gate in staging asks for beyond contract, holdout metrics and the guardrails' margins.",
        json_schema_extra={"default": {}},
    )
    predicts: Literal["binary", "multiclass", "number"] | None = Field(
        default=None,
        description="What answers predict. binary: the positive class or not. multiclass: one of several classes. "
        "number: a number (a regression). Default: what the guardrails are of, else binary.",
    )
    rollout: tuple[AnyStep, ...] | None = Field(
        default=None,
        description="The steps, in order. Default: shadow 100 for 24h, canary 10 for 1h, canary 50 for 1h, promote "
        "with sign-off, watch 24h.",
    )
    guardrails: Guardrails | None = Field(
        default=None,
        description="What the challenger must hold. Default: precision within 2 points and 5 points of the offline "
        "promise, p99_latency within 10%, error_rate within 0.5 points.",
    )
    alpha: Number = Field(
        default=0.05,
        description="Probability of rolling back a harmless challenger, over the whole rollout, however often "
        "one looks.",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 0.5},
    )
    restraint: RestraintSettings = Field(
        default=RestraintSettings(),
        description="What keeps a rollout from starting or going on, whatever its evidence says.",
        json_schema_extra={"default": {}},
    )
    judge: Judge = Field(default=Judge(), description="The judge's numbers.", json_schema_extra={"default": {}})

    @model_validator(mode="after")
    def _legal(self) -> Self:
        problems: list[tuple[Path, str]] = []
        for index, step in enumerate(self.rollout or ()):
            try:
                step.step()
            except PolicyError as error:
                problems.append((("rollout", index, error.where), error.expected))
        rails = self.guardrails.guardrails() if self.guardrails is not None else DEFAULT_GUARDRAILS
        of_classes = [rail.name for rail in rails if rail.metric in CLASS_METRICS]
        if self.predicts == Predicts.NUMBER.value and of_classes:
            problems.append((("predicts",), f"expected binary or multiclass: there is a guardrail on {of_classes[0]}"))
        of_numbers = [rail.name for rail in rails if rail.metric in NUMBER_METRICS]
        if self.predicts not in (None, Predicts.NUMBER.value) and of_numbers:
            problems.append((("predicts",), f"expected number: there is a guardrail on {of_numbers[0]}"))
        if not problems:
            try:
                self.policy()
            except PolicyError as error:
                problems.append((tuple(error.where.split(".")), error.expected))
        if problems:
            raise wrong_at(problems)
        return self

    @property
    def predicted(self) -> Predicts:
        """What answers predict: as written, else as the guardrails have it."""
        if self.predicts is not None:
            return Predicts(self.predicts)
        rails = self.guardrails.guardrails() if self.guardrails is not None else ()
        if any(rail.metric in NUMBER_METRICS for rail in rails):
            return Predicts.NUMBER
        return Predicts.MULTICLASS if any(rail.of_classes for rail in rails) else Predicts.BINARY

    def policy(self) -> Policy:
        """The judge's policy, with defaults filled in."""
        return self.policy_with(
            tuple(step.step() for step in self.rollout) if self.rollout is not None else DEFAULT_STEPS
        )

    def policy_with(self, steps: tuple[Step, ...]) -> Policy:
        """The judge's policy over these steps. Raises PolicyError."""
        return Policy(
            steps=steps,
            guardrails=self.guardrails.guardrails() if self.guardrails is not None else DEFAULT_GUARDRAILS,
            alpha=self.alpha,
            gate=Gate(self.gate),
            restraint=self.restraint.restraint(),
            outside=self.outside(),
            staging=self.staging.staging(),
            multiclass=self.predicted is Predicts.MULTICLASS,
            **self.judge.numbers(),
        )
