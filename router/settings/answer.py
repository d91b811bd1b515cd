"""`answer:` of a model: where its answers have their predictions."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from comparator.policy import LABEL_METRICS, Metric
from router.protocols import comparing
from router.protocols.protocol import Reading
from router.settings.block import Block, Text, wrong
from router.settings.problems import Path


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


def unpredicted(compare: str | None, metrics: set[Metric]) -> list[tuple[Path, str]]:
    """Which guardrails on texts have no predictions to look at: (where, what was expected)."""
    told = sorted(metrics & LABEL_METRICS - {Metric.REWARD})
    if compare is None:
        if not told:
            return []
        what = f"answer.compare, as the guardrail on {told[0].value} needs predictions"
        return [(("answer",), f"expected {what}; or guardrails on error_rate and latencies only")]
    if not comparing.Comparison(compare).by_class:
        return []
    if others := [metric.value for metric in told if metric is not Metric.ACCURACY]:
        expected = (
            f"expected accuracy, not {others[0]}: with answer.compare {compare}, a prediction is one of many classes"
        )
        return [(("guardrails",), expected)]
    if told and Metric.REWARD in metrics:
        return [(("guardrails",), "expected accuracy or reward, not both: labels are classes, or numbers")]
    return []
