"""`answer:` of a model: where its answers have their predictions."""

from __future__ import annotations

from pydantic import Field

from router.protocols.protocol import Reading
from router.settings.block import Block, Text


class AnswerSettings(Block):
    """Where an answer has its prediction, for one row. What the texts name is the protocol's."""

    prediction: Text | None = Field(default=None, description="The prediction. Default: where the protocol has it.")
    score: Text | None = Field(default=None, description="The score. Default: where the protocol has it.")
    rows: Text | None = Field(default=None, description="The list of rows. Default: where the protocol has it.")

    def reading(self) -> Reading:
        """As protocols take it."""
        return Reading(self.prediction or "", self.score or "", self.rows or "")
