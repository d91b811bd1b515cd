"""One model under `models:`."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from comparator.policy import CLASS_METRICS, Metric, Policy, Step, StepKind
from comparator.policy_error import PolicyError
from router.link.endpoint import Tls, place_of
from router.protocols.protocol import Reader
from router.protocols.select import NAMES as PROTOCOLS
from router.protocols.select import reader
from router.settings.answer import AnswerSettings
from router.settings.block import Block, Number, Percent, Switch, Text, wrong, wrong_at
from router.settings.policy import PolicySettings
from router.settings.problems import Path, did_you_mean
from router.settings.recording import RecordingSettings
from router.settings.skew import SkewSettings
from router.settings.tls import TlsSettings
from router.settings.units import shown

PLANNED_PROTOCOLS = ("open_inference", "kserve_v1", "openai", "json")

MODEL_NAME_PATTERN = r"^(?!\.+$)[A-Za-z0-9._-]{1,64}$"
_MODEL_NAME = re.compile(MODEL_NAME_PATTERN, re.ASCII)
_HEADER = re.compile(r"header:([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})", re.ASCII)
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PLACEHOLDERS = ("name", "version")


def _model_name(name: str) -> str:
    if _MODEL_NAME.fullmatch(name) is None:
        raise wrong("expected a model name of 1 to 64 letters, digits, '.', '_' or '-': it becomes a path and a label")
    return name


def _protocol(value: object) -> str:
    if value in PROTOCOLS and isinstance(value, str):
        return value
    if value in PLANNED_PROTOCOLS:
        raise wrong(f"{value}: not yet; this version speaks {', '.join(PROTOCOLS)}")
    hint = did_you_mean(value, PROTOCOLS) if isinstance(value, str) else ""
    raise wrong(f"expected a protocol ({', '.join(PROTOCOLS)}), not {shown(value)}{hint}")


def _header(value: object) -> str:
    match = _HEADER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"expected header:NAME, such as header:x-user-id, not {shown(value)}")
    return f"header:{match[1].lower()}"


def base_url(text: str) -> str:
    """The address of a model server, without a slash at its end.

    Raises:
        ValueError: not one that place_of reads; the message says what was expected.
    """
    place_of(text)
    return text.rstrip("/")


def _template(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected a URL such as http://{{name}}-v{{version}}:8080, not {shown(value)}")
    try:
        parsed = list(string.Formatter().parse(value))
    except ValueError:
        raise wrong("expected each { with its }; only {name} and {version} may be used") from None
    for _, name, spec, conversion in parsed:
        if name is not None and (name not in _PLACEHOLDERS or spec or conversion):
            raise wrong(f"expected no placeholders but {{name}} and {{version}}, not {{{name}}}")
    if "version" not in {name for _, name, _, _ in parsed}:
        raise wrong("expected {version} in it: every version has a model server of its own")
    try:
        base_url(value.format(name="name", version=1))
    except ValueError as error:
        raise wrong(str(error)) from None
    return value


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise wrong(f"expected http://host:port, not {shown(value)}")
    try:
        return base_url(value)
    except ValueError as error:
        raise wrong(str(error)) from None


def _version(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[1-9][0-9]{0,8}", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 1_000_000_000:
        return value
    raise wrong(f"expected a version number as the key, such as 1, not {shown(value)}")


ModelName = Annotated[
    str, AfterValidator(_model_name), WithJsonSchema({"type": "string", "pattern": MODEL_NAME_PATTERN})
]
Version = Annotated[int, BeforeValidator(_version), WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,8}$"})]
Url = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string", "pattern": "^(https?://|unix:///)"})]
Template = Annotated[
    str,
    BeforeValidator(_template),
    WithJsonSchema({"type": "string", "pattern": r"^(https?://|unix:///).*\{version\}"}),
]
Header = Annotated[str, BeforeValidator(_header), WithJsonSchema({"type": "string", "pattern": f"^{_HEADER.pattern}$"})]
ProtocolName = Annotated[str, BeforeValidator(_protocol), WithJsonSchema({"type": "string", "enum": list(PROTOCOLS)})]


def _label_name(name: str) -> str:
    if _LABEL_NAME.fullmatch(name) is None:
        raise wrong("expected the name of a label: letters, digits and _, not beginning with a digit")
    return name


def _some_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    if not labels:
        raise wrong("expected at least one label: an empty matcher would be for every alert")
    return labels


LabelName = Annotated[
    str, AfterValidator(_label_name), WithJsonSchema({"type": "string", "pattern": f"^{_LABEL_NAME.pattern}$"})
]
AlertLabels = Annotated[
    Mapping[LabelName, Text], AfterValidator(_some_labels), Field(json_schema_extra={"minProperties": 1})
]


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
    endpoint: Template | None = Field(
        default=None,
        description="Model server of any version, with {name} (the model's) and {version} filled in.",
        examples=["http://{name}-v{version}:8080"],
    )
    endpoints: Mapping[Version, Url] = Field(
        default={},
        description="Model server by version. A version that is not here has the one of `endpoint`, where that is set.",
    )
    positive: Number = Field(
        default=1.0,
        description="Which prediction and which label count as positive; with a guardrail on mae, neither is read so.",
    )
    assign_by: Header | None = Field(
        default=None,
        description="Sticky key of the assignment: header:NAME. Default: the request's own id.",
        examples=["header:x-user-id"],
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

    _name: str = PrivateAttr(default="")
    _reader: Reader | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems: list[tuple[Path, str]] = []
        if self.endpoint is None and not self.endpoints:
            problems.append((("endpoint",), "expected endpoint (a template) or endpoints (one URL by version)"))
        if self.split is not None and self.rollout is not None:
            problems.append((("split",), "expected either split or rollout"))
        metrics = {rail.metric for rail in self.guardrails.guardrails()} if self.guardrails is not None else set()
        if Metric.REWARD in metrics and metrics & CLASS_METRICS and self.positive != 1.0:
            expected = f"expected positive to be 1, not {self.positive:g}: beside a reward, labels are kept as numbers"
            problems.append((("positive",), expected))
        try:
            self._reader = reader(self.protocol, self.answer.reading())
        except ValueError as error:
            problems.append((("answer",), str(error)))
        if problems:
            raise wrong_at(problems)
        return self

    @property
    def reader(self) -> Reader:
        """What reads the predictions out of its answers."""
        assert self._reader is not None
        return self._reader

    @property
    def positive_prediction(self) -> float | None:
        """Which prediction counts as positive; None: predictions are numbers, for a guardrail on mae."""
        return None if self.guardrails is not None and self.guardrails.mae is not None else self.positive

    @property
    def positive_label(self) -> float | None:
        """Which label counts as positive; None: labels are numbers, for a guardrail on mae or reward."""
        numbers = self.guardrails is not None and (self.guardrails.mae or self.guardrails.reward) is not None
        return None if numbers else self.positive

    def policy(self) -> Policy:
        """The policy that the next rollout of this model begins with."""
        if self.split is None:
            return super().policy()
        return self.policy_with((self.split.step(),))

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

    def bind(self, name: str) -> None:
        """Tell the model its name.

        Raises:
            ValueError: with this name the endpoint template makes no URL.
        """
        self._name = name
        self.endpoint_of(1)
