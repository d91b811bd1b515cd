"""Other people's checks as users write them: what a policy asks, and, apart from it, where and how it is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self, TypeGuard
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from comparator.outside import NAME, Check, Outside
from comparator.policy_error import PolicyError
from router.link.endpoint import Tls, place_of
from router.settings.block import Block, Count, Duration, Number, Relative, Text, written, wrong, wrong_at
from router.settings.problems import Path
from router.settings.tls import CHECK_FILES, TlsSettings
from router.settings.units import parse_duration, shown

LEAST_SECRET = 16  # bytes
MOST_SECONDS = 60.0

_URL = re.compile(r"https?://[!-~]+", re.ASCII)


def _name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise wrong("expected a name such as queue_time: 1 to 63 of a-z, 0-9 and _, a letter first")
    return name


def _server(value: object) -> str:
    try:
        place = place_of(value if isinstance(value, str) else "")
    except ValueError:
        place = None
    if not isinstance(value, str) or place is None or place.socket:
        raise wrong("expected http(s)://host:port, perhaps with a base path, without user and password")
    return value.rstrip("/")


def is_address(value: object) -> TypeGuard[str]:
    """Whether something can be POSTed there."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        legal = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc and not parts.fragment
    except ValueError:
        return False
    return isinstance(value, str) and legal and _URL.fullmatch(value) is not None


def _address(value: object) -> str:
    if not is_address(value):  # not shown: it can hold a secret
        raise wrong("expected http(s)://host:port/path, perhaps with a query, without user and password")
    return value


def _held(name: str, info: ValidationInfo, least: int) -> str:
    context = info.context if isinstance(info.context, dict) else {}
    path = (FilePath(context.get("directory", "")) / name).absolute()
    if context.get(CHECK_FILES):
        try:
            found = path.read_bytes().strip()
        except OSError as error:
            raise wrong(f"expected a file with a secret: {path}: {error.strerror}") from None
        if len(found) < least:
            raise wrong(f"expected a secret of at least {least} bytes in {path}")
    return str(path)


def _token(name: str, info: ValidationInfo) -> str:
    return _held(name, info, 1)


def _secret(name: str, info: ValidationInfo) -> str:
    return _held(name, info, LEAST_SECRET)


def _patience(seconds: float) -> float:
    if not 0 < seconds <= MOST_SECONDS:
        raise wrong(f"expected more than 0s and at most {MOST_SECONDS:g}s")
    return seconds


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]
ServerUrl = Annotated[str, BeforeValidator(_server), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Address = Annotated[str, BeforeValidator(_address), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
TokenFile = Annotated[Text, AfterValidator(_token)]
SecretFile = Annotated[Text, AfterValidator(_secret)]
"""A file's path, made absolute: relative to the settings file. It is read at every use."""
Timeout = Annotated[Duration, AfterValidator(_patience)]


class PrometheusSettings(Block):
    """Where checks are asked: the user's own Prometheus, or what answers as it does."""

    url: ServerUrl = Field(description="Its address, with a base path where it has one.", examples=["http://prom:9090"])
    token_file: TokenFile | None = Field(
        default=None, description="File with the token that is sent as `Authorization: Bearer`."
    )
    authorization_file: TokenFile | None = Field(
        default=None, description="File with the whole value of Authorization, such as `Basic ...`, instead of a token."
    )
    timeout: Timeout = written("5s", parse_duration, "For a whole query; at most 60s.")
    tls_written: TlsSettings = Field(
        default=TlsSettings(),
        alias="tls",
        description="How it is trusted, and what it is shown, where its address is https://.",
        json_schema_extra={"default": {}},
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.token_file is not None and self.authorization_file is not None:
            raise wrong_at([(("token_file",), "expected either token_file or authorization_file")])
        return self

    @property
    def tls(self) -> Tls:
        """How it is trusted."""
        return self.tls_written.tls()


class WebhookSettings(Block):
    """Where a webhook is, and how it knows that it is us."""

    url: Address = Field(
        repr=False, description="Its address; only this file says it.", examples=["https://change.example/titleshot"]
    )
    secret_file: SecretFile | None = Field(
        default=None,
        description="File with the secret of the signature (HMAC-SHA256), at least 16 bytes. Default: not signed.",
    )
    timeout: Timeout = written("10s", parse_duration, "For a whole answer; at most 60s.")
    tls_written: TlsSettings = Field(
        default=TlsSettings(),
        alias="tls",
        description="How it is trusted, and what it is shown, where its address is https://.",
        json_schema_extra={"default": {}},
    )

    @property
    def tls(self) -> Tls:
        """How it is trusted."""
        return self.tls_written.tls()


class CheckSettings(Block):
    """A query to Prometheus, or a figure of titleshot's own, and a threshold.

    Not any-time-valid: it has no false-alarm rate, and no part of alpha.
    """

    query: Text | None = Field(
        default=None,
        description="PromQL that answers with one number; {role}, {version} and {model} are filled in.",
        examples=['sum(rate(failed_total{role="{role}"}[5m]))'],
    )
    figure: Literal["skewed_features"] | None = Field(
        default=None,
        description="Instead of query: how many features are not as the version's training had them (see `skew`).",
    )
    worse_by: Relative | None = Field(
        default=None, description="How much more than the champion's figure is still no harm, in percent of it."
    )
    better: Literal["lower", "higher"] = Field(
        default="lower", description="Which figure is the better one; higher: worse_by says how much less is no harm."
    )
    at_most: Number | None = Field(default=None, description="Instead: the challenger's figure may not be larger.")
    at_least: Number | None = Field(default=None, description="Instead: the challenger's figure may not be smaller.")
    every: Duration = written("30s", parse_duration, "How often it is asked, 1s to 1d.")
    for_: Count = Field(
        default=3,
        alias="for",
        description="So many results in a row beyond the threshold roll back, so many within it pass; at most 100.",
        json_schema_extra={"maximum": 100},
    )
    then: Literal["roll_back", "hold"] = Field(
        default="roll_back",
        description="What results beyond the threshold do; hold: nothing passes while they last, nothing rolls back.",
    )

    def check(self, name: str) -> Check:
        """The judge's. Raises PolicyError."""
        return Check(
            name,
            self.query or "",
            worse_by=self.worse_by,
            higher_is_better=self.better == "higher",
            at_most=self.at_most,
            at_least=self.at_least,
            every_seconds=self.every,
            results=self.for_,
            figure=self.figure or "",
            holds=self.then == "hold",
        )


class OutsideSettings(Block):
    """What a policy asks of others. Their addresses are not part of it."""

    checks: Mapping[Name, CheckSettings] = Field(
        default={},
        description="Queries to the settings' Prometheus, or our own figures, each with a threshold: name -> check.",
    )
    confirm_start: tuple[Name, ...] = Field(
        default=(), description="Webhooks that have to confirm before a rollout starts, by their names in the settings."
    )
    confirm_promote: tuple[Name, ...] = Field(
        default=(), description="Webhooks that have to confirm before the challenger is promoted, or signed off."
    )
    on_rollback: tuple[Name, ...] = Field(default=(), description="Webhooks that are told of a rollback.")

    @model_validator(mode="after")
    def _outside_is_legal(self) -> Self:
        problems: list[tuple[Path, str]] = []
        for name, check in self.checks.items():
            try:
                check.check(name)
            except PolicyError as error:
                here: Path = ("checks", name) if error.where == "name" else ("checks", name, error.where)
                problems.append((here, error.expected))
        if not problems:
            try:
                self.outside()
            except PolicyError as error:
                problems.append(((error.where,), error.expected))
        if problems:
            raise wrong_at(problems)
        return self

    def outside(self) -> Outside:
        """The judge's. Raises PolicyError."""
        checks = tuple(check.check(name) for name, check in self.checks.items())
        return Outside(checks, self.confirm_start, self.confirm_promote, self.on_rollback)


def unknown(
    asked: OutsideSettings, prometheus: PrometheusSettings | None, webhooks: Mapping[str, WebhookSettings]
) -> list[tuple[Path, str]]:
    """What a policy asks of others whom the settings do not name."""
    problems: list[tuple[Path, str]] = []
    if prometheus is None and any(check.query is not None for check in asked.checks.values()):
        problems.append((("checks",), "expected prometheus: {url: ...} in the settings, to ask"))
    known = ", ".join(sorted(webhooks)) or "there are none"
    for where in ("confirm_start", "confirm_promote", "on_rollback"):
        problems += [
            ((where, index), f"expected a webhook that the settings name ({known}), not {shown(name)}")
            for index, name in enumerate(getattr(asked, where))
            if name not in webhooks
        ]
    return problems
