"""What reading one pair of answers of about 1 KiB costs the control process, off the request path, by protocol.

A pair is read as it comes over the link: both bodies out of one message, their predictions, and the columns that the
judge compares. Prints microseconds per pair, the median of several rounds. Aim: under 15 for JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from results import table, write_section

from comparator.events import Mode, Outcome, Role
from router.control.extract import extract
from router.link.messages import BODY_GZIP, BODY_WHOLE, EXCHANGE_ROW, Exchanges
from router.protocols.coding import Coding, Predicts
from router.protocols.protocol import Reading
from router.protocols.select import protocol

PAIRS = 1000
ROUNDS = 15
SIZE = 1024


def padded(make: Callable[[str], bytes]) -> bytes:
    return make("x" * (SIZE - len(make(""))))


def one_row(pad: str) -> bytes:
    return json.dumps({"predictions": [{"prediction": 1, "score": 0.75, "explanation": pad}]}).encode()


def many_rows(count: int) -> bytes:
    return json.dumps({"predictions": [round(0.001 * index, 3) for index in range(count)]}).encode()


def tensors(pad: str) -> bytes:
    outputs = [
        {"name": "predict", "shape": [1, 1], "datatype": "INT64", "data": [1]},
        {"name": "predict_proba", "shape": [1, 2], "datatype": "FP64", "data": [0.25, 0.75]},
        {"name": "explanation", "shape": [1, 1], "datatype": "BYTES", "data": [pad]},
    ]
    return json.dumps({"model_name": "m", "model_version": "7", "id": "7d1c", "outputs": outputs}).encode()


def binary_tensors() -> bytes:
    rows = 100
    value, score = np.ones((rows, 1), "<i8").tobytes(), np.full((rows, 1), 0.75, "<f4").tobytes()
    outputs = [
        {"name": "label", "shape": [rows, 1], "datatype": "INT64", "parameters": {"binary_data_size": len(value)}},
        {"name": "score", "shape": [rows, 1], "datatype": "FP32", "parameters": {"binary_data_size": len(score)}},
    ]
    return json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode() + value + score


def plain(pad: str) -> bytes:
    return json.dumps({"output": {"label": 1, "confidence": 0.75}, "explanation": pad}).encode()


def chat(content: str) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, "refusal": None},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 40, "completion_tokens": 200, "total_tokens": 240}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**answer, "choices": [choice], "usage": usage}).encode()


def labelled(pad: str) -> bytes:
    return chat(json.dumps({"label": "cancel", "why": pad}))


def streamed(chunks: int) -> bytes:
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta = {"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}
    event = b"data: %b\n\n" % json.dumps({**told, "choices": [delta]}).encode()
    return event * chunks + b"data: [DONE]\n\n"


CASES: dict[str, tuple[str, Reading, bytes]] = {
    "mlflow, 1 row": ("mlflow", Reading(), padded(one_row)),
    "mlflow, 128 rows": ("mlflow", Reading(), many_rows(128)),
    "open_inference, 1 row": ("open_inference", Reading(), padded(tensors)),
    "open_inference, binary, 100 rows": ("open_inference", Reading(), binary_tensors()),
    "kserve_v1, 1 row": ("kserve_v1", Reading(), padded(one_row)),
    "json, 1 row": ("json", Reading("/output/label", "/output/confidence"), padded(plain)),
    "openai, nothing compared": ("openai", Reading(), padded(chat)),
    "openai, exact": ("openai", Reading(compare="exact"), padded(chat)),
    "openai, normalised": ("openai", Reading(compare="normalised"), padded(chat)),
    "openai, field": ("openai", Reading(compare="field:/label"), padded(labelled)),
    "openai, exact, streamed in 100 chunks": ("openai", Reading(compare="exact"), streamed(100)),
}


def message(body: bytes, state: int) -> Exchanges:
    rows = b"".join(
        EXCHANGE_ROW.pack(1e9, 1, 1, pair, 7, len(body), 0.01, 0.01, 0, 200, role, Mode.SHADOW, 1, Outcome.OK, state)
        for pair in range(PAIRS)
        for role in (Role.CHAMPION, Role.CHALLENGER)
    )
    return Exchanges("model", rows, body * (2 * PAIRS))


def microseconds(name: str, reading: Reading, exchanges: Exchanges) -> float:
    read = protocol(name).reader(reading)
    coding = Coding(Predicts.MULTICLASS if reading.compare else Predicts.BINARY)
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        found = extract(exchanges, read, coding)
        columns = found.columns
        both = columns["prediction"][columns["role"] == Role.CHAMPION], columns["prediction"][columns["role"] == 1]
        int(np.count_nonzero(both[0] == both[1]))
        rounds.append(time.process_time() - began)
        if found.unread or found.unreadable:
            raise SystemExit(f"{name}: answers that could not be read")
    return statistics.median(rounds) / PAIRS * 1e6


def measured() -> list[list[str]]:
    lines = []
    for told, (name, reading, body) in CASES.items():
        lines.append([told, str(len(body)), f"{microseconds(name, reading, message(body, BODY_WHOLE)):.1f}"])
    name, reading, body = CASES["open_inference, 1 row"]
    coded = gzip.compress(body)
    figure = microseconds(name, reading, message(coded, BODY_GZIP))
    return [*lines, ["open_inference, 1 row, gzip", str(len(coded)), f"{figure:.1f}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the section in bench/RESULTS.md")
    asked = parser.parse_args()
    found = table(["answers", "bytes of one", "us per pair"], measured())
    print("\n".join(found))
    if asked.write:
        how = f"CPU time, medians of {ROUNDS} rounds of {PAIRS} pairs"
        what = "both bodies of a pair out of a message, their predictions, the judge's columns, and whether they agree"
        head = [
            "## What reading answers costs",
            "",
            f"`python bench/extraction.py --write`: one core, Python {platform.python_version()}; {how}.",
            f"Off the request path: {what}.",
            "",
        ]
        write_section(Path(__file__).with_name("RESULTS.md"), "extraction", "\n".join([*head, *found]))


if __name__ == "__main__":
    main()
