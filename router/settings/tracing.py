"""`tracing`: which requests are traced, and where their spans go."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, model_validator

from router.settings.block import Block, Text, wrong
from router.settings.outside import ServerUrl
from router.settings.tls import CHECK_FILES
from router.settings.units import shown

EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def _share(written: object) -> int:
    if isinstance(written, int) and not isinstance(written, bool) and 0 <= written <= 100:
        return written
    raise wrong(f"expected an integer percent from 0 to 100, such as 1, not {shown(written)}")


Share = Annotated[
    int, BeforeValidator(_share), WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 100, "examples": [1]})
]


class TracingSettings(Block):
    """Spans of traced requests, to an OpenTelemetry collector over OTLP/HTTP. Needs `pip install 'titleshot[otel]'`."""

    endpoint: ServerUrl | None = Field(
        default=None,
        description="The collector's address; /v1/traces is added to it. Default: as OTEL_EXPORTER_OTLP_* say, else "
        "http://localhost:4318. Headers, timeouts and certificates come from those variables, too.",
        examples=["http://collector:4318"],
    )
    share: Share = Field(
        default=1,
        description="Percent of the requests without a sampling decision of their own that are traced; 0: none.",
    )
    service_name: Text | None = Field(
        default=None,
        description="The service that the spans are of. Default: as OTEL_SERVICE_NAME says, else titleshot.",
    )

    @model_validator(mode="after")
    def _installed(self, info: ValidationInfo) -> Self:
        """As kept settings are not asked for their files again, so for this: see CHECK_FILES."""
        if isinstance(info.context, dict) and info.context.get(CHECK_FILES) and not exporter_installed():
            raise wrong("expected the extra otel for tracing: pip install 'titleshot[otel]'")
        return self


def exporter_installed() -> bool:
    """Whether the extra is there; nothing of it is imported but its packages' names."""
    try:
        return find_spec(EXPORTER) is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:  # a package around it
        return False
