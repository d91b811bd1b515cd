"""How the gate in staging asks: rows of named columns as the body of a request, by protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from router.protocols.json_pointer import Keys
from router.protocols.protocol import Questions, Rows

_DATATYPES: Final = {
    "double": "FP64",
    "float": "FP32",
    "integer": "INT32",
    "long": "INT64",
    "boolean": "BOOL",
    "string": "BYTES",
    "datetime": "BYTES",
}


class MlflowQuestions:
    """`dataframe_split`."""

    path = "/invocations"

    def of(self, names: Sequence[str], rows: Rows) -> bytes:
        """A request of MLflow's scoring protocol, `dataframe_split`."""
        data = [[_cell(row.get(name)) for name in names] for row in rows]
        return _json({"dataframe_split": {"columns": list(names), "data": data}})

    def shapes(self, names: Sequence[str], rows: Rows) -> dict[str, bytes]:
        """The same rows in every other shape that the protocol has for named columns."""
        records = _records(names, rows)
        return {
            "dataframe_records": _json({"dataframe_records": records}),
            "instances": _json({"instances": records}),
            "inputs": _json({"inputs": records}),
            "inputs by column": _json({"inputs": _columns(names, rows)}),
        }

    def text_for_rows(self, names: Sequence[str]) -> bytes:
        """Rows that are a text."""
        return _json({"dataframe_split": {"columns": list(names), "data": "no rows"}})

    def example(self, logged: bytes) -> bytes | None:
        """As it is."""
        return logged


class JsonQuestions:
    """One record per row, wherever a protocol or the settings have them.

    Args:
        path: of predictions.
        rows: where the records stand.
    """

    def __init__(self, path: str, rows: Keys) -> None:
        self.path = path
        self._rows = rows

    def of(self, names: Sequence[str], rows: Rows) -> bytes:
        """One record per row."""
        return self._request(_records(names, rows))

    def shapes(self, names: Sequence[str], rows: Rows) -> dict[str, bytes]:  # noqa: ARG002 - an interface
        """None that is known."""
        return {}

    def text_for_rows(self, names: Sequence[str]) -> bytes:  # noqa: ARG002 - an interface
        """A text where the records stand."""
        return self._request("no rows")

    def example(self, logged: bytes) -> bytes | None:
        """The rows of `dataframe_split`."""
        return _asked_again(self, logged)

    def _request(self, rows: object) -> bytes:
        for key in reversed(self._rows):
            rows = [rows] if key == "0" else {key: rows}
        return _json(rows)


class OpenInferenceQuestions:
    """One tensor of shape [rows, 1] per column, marked as a data frame: MLServer's and KServe's servers make one of it.

    A column that `types` does not have is of whole numbers.
    """

    def __init__(self, model: str, types: Mapping[str, str]) -> None:
        self.path = f"/v2/models/{quote(model, safe='')}/infer"
        self._types = types

    def of(self, names: Sequence[str], rows: Rows) -> bytes:
        """One tensor per column."""
        return self._request({name: self._tensor(name, column) for name, column in _columns(names, rows).items()})

    def shapes(self, names: Sequence[str], rows: Rows) -> dict[str, bytes]:  # noqa: ARG002 - an interface
        """None in JSON."""
        return {}

    def text_for_rows(self, names: Sequence[str]) -> bytes:
        """Tensors whose data is a text."""
        return self._request({name: {**self._tensor(name, [0]), "data": "no rows"} for name in names})

    def example(self, logged: bytes) -> bytes | None:
        """The rows of `dataframe_split`."""
        return _asked_again(self, logged)

    def _tensor(self, name: str, column: Sequence[object]) -> dict[str, Any]:
        datatype = _DATATYPES[self._types.get(name, "long")]
        return {"name": name, "shape": [len(column), 1], "datatype": datatype, "data": list(column)}

    @staticmethod
    def _request(tensors: Mapping[str, Mapping[str, Any]]) -> bytes:
        inputs = [
            {**tensor, "parameters": {"content_type": "str"}} if tensor["datatype"] == "BYTES" else tensor
            for tensor in tensors.values()
        ]
        return _json({"parameters": {"content_type": "pd"}, "inputs": inputs})


def _asked_again(questions: Questions, logged: bytes) -> bytes | None:
    try:
        split = json.loads(logged)["dataframe_split"]
        names = [str(name) for name in split["columns"]]
        return questions.of(names, [dict(zip(names, row, strict=True)) for row in split["data"]])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _records(names: Sequence[str], rows: Rows) -> list[dict[str, object]]:
    return [{name: _cell(row.get(name)) for name in names} for row in rows]


def _columns(names: Sequence[str], rows: Rows) -> dict[str, list[object]]:
    return {name: [_cell(row.get(name)) for row in rows] for name in names}


def _cell(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json(data: object) -> bytes:
    return json.dumps(data).encode()
