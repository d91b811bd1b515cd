"""Version 1 of KServe's protocol, which is TF Serving's: POST /v1/models/NAME[/versions/VERSION]:predict.

It is answered with {"predictions": [...]}, one item per row, or by column with {"outputs": ...}; TF Serving's :classify
and :regress with {"results": [...]}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import msgspec

from router.protocols.json_text import read_json
from router.protocols.protocol import (
    Asking,
    Prediction,
    Protocol,
    Questions,
    Reader,
    Reading,
    Table,
    Tables,
    Unreadable,
)
from router.protocols.request_rows import columns_or_records, records
from router.protocols.rows import NAN, Names, as_float, names_of, rows_of, score_of

_COLON: Final = rb"(?::|%3[Aa])"
_NAME: Final = rb"((?:(?!%3[Aa])[^/:])+)"
_PATH: Final = re.compile(
    rb"/v1/models/" + _NAME + rb"(?:/(?:versions|labels)/" + _NAME + rb")?(?:" + _COLON + rb"([^/]*))?(/.*)?"
)
_PREDICTING: Final = frozenset((b"predict", b"classify", b"regress"))
_EXPECTED: Final = '{"predictions": [...]}, {"outputs": ...} or {"results": [...]}'


class _Answer(msgspec.Struct, gc=False):
    predictions: Any = msgspec.UNSET
    outputs: Any = msgspec.UNSET
    results: Any = msgspec.UNSET
    result: Any = msgspec.UNSET


class _Request(msgspec.Struct, gc=False):
    instances: Any = msgspec.UNSET
    inputs: Any = msgspec.UNSET
    examples: Any = msgspec.UNSET


_answer: Final = msgspec.json.Decoder(_Answer)
_request: Final = msgspec.json.Decoder(_Request)
_EXPECTED_REQUEST: Final = '{"instances": [...]}, {"inputs": ...} or {"examples": [...]}'


class KserveV1(Protocol):
    """The protocol `kserve_v1`."""

    name: str = "kserve_v1"
    ready_path: str = "/v1/models/{model}"
    paths_name_models: bool = True

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """POST ...:predict, :classify and :regress; status, metadata and :explain do not."""
        found = _PATH.fullmatch(path) if method == b"POST" else None
        return found is not None and found[3] in _PREDICTING and found[4] is None

    def model_in_path(self, path: bytes) -> bytes | None:
        """/v1/models/NAME and all below it; /v1/models names none."""
        found = _PATH.fullmatch(path)
        return found[1] if found is not None else None

    def pins_version(self, path: bytes) -> bool:
        """/v1/models/NAME/versions/VERSION, or TF Serving's /labels/LABEL, and all below it."""
        found = _PATH.fullmatch(path)
        return found is not None and found[2] is not None

    def reader(self, reading: Reading) -> Reader:
        """`prediction` and `score` are names of fields of a record, or of outputs."""
        if reading.rows:
            raise ValueError("expected no answer.rows: the rows stand in predictions, outputs or results")
        return partial(_predictions, names_of(reading))

    def questions(self, model: str, types: Mapping[str, str], asking: Asking) -> Questions:  # noqa: ARG002 - the interface's
        """`instances`, one record per row: KServe's servers and TF Serving read them alike."""
        from router.protocols.questions import JsonQuestions  # noqa: PLC0415 - a proxy asks nothing

        return JsonQuestions(f"/v1/models/{quote(model, safe='')}:predict", ("instances",))

    def tables(self, asking: Asking) -> Tables:
        """`instances` (by row), `inputs` (by column), or `examples` of :classify and :regress."""
        super().tables(asking)
        return _table


def _table(body: bytes, content_type: str) -> Table:  # noqa: ARG001 - it is JSON, whatever that says
    found = read_json(body, _request, _EXPECTED_REQUEST)
    rows = found.instances if found.instances is not msgspec.UNSET else found.examples
    if rows is not msgspec.UNSET:
        return records(rows)
    if found.inputs is not msgspec.UNSET:
        return columns_or_records(found.inputs)
    raise Unreadable(f"expected {_EXPECTED_REQUEST}")


def _predictions(names: Names, body: bytes) -> list[Prediction]:
    """One per row.

    Raises:
        Unreadable: no answer of this protocol, no rows, or rows of no known shape.
    """
    answer = read_json(body, _answer, _EXPECTED)
    if answer.predictions is not msgspec.UNSET:
        return rows_of(answer.predictions, names, "predictions")
    if answer.outputs is not msgspec.UNSET:
        return _by_column(answer.outputs, names)
    results = answer.results if answer.results is not msgspec.UNSET else answer.result
    if not isinstance(results, list) or not results:
        raise Unreadable(f"expected {_EXPECTED}, with at least one row")
    return [_result(item) for item in results]


def _by_column(outputs: Any, names: Names) -> list[Prediction]:  # noqa: ANN401 - whatever stood there
    """Of several outputs only those are looked at that are the prediction and its score."""
    if isinstance(outputs, dict) and len(outputs) > 1:
        wanted = [next((name for name in each if name in outputs), None) for each in names]
        outputs = {name: outputs[name] for name in wanted if name is not None}
    return rows_of(outputs, names, "outputs")


def _result(item: Any) -> Prediction:  # noqa: ANN401 - whatever stood there
    """A number, of :regress; or [[label, score], ...] of the classes, of :classify.

    The value is the label of the highest score, of two classes the score is the second's. TF Serving's labels are
    texts: one that is a number in writing is that number, and classes without labels are numbered.
    """
    if isinstance(item, (int, float)):
        return Prediction(as_float(item))
    if not isinstance(item, list) or not item or not all(_is_pair(pair) for pair in item):
        raise Unreadable("expected results to be numbers, or lists of [label, score]")
    scores = [score_of(score) for _, score in item]
    best = max(range(len(scores)), key=lambda index: -math.inf if math.isnan(scores[index]) else scores[index])
    label = item[best][0]
    return Prediction(_class(label) if label != "" else float(best), scores[1] if len(scores) == 2 else NAN)


def _is_pair(pair: Any) -> bool:  # noqa: ANN401 - whatever stood there
    return isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], (str, int, float))


def _class(label: str | float) -> str | float:
    if isinstance(label, str):
        return float(label) if re.fullmatch(r"-?[0-9]{1,15}(\.0+)?", label, re.ASCII) else label
    return as_float(label)
