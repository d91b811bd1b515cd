"""Which model servers are tested with which clients, in which modes: the one list. Prints the README's table.

A test of a server takes its cells from here (`cells`), so that each of them is a test by itself. The README's table is
held equal to it, and docs/matrix.md is written from what became of them.
"""

from dataclasses import dataclass

import pytest

MODES = ("pass", "shadow", "canary")

V2, V2_GRPC = "`open_inference`", "`open_inference`, gRPC"


@dataclass(frozen=True)
class Row:
    """A client of a server.

    Args:
        server: as users know it.
        key: names the row among those of its server.
        protocol: the setting of the model.
        client: the distribution, or the program.
        asks: what it sends and gets.
        modes: in which it is tested.
        long: takes too long for every change.
    """

    server: str
    key: str
    protocol: str
    client: str
    asks: str
    modes: tuple[str, ...] = MODES
    long: bool = False


MLFLOW, MLSERVER, KSERVE = "MLflow's scoring server", "MLServer", "KServe's server"
TRITON, LITSERVE, BENTOML = "Triton", "LitServe", "BentoML"
LITSERVE_CHAT, VLLM = "LitServe, in the OpenAI API's shape", "vLLM, on CPUs"

ROWS = (
    Row(MLFLOW, "shapes", "`mlflow`", "httpx", "every shape of requests, CSV; answers with NaN"),
    Row(MLFLOW, "mlflow", "`mlflow`", "mlflow (requests)", "data frames"),
    Row(MLFLOW, "curl", "`mlflow`", "curl", "CSV"),
    Row(MLSERVER, "tritonclient", V2, "tritonclient[http]", "JSON tensors, every other gzipped both ways"),
    Row(MLSERVER, "httpx", V2, "httpx", "JSON tensors"),
    Row(MLSERVER, "curl", V2, "curl", "JSON tensors, answers gzipped"),
    Row(MLSERVER, "grpc", V2_GRPC, "tritonclient[grpc]", "raw tensors"),
    Row(KSERVE, "tritonclient", V2, "tritonclient[http]", "binary tensors both ways"),
    Row(KSERVE, "httpx", V2, "httpx", "JSON tensors"),
    Row(KSERVE, "v1-httpx", "`kserve_v1`", "httpx", "`instances`"),
    Row(KSERVE, "v1-curl", "`kserve_v1`", "curl", "`instances`"),
    Row(TRITON, "binary", V2, "tritonclient[http]", "binary tensors both ways, every other gzipped"),
    Row(TRITON, "json", V2, "tritonclient[http]", "JSON tensors"),
    Row(TRITON, "curl", V2, "curl", "JSON tensors"),
    Row(TRITON, "grpc", V2_GRPC, "tritonclient[grpc]", "raw tensors"),
    Row(TRITON, "stream", V2_GRPC, "tritonclient[grpc]", "a stream for each request", ("pass", "canary")),
    Row(LITSERVE, "httpx", "`json`", "httpx", "a record"),
    Row(LITSERVE, "requests", "`json`", "requests", "a record"),
    Row(BENTOML, "bentoml", "`json`", "bentoml", "rows of records, by its SyncHTTPClient"),
    Row(BENTOML, "httpx", "`json`", "httpx", "rows of records"),
    Row(BENTOML, "curl", "`json`", "curl", "rows of records"),
    Row(LITSERVE_CHAT, "whole", "`openai`", "openai", "chat completions, whole"),
    Row(LITSERVE_CHAT, "streamed", "`openai`", "openai", "chat completions, streamed"),
    Row(LITSERVE_CHAT, "curl", "`openai`", "curl", "chat completions, streamed"),
    Row(VLLM, "whole", "`openai`", "openai", "chat completions, whole", long=True),
    Row(VLLM, "streamed", "`openai`", "openai", "chat completions, streamed with usage", long=True),
    Row(VLLM, "text", "`openai`", "openai", "completions of a prompt", long=True),
    Row(VLLM, "curl", "`openai`", "curl", "chat completions, streamed", long=True),
)


def cells(server: str, *keys: str) -> list:
    """(key, mode) of a server's rows, or of those named, as parameters of one test: mode after mode, as worlds go."""
    rows = [row for row in ROWS if row.server == server and (not keys or row.key in keys)]
    assert rows
    return [_parameter(row, mode) for mode in MODES for row in rows if mode in row.modes]


def _parameter(row: Row, mode: str) -> object:
    marks = [pytest.mark.cell(row.server, row.key, mode), *([pytest.mark.long] if row.long else [])]
    return pytest.param(row.key, mode, marks=marks, id=f"{row.key}-{mode}")


def table() -> str:
    """As it stands in the README."""
    lines = ["| model server | client | requests and answers | `protocol` | pass-through | shadow | canary | run by |"]
    lines.append(f"|{' --- |' * 8}")
    for row in ROWS:
        modes = " | ".join("yes" if mode in row.modes else "no" for mode in MODES)
        run = "`make test-long`" if row.long else "`make test`"
        lines.append(f"| {row.server} | {row.client} | {row.asks} | {row.protocol} | {modes} | {run} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - what it is for
