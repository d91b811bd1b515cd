"""`notify`: who is told of what happens, and in which format."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from comparator.news import NOISE, Event
from router.link.endpoint import Tls
from router.settings.block import Block, Text, written, wrong, wrong_at
from router.settings.outside import Address, Name, SecretFile, Timeout, is_address
from router.settings.problems import Path, did_you_mean
from router.settings.tls import CHECK_FILES, TlsSettings
from router.settings.units import parse_duration, shown

USUAL: Final = tuple(event for event in Event if event not in NOISE)
"""What a target is told of unless it says what it wants."""

_SOURCE = re.compile(
    r"(?:/|[A-Za-z][A-Za-z0-9+.-]{0,30}:)(?:[A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2}){1,200}", re.ASCII
)


def _event(value: object) -> Event:
    try:
        return Event(value)
    except ValueError:
        known = [event.value for event in Event]
        hint = did_you_mean(value, known) if isinstance(value, str) else f"; expected one of {', '.join(known)}"
        raise wrong(f"expected an event, not {shown(value)}{hint}") from None


def _source(text: str) -> str:
    if _SOURCE.fullmatch(text) is None:
        raise wrong(f"expected a URI reference such as /titleshot/production, not {shown(text)}")
    return text


def _url_file(name: str, info: ValidationInfo) -> str:
    context = info.context if isinstance(info.context, dict) else {}
    path = (FilePath(context.get("directory", "")) / name).absolute()
    if context.get(CHECK_FILES):
        try:
            held = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise wrong(f"expected a file with an address: {path}: {error.strerror}") from None
        except UnicodeDecodeError:
            held = ""
        if not is_address(held):  # not shown: it is a secret
            raise wrong(f"expected http(s)://host:port/path and nothing else in {path}")
    return str(path)


EventName = Annotated[
    Event, BeforeValidator(_event), WithJsonSchema({"type": "string", "enum": [event.value for event in Event]})
]
Source = Annotated[
    Text, AfterValidator(_source), WithJsonSchema({"type": "string", "pattern": f"^{_SOURCE.pattern}$", "minLength": 1})
]
UrlFile = Annotated[Text, AfterValidator(_url_file)]
"""A file's path, made absolute: relative to the settings file. It is read at every use."""


class NotifySettings(Block):
    """Somebody who is told of what happens: an endpoint of the user's own, or a chat."""

    name: Name = Field(description="What the metrics and the log call it.", examples=["team_chat"])
    url: Address | None = Field(
        default=None,
        repr=False,
        description="Where it is POSTed to; only this file says it.",
        examples=["https://events.example/in"],
    )
    url_file: UrlFile | None = Field(
        default=None, description="Instead: file that holds the address, where that is a secret, as a chat's is."
    )
    format: Literal["cloudevents", "slack"] = Field(
        description="cloudevents: CloudEvents 1.0, JSON. slack: a text, for Slack's incoming webhooks and what takes "
        "the same."
    )
    events: tuple[EventName, ...] = Field(
        default=USUAL,
        description="Which events. Default: all but held, confirmed, signed, promoting and gated.",
        json_schema_extra={"default": [event.value for event in USUAL], "minItems": 1},
    )
    models: tuple[Text, ...] = Field(default=(), description="Of which models. Default: of all.")
    source: Source = Field(
        default="/titleshot", description="The source of CloudEvents: which titleshot speaks, where there are several."
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

    @field_validator("events", mode="after")
    @classmethod
    def _some(cls, events: tuple[Event, ...]) -> tuple[Event, ...]:
        if not events:
            raise wrong("expected at least one event; leave the key out to be told of the usual ones")
        return events

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise wrong_at([(("url",), "expected either url or url_file")])
        return self

    @property
    def tls(self) -> Tls:
        """How it is trusted."""
        return self.tls_written.tls()

    def wants(self, event: Event, model: str) -> bool:
        """Whether it is to be told of this."""
        return event in self.events and (not self.models or model in self.models)


def misnamed(targets: Sequence[NotifySettings], models: Collection[str]) -> list[tuple[Path, str]]:
    """Names that two targets have, and models that the settings do not name."""
    problems: list[tuple[Path, str]] = []
    names: set[str] = set()
    for index, target in enumerate(targets):
        if target.name in names:
            problems.append(((index, "name"), f"expected another name: {target.name} is there already"))
        names.add(target.name)
        problems += [
            (
                (index, "models", number),
                f"expected a model of these settings, not {shown(model)}{did_you_mean(model, models)}",
            )
            for number, model in enumerate(target.models)
            if model not in models
        ]
    return problems
