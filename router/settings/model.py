"""One model under `models:`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal, Self
from urllib.parse import quote

from pydantic import Field, PrivateAttr, model_validator

from comparator.policy import CLASS_METRICS, Metric, Policy, Step, StepKind
from comparator.policy_error import PolicyError
from router.link.endpoint import Tls
from router.link.grpc_place import grpc_place
from router.protocols.coding import Coding, Predicts
from router.protocols.comparing import Comparison
from router.protocols.open_inference_grpc import reader as grpc_reader
from router.protocols.openai import OpenAi
from router.protocols.plain_json import PlainJson
from router.protocols.protocol import Asking, Reader
from router.protocols.select import protocol, reader
from router.settings.answer import AnswerSettings, uncompared
from router.settings.block import Block, Class, Number, Percent, Switch, Text, wrong_at
from router.settings.grpc import GrpcUrl
from router.settings.lanes import MOST_LANES, Challengers
from router.settings.model_types import (
    AlertLabels,
    GrpcTemplate,
    Header,
    ProtocolName,
    ServedAs,
    Template,
    Url,
    UrlPath,
    Version,
    base_url,
)
from router.settings.policy import PolicySettings
from router.settings.problems import Path
from router.settings.recording import RecordingSettings
from router.settings.request import RequestSettings
from router.settings.routing import Key, Rules
from router.settings.skew import SkewSettings
from router.settings.tls import TlsSettings
from router.settings.units import shown


class Split(Block):
    """A manual split: compared and guarded, never promoted by itself."""

    challenger: Percent = Field(
        description="Percent of the clients that the challenger answers, 1 to 99.", json_schema_extra={"maximum": 99}
    )

    @model_validator(mode="after")
    def _legal(self) -> Self:
        try:
            self.step()
        except PolicyError as error:
            raise wrong_at([(("challenger",), error.expected)]) from None
        return self

    def step(self) -> Step:
        """The judge's one step. Raises PolicyError."""
        return Step(StepKind.CANARY, self.challenger)


class ModelSettings(PolicySettings):
    """One model: where its versions are served, how its traffic is assigned, and its policy."""

    protocol: ProtocolName = Field(default="mlflow", description="What requests and predictions look like.")
    answer: AnswerSettings = Field(
        default=AnswerSettings(),
        description="Where an answer has its prediction and its score, if not where the protocol usually has them.",
        json_schema_extra={"default": {}},
    )
    served_as_written: ServedAs | None = Field(
        default=None,
        alias="served_as",
        description="The model's name in the paths of open_inference and kserve_v1, over gRPC, and in the bodies of "
        "openai with route_by: body.model, for clients and model servers alike. Default: the model's name here.",
    )
    predict_path: UrlPath | None = Field(
        default=None,
        description="With json: the path of predictions. Default: every POST is one.",
        examples=["/predict"],
    )
    request: RequestSettings = Field(
        default=RequestSettings(),
        description="What requests look like, for `skew` and the gate in staging. Default: as the protocol has them.",
        json_schema_extra={"default": {}},
    )
    ready_path_written: UrlPath | None = Field(
        default=None,
        alias="ready_path",
        description="GET it at a model server: 200 when ready. Default: as the protocol has it; with json "
        "and openai: /health.",
        examples=["/healthz"],
    )
    endpoint: Template | None = Field(
        default=None,
        description="Model server of any version, with {name} (the model's) and {version} filled in.",
        examples=["http://{name}-v{version}:8080"],
    )
    endpoints: Mapping[Version, Url] = Field(
        default={},
        description="Model server by version. A version that is not here has the one of `endpoint`, where that is set.",
    )
    grpc_endpoint: GrpcTemplate | None = Field(
        default=None,
        description="gRPC port of any version's model server, like `endpoint`.",
        examples=["grpc://{name}-v{version}:8081"],
    )
    grpc_endpoints: Mapping[Version, GrpcUrl] = Field(
        default={},
        description="gRPC port by version. A version that is not here has that of `grpc_endpoint`, where that is set.",
    )
    positive: Class = Field(
        default=1.0,
        description="Which prediction and which label count as positive, a number or a text, of two classes.",
    )
    threshold: Number | None = Field(
        default=None,
        description="A prediction is positive whose score (or, without one, whose number) is at least this, whatever "
        "class the server made of it. Default: a prediction that equals `positive` is.",
        examples=[0.7],
    )
    assign_by: Key | None = Field(
        default=None,
        description="Sticky key of the assignment: header:NAME, query:NAME, cookie:NAME or path:N (a segment). "
        "Default, and where a request has none: its own id.",
        examples=["header:x-user-id"],
    )
    rules: Rules = Field(
        default=(),
        description="Requests that are forced to a role and kept out of the trial, in order: the first rule that fits.",
        examples=[[{"when": "header:x-tenant", "is": ["acme"], "to": "champion"}]],
    )
    request_id: Header | None = Field(
        default=None,
        description="Where a client's own request id stands: header:NAME. Default: an id is made here and returned "
        "as x-titleshot-id.",
        examples=["header:x-request-id"],
    )
    tls_written: TlsSettings = Field(
        default=TlsSettings(),
        alias="tls",
        description="How model servers with https:// endpoints are trusted, and what they are shown.",
        json_schema_extra={"default": {}},
    )
    mirror_credentials: Switch = Field(
        default=False,
        description="Whether Authorization, Proxy-Authorization, Cookie and X-Api-Key go with a mirrored copy.",
    )
    mirror_order: Literal["champion_first", "random"] = Field(
        default="champion_first",
        description="Which of a mirrored pair is sent first. random: by the request's id, since who is asked second "
        "finds warm caches; half of the requests are then sent some microseconds later. Every row records the order.",
    )
    asked_twice: Percent | None = Field(
        default=None,
        description="Percent of a shadow's copies that go to the champion's server instead of the challenger's, to "
        "know how often the champion agrees with itself; they are no evidence. Default: none.",
        examples=[1],
    )
    registered: Text | None = Field(
        default=None, alias="registered_model", description="Name in the registry. Default: the model's name here."
    )
    policy_file: Text | None = Field(
        default=None,
        alias="policy",
        description="A file with gate, rollout, guardrails, alpha and judge, instead of having them here; relative to "
        "the file that names it.",
    )
    rollback_on: tuple[AlertLabels, ...] = Field(
        default=(),
        description="Alertmanager's alerts that roll back what is on trial: label -> value, exact; an alert with all "
        "labels of one of these does it.",
        examples=[[{"alertname": "ErrorsOfModel", "severity": "page"}]],
    )
    recording: RecordingSettings | None = Field(
        default=None,
        description="That `titleshot record` may record requests, and what of them never is. Default: it may not.",
    )
    skew: SkewSettings | None = Field(
        default=None,
        description="That a share of the requests is looked at beside what the versions were trained on: signature and "
        "training profile. Default: it is not.",
    )
    split: Split | None = Field(
        default=None, description="A manual split, instead of a rollout: never promoted by itself."
    )
    challengers: Challengers = Field(
        default=(),
        description="Further aliases of the registry, each of a challenger that is compared in shadow beside "
        f"@challenger, whatever that is at, and never promoted; at most {MOST_LANES}. alpha is shared among all.",
        examples=[["challenger-b", "challenger-c"]],
        json_schema_extra={"maxItems": MOST_LANES, "uniqueItems": True},
    )

    _name: str = PrivateAttr(default="")
    _reader: Reader | None = PrivateAttr(default=None)
    _grpc_reader: Reader | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems: list[tuple[Path, str]] = []
        if self.endpoint is None and not self.endpoints and not self.by_grpc_only:
            problems.append((("endpoint",), "expected endpoint (a template) or endpoints (one URL by version)"))
        if self.split is not None and self.rollout is not None:
            problems.append((("split",), "expected either split or rollout"))
        if self.split is not None and self.challengers:
            expected = (
                "expected none beside a split: they are on trial for what a rollout does, and a split ends in none"
            )
            problems.append((("challengers",), expected))
        metrics = {rail.metric for rail in self.guardrails.guardrails()} if self.guardrails is not None else set()
        if Metric.REWARD in metrics and metrics & CLASS_METRICS and self.positive != 1.0:
            expected = f"expected positive to be 1, not {self.positive}: beside a reward, labels are kept as numbers"
            problems.append((("positive",), expected))
        if self.threshold is not None and self.predicted is not Predicts.BINARY:
            problems.append((("threshold",), f"expected none where {self.predicted.value} is predicted"))
        if self.threshold is not None and not math.isfinite(self.threshold):
            problems.append((("threshold",), f"expected a finite number, not {self.threshold:g}"))
        try:
            self._reader = reader(self.protocol, self.answer.reading())
            if self.over_grpc:
                self._grpc_reader = grpc_reader(self.answer.reading())
        except ValueError as error:
            problems.append((("answer",), str(error)))
        problems += [*self._skew(), *self._paths()]
        if self.protocol == OpenAi.name:
            problems += uncompared(self.answer.compare, self.policy().guardrails, self.predicted, self.positive)
        if problems:
            raise wrong_at(problems)
        return self

    def _skew(self) -> Iterable[tuple[Path, str]]:
        try:
            tables = protocol(self.protocol).tables(self.asking)
        except ValueError as error:
            yield ("request",), str(error)
            return
        if self.skew is not None and tables is None and not self.over_grpc:
            expected = f"expected none: requests of the protocol {self.protocol} are not read"
            if self.protocol == PlainJson.name:
                expected = "expected request: {rows: /rows} beside it, which says where a request has its rows"
            yield ("skew",), expected
        for name, check in self.checks.items():
            if self.skew is None and check.figure is not None:
                yield ("checks", name, "figure"), "expected skew: {...} in the model's settings, which measures it"

    def _paths(self) -> Iterable[tuple[Path, str]]:
        spoken = protocol(self.protocol)
        written = self.served_as_written
        names_models = spoken.paths_name_models or spoken.bodies_name_models or self.over_grpc
        if written is not None and not names_models:
            yield ("served_as",), f"expected no served_as: the paths of {self.protocol} name no model"
        elif written is not None and spoken.paths_name_models and "/" in written:
            yield ("served_as",), f"expected the model's name in paths, without '/', not {shown(written)}"
        if self.predict_path is not None and spoken.knows_its_paths:
            yield ("predict_path",), f"expected no predict_path: {self.protocol} says which requests are predictions"
        elif self.predict_path is not None and "?" in self.predict_path:
            yield ("predict_path",), "expected a path without a query: any query is a prediction's"

    @property
    def served_as(self) -> str:
        """The model's name in paths, in bodies, or over gRPC."""
        return self.served_as_written or self._name

    @property
    def ready_path(self) -> str:
        """GET it at a model server: 200 when ready."""
        usual = protocol(self.protocol).ready_path.replace("{model}", quote(self.served_as, safe=""))
        return self.ready_path_written or usual

    @property
    def reader(self) -> Reader:
        """What reads the predictions out of its answers."""
        assert self._reader is not None
        return self._reader

    @property
    def asking(self) -> Asking:
        """What its requests look like."""
        return Asking(self.request.rows or "", self.predict_path or "")

    @property
    def coding(self) -> Coding:
        """How its predictions and labels become numbers."""
        rails = self.guardrails.guardrails() if self.guardrails is not None else ()
        of = [each for rail in rails for each in ((rail.of,) if rail.of is not None else rail.classes or ())]
        return Coding(
            predicts=self.predicted,
            positive=self.positive,
            threshold=self.threshold,
            classes=tuple({isinstance(each, str): each for each in of}.values()),  # one of each kind
            fold=Comparison(self.answer.compare).fold if self.answer.compare is not None else None,
            label_numbers=any(rail.metric is Metric.REWARD for rail in rails),
        )

    @property
    def grpc_reader(self) -> Reader | None:
        """What reads the predictions out of its answers over gRPC; None: it is not served so."""
        return self._grpc_reader

    @property
    def over_grpc(self) -> bool:
        """Whether some version has a gRPC port."""
        return self.grpc_endpoint is not None or bool(self.grpc_endpoints)

    @property
    def by_grpc_only(self) -> bool:
        """Whether no version has an HTTP endpoint, but some have a gRPC port."""
        return self.over_grpc and self.endpoint is None and not self.endpoints

    def policy(self) -> Policy:
        """The policy that the next rollout of this model begins with."""
        if self.split is None:
            return super().policy()
        return self.policy_with((self.split.step(),))

    def policy_with(self, steps: tuple[Step, ...]) -> Policy:
        """As of any policy; alpha is shared among @challenger and the further ones."""
        policy = super().policy_with(steps)
        return replace(policy, alpha=policy.alpha / (1 + len(self.challengers))) if self.challengers else policy

    def lane_policy(self) -> Policy:
        """The policy of each further challenger: the first shadow step's share, or all, and nothing after it."""
        shadows = [step for step in self.policy().steps if step.kind is StepKind.SHADOW]
        return self.policy_with((Step(StepKind.SHADOW, shadows[0].percent if shadows else 100),))

    @property
    def tls(self) -> Tls:
        """How the model servers are trusted, as proxies and probes get it."""
        return self.tls_written.tls()

    @property
    def registered_model(self) -> str:
        """The model's name in the registry."""
        return self.registered or self._name

    def endpoint_of(self, version: int) -> str | None:
        """The base URL of this version's model server, without a slash at its end; None: there is none."""
        if version in self.endpoints:
            return self.endpoints[version]
        return base_url(self.endpoint.format(name=self._name, version=version)) if self.endpoint is not None else None

    def grpc_of(self, version: int) -> str | None:
        """The gRPC port of this version's model server; None: there is none."""
        if version in self.grpc_endpoints:
            return self.grpc_endpoints[version]
        template = self.grpc_endpoint
        return template.format(name=self._name, version=version) if template is not None else None

    def probed_at(self, version: int) -> str | None:
        """Where this version says whether it is ready: its HTTP endpoint, else its gRPC port; None: it has neither."""
        return self.endpoint_of(version) or self.grpc_of(version)

    def bind(self, name: str) -> None:
        """Tell the model its name.

        Raises:
            ValueError: with this name the endpoint template makes no URL.
        """
        self._name = name
        self.endpoint_of(1)
        if self.grpc_endpoint is not None and (url := self.grpc_of(1)) is not None:
            grpc_place(url)
