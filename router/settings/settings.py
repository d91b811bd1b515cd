"""All of titleshot.yaml, validated and frozen. One declaration per option; the JSON Schema comes from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from router.link.endpoint import ListenTls
from router.link.grpc_place import GrpcListen
from router.link.messages import Limits
from router.protocols.select import protocol
from router.settings.address import Address, is_loopback, parse_address
from router.settings.block import Block, Count, Duration, Text, written, wrong, wrong_at
from router.settings.grpc import installed, unheard
from router.settings.lanes import alias_of, lane_name, model_of
from router.settings.limits import LimitsSettings
from router.settings.model import ModelSettings
from router.settings.model_types import ModelName
from router.settings.notify import NotifySettings, misnamed
from router.settings.outside import Name, PrometheusSettings, WebhookSettings, unknown
from router.settings.problems import Path as Where
from router.settings.tls import ListenTlsSettings
from router.settings.tracing import TracingSettings
from router.settings.units import parse_duration, shown


def _address(value: object) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise wrong(f"expected host:port, such as 127.0.0.1:9901, not {shown(value)}")
    try:
        return parse_address(value)
    except ValueError as error:
        raise wrong(f"{error}, not {shown(value)}") from None


def _ledger(value: object) -> str:
    if isinstance(value, str) and value.startswith(("postgresql://", "postgres://")):
        raise wrong("PostgreSQL: not yet; expected sqlite:///FILE")
    if not isinstance(value, str) or not value.startswith("sqlite:///") or len(value) == len("sqlite:///"):
        raise wrong("expected sqlite:///FILE")  # the value is not shown: such URLs can hold passwords
    return value


ListenAddress = Annotated[
    Address,
    BeforeValidator(_address),
    WithJsonSchema({"type": "string", "pattern": r"^\S+:[0-9]{1,5}$", "examples": ["127.0.0.1:9901", "[::1]:9901"]}),
]
GrpcAddress = Annotated[ListenAddress, AfterValidator(installed)]
LedgerUrl = Annotated[str, BeforeValidator(_ledger), WithJsonSchema({"type": "string", "pattern": "^sqlite:///."})]


def _ambiguous(models: Mapping[str, ModelSettings]) -> Iterable[tuple[Where, str]]:
    """Where the paths of one protocol, bodies, or messages of gRPC have one name for two models."""
    seen: dict[tuple[str, str], str] = {}
    for name, model in models.items():
        spoken = protocol(model.protocol)
        named = spoken.paths_name_models or spoken.bodies_name_models
        ways = [*([model.protocol] if named else []), *(["gRPC"] if model.over_grpc else [])]
        others = {seen.setdefault((way, model.served_as), name) for way in ways} - {name}
        for other in sorted(others):
            yield (name, "served_as"), f"expected another name: {other} is served as {model.served_as}, too"


class Settings(Block):
    """The settings of `titleshot serve`."""

    registry: Text = Field(
        repr=False,  # such URLs can hold passwords
        description="MLflow tracking/registry URI. MLFLOW_* variables (credentials, TLS) are honoured.",
        examples=["sqlite:///mlflow.db", "http://mlflow:5000"],
    )
    listen: ListenAddress = written("127.0.0.1:8080", parse_address, "Data port: inference only.")
    grpc: GrpcAddress | None = Field(
        default=None,
        description="Port for gRPC (the Open Inference Protocol's service), under the same tls. Needs the extra grpc. "
        "Default: none.",
    )
    tokens: Text | None = Field(
        default=None,
        description="File with the hashed tokens of the admin port, one a line, as `titleshot token` prints them; "
        "relative to this file. Needed where the admin port is reachable from other machines.",
    )
    tls: ListenTlsSettings | None = Field(default=None, description="TLS on the data port. Default: plain HTTP.")
    admin: ListenAddress = written("127.0.0.1:9901", parse_address, "Admin port: API, /metrics, health.")
    admin_hosts: tuple[Text, ...] = Field(
        default=(),
        description="Host names under which the admin port may be addressed, besides its own address and localhost.",
    )
    state_directory: Text | None = Field(
        default=None,
        alias="state",
        description="Directory of the routes file, the link's socket and the spool; relative to this file. "
        "Default: .titleshot beside this file.",
    )
    ledger_url: LedgerUrl | None = Field(
        default=None,
        repr=False,
        alias="ledger",
        description="Where facts and decisions are recorded. Default: ledger.db in the state directory.",
        examples=["sqlite:///titleshot.db"],
    )
    workers: Count = Field(default=1, description="Proxy processes.")
    poll: Duration = written("1s", parse_duration, "How often the registry is read.")
    route_by: Literal["path", "body.model"] = Field(
        default="path",
        description="What names a request's model, of several: its path (/models/NAME/... or what the protocol has), "
        "or, where the path does not, the text under `model` in its JSON body.",
    )
    limits_written: LimitsSettings = Field(
        default=LimitsSettings(),
        alias="limits",
        description="Bounds and deadlines of the data port.",
        json_schema_extra={"default": {}},
    )
    prometheus: PrometheusSettings | None = Field(
        default=None, description="Where the checks of policies are asked. Needed where a policy has some."
    )
    webhooks: Mapping[Name, WebhookSettings] = Field(
        default={}, description="Who can confirm starts and promotions, and be told of rollbacks: name -> webhook."
    )
    notify: tuple[NotifySettings, ...] = Field(
        default=(), description="Who is told of what happens: rollouts that start, end, wait, and moves by hand."
    )
    tracing: TracingSettings | None = Field(
        default=None, description="Spans of traced requests, to an OpenTelemetry collector. Default: no tracing."
    )
    models: Mapping[ModelName, ModelSettings] = Field(description="The models, by the name that clients know.")

    _directory: Path = PrivateAttr(default=Path())
    _files: dict[str, str] = PrivateAttr(default={})
    _data: dict[str, Any] = PrivateAttr(default={})

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401, D102 - pydantic's own
        found = context if isinstance(context, dict) else {}
        self._directory = found.get("directory", Path())
        self._files = found.get("files", {})
        self._data = found.get("data", {})

    @field_validator("admin", mode="after")
    @classmethod
    def _not_exposed(cls, admin: Address, info: ValidationInfo) -> Address:
        if not is_loopback(admin.host) and info.data.get("tokens", "") is None:
            raise wrong(
                f"expected tokens (a file made with `titleshot token`) for an admin port that other machines reach; "
                f"{admin.host} is no loopback address"
            )
        return admin

    @field_validator("poll", mode="after")
    @classmethod
    def _not_in_a_rush(cls, poll: float) -> float:
        if poll < 0.1:
            raise wrong("expected at least 100ms")
        return poll

    @field_validator("models", mode="after")
    @classmethod
    def _named(cls, models: Mapping[str, ModelSettings]) -> Mapping[str, ModelSettings]:
        if not models:
            raise wrong("expected at least one model")
        problems: list[tuple[Where, str]] = []
        for name, model in models.items():
            try:
                model.bind(name)
            except ValueError as error:
                problems.append(((name, "endpoint"), str(error)))
        problems += _ambiguous(models)
        if problems:
            raise wrong_at(problems)
        return models

    @model_validator(mode="after")
    def _all_known(self) -> Self:
        problems: list[tuple[Where, str]] = []
        for name, model in self.models.items():
            found = unknown(model, self.prometheus, self.webhooks)
            problems += [(("models", name, *where), expected) for where, expected in found]
            if self.grpc is None and model.by_grpc_only:
                problems.append((("models", name), unheard()))
        problems += [(("notify", *where), expected) for where, expected in misnamed(self.notify, self.models)]
        if problems:
            raise wrong_at(problems)
        return self

    @property
    def names(self) -> list[str]:
        """Of all that is judged: each model, and then its lanes."""
        return [
            name
            for model, settings in self.models.items()
            for name in (model, *(lane_name(model, alias) for alias in settings.challengers))
        ]

    def find(self, name: str) -> ModelSettings | None:
        """The settings of a model, or those of the model of a lane; None: there is no such name."""
        found, alias = self.models.get(model_of(name)), alias_of(name)
        return found if found is not None and (alias is None or alias in found.challengers) else None

    @property
    def state(self) -> Path:
        """The state directory, absolute."""
        return (self._directory / (self.state_directory or ".titleshot")).absolute()

    @property
    def ledger(self) -> str:
        """The ledger's URL."""
        return self.ledger_url or f"sqlite:///{self.state / 'ledger.db'}"

    @property
    def listen_tls(self) -> ListenTls | None:
        """TLS of the data port; None: it speaks plain HTTP."""
        return self.tls.tls() if self.tls is not None else None

    @property
    def grpc_listen(self) -> GrpcListen | None:
        """The port for gRPC, with what is fixed when it is opened; None: there is none."""
        if self.grpc is None:
            return None
        limits = self.limits
        return GrpcListen(
            self.grpc.host, self.grpc.port, limits.max_body_bytes, limits.max_header_bytes, limits.max_connections
        )

    @property
    def tokens_path(self) -> Path | None:
        """The tokens file; None: there is none, and loopback is the local operator."""
        return (self._directory / self.tokens).absolute() if self.tokens is not None else None

    @property
    def poll_seconds(self) -> float:
        """Between two reads of the registry."""
        return self.poll

    @property
    def limits(self) -> Limits:
        """Bounds and deadlines of the data port, as they go over the link."""
        return self.limits_written.limits()

    @property
    def traced(self) -> int | None:
        """Percent of the requests without a sampling decision of their own that are traced; None: tracing is off."""
        return self.tracing.share if self.tracing is not None else None

    @property
    def written(self) -> Mapping[str, Any]:
        """What people wrote, policy files put in their places."""
        return self._data

    @property
    def directory(self) -> Path:
        """What relative paths are relative to."""
        return self._directory

    @property
    def files(self) -> Mapping[str, str]:
        """What these settings were read from: path -> SHA-256 of the content."""
        return self._files
