"""`recording:` of a model: that its requests may be recorded, and what of them never is."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from router.settings.block import Block, Text, wrong_at


class RecordingSettings(Block):
    """Names of fields in requests' bodies, wherever they stand: of objects, of columns, of tensors."""

    redact: tuple[Text, ...] = Field(description="Fields whose values are not recorded; [] where all may be.")
    pseudonymise: tuple[Text, ...] = Field(
        default=(),
        description="Fields whose values are replaced, the same value by the same one within a recording.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if both := sorted(set(self.redact) & set(self.pseudonymise)):
            raise wrong_at([(("pseudonymise",), f"expected no field that redact has: {', '.join(both)}")])
        return self
