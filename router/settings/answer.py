"""`answer:` of a model: where its answers have their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from comparator.policy import LABEL_METRICS, Guardrail, Metric
from router.protocols import comparing
from router.protocols.coding import Predicts
from router.protocols.protocol import Reading
from router.settings.block import Block, Text, wrong
from router.settings.problems import Path as Where
from router.settings.units import shown


def _comparison(written: str) -> str:
    try:
        comparing.Comparison(written)
    except ValueError as error:
        raise wrong(str(error)) from None
    return written


Comparison = Annotated[
    Text,
    AfterValidator(_comparison),
    WithJsonSchema({"type": "string", "pattern": "^(exact|normalised|(field|number): ?(/([^~/]|~[01])*)*)$"}),
]


class AnswerSettings(Block):
    """Where an answer has its prediction, for one row. What the texts name is the protocol's."""

    prediction: Text | None = Field(default=None, description="The prediction. Default: where the protocol has it.")
    score: Text | None = Field(default=None, description="The score. Default: where the protocol has it.")
    rows: Text | None = Field(default=None, description="The list of rows. Default: where the protocol has it.")

    compare: Comparison | None = Field(
        default=None,
        description="How answers that are texts (protocol openai) become predictions: exact, normalised (NFKC, case "
        "and whitespace folded), field:/POINTER (the text is JSON: the value there) or number:/POINTER (the number "
        "there). Default: they are none, and nothing but failures and latency is compared.",
        examples=["normalised", "field:/label"],
    )

    def reading(self) -> Reading:
        """As protocols take it."""
        return Reading(self.prediction or "", self.score or "", self.rows or "", self.compare or "")


def uncompared(
    compare: str | None, guardrails: Sequence[Guardrail], predicts: Predicts, positive: float | str
) -> list[tuple[Where, str]]:
    """What is asked of texts without saying how they are compared, or of others than they can be: (where, why)."""
    rails = [rail for rail in guardrails if rail.metric in LABEL_METRICS - {Metric.REWARD}]
    if not rails:
        return []
    if compare is None:
        what = f"answer.compare, as the guardrail on {rails[0].metric.value} needs predictions"
        return [(("answer",), f"expected {what}; or guardrails on error_rate and latencies only")]
    comparison = comparing.Comparison(compare)
    if comparison.of_texts:
        if predicts is Predicts.NUMBER:
            return [(("answer", "compare"), f"expected number:/POINTER for a guardrail on {rails[0].metric.value}")]
        if predicts is Predicts.BINARY and not isinstance(positive, str):
            expected = f"expected a text, or predicts: multiclass: with answer.compare {compare} predictions are texts"
            return [(("positive",), expected)]
    if predicts is Predicts.BINARY:
        named: list[tuple[Where, float | str]] = [(("positive",), positive)]
    else:
        named = [(("guardrails", rail.metric.value), rail.of) for rail in rails if rail.of is not None]
    return [
        (where, f"expected {shown(comparison.fold(each))}, as a text is when it is {compare}, not {shown(each)}")
        for where, each in named
        if isinstance(each, str) and comparison.fold(each) != each
    ]
