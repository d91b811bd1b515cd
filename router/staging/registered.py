"""What MLflow has of a version: signature, input example, offline metrics, run; and the gate's reports, kept there."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from comparator.events import VersionFacts
from router.artifacts.signature import MOST_BYTES, Columns, read_mlmodel
from router.control.registry import Aliases, MlflowRegistry
from router.registering.mlflow_calls import asked, client_of

GATE_TAG = "titleshot.gate"
"""On a version: what its last gate said, and where the report is. No proof: that is in the ledger."""

_EXAMPLES = ("serving_input_example.json",)

T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """One version.

    Args:
        facts: offline metrics and lineage.
        columns: of its signature; None: see `trouble`.
        trouble: why the signature cannot be checked.
        example: the request that was logged with the model; None: there is none.
        run_id: its run; None: it has none.
    """

    facts: VersionFacts
    columns: Columns | None
    trouble: str
    example: bytes | None
    run_id: str | None


class ModelRegistry:
    """One MLflow registry, for a command: it sets MLflow's addresses of the whole process."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = client_of(uri)
        import mlflow  # noqa: PLC0415 - takes most of a second

        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)

    async def aliases_and_facts(self, model: str, version: int) -> tuple[Aliases, VersionFacts]:
        """Raises UnknownModel, UnknownVersion, RegistryUnavailable."""
        registry = MlflowRegistry(self._uri, timeout_seconds=30.0)
        try:
            return await registry.read(model), await registry.version(model, version)
        finally:
            registry.close()

    def read(self, model: str, version: int, facts: VersionFacts) -> Registered:
        """The rest of it. Raises RegisteringError."""
        found = asked(lambda: self._client.get_model_version(model, str(version)))
        columns, trouble, example = None, "", None
        with tempfile.TemporaryDirectory() as folder:
            written = self._artifact(model, version, "MLmodel", Path(folder))
            if written is None:
                trouble = "the version's MLmodel file cannot be read"
            else:
                columns, trouble, has_example = read_mlmodel(written)
                if has_example:
                    example = self._artifact(model, version, _EXAMPLES[0], Path(folder))
        return Registered(facts, columns, trouble, example, found.run_id or None)

    def keep(self, model: str, version: int, run_id: str, files: dict[str, str], said: str) -> None:
        """Files (path -> text) as artifacts of the run, and a tag on the version. Raises RegisteringError."""
        for path, text in files.items():
            asked(partial(self._client.log_text, run_id, text, path))
        asked(lambda: self._client.set_model_version_tag(model, str(version), GATE_TAG, said))

    def _artifact(self, model: str, version: int, name: str, folder: Path) -> bytes | None:
        from mlflow.artifacts import download_artifacts  # noqa: PLC0415 - as above

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's, of its own code
                path = Path(download_artifacts(artifact_uri=f"models:/{model}/{version}/{name}", dst_path=str(folder)))
            return path.read_bytes() if path.is_file() and path.stat().st_size <= MOST_BYTES else None
        except Exception:  # noqa: BLE001 - whatever a store raises: it is not there for us
            return None
