"""Signature and training profile of a version, read from MLflow's artifacts: once, by a thread that may hang.

Where artifacts are, only MLflow's own records say; of them, too, only places of known kinds are asked, and of hosts
only the registry's own.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from router.artifacts.profile import FOLDER, PROFILE_TAG, ProfileError, artifact_name, read_profile
from router.artifacts.profile import MOST_BYTES as MOST_PROFILE_BYTES
from router.artifacts.signature import Columns, read_mlmodel
from router.control.lineage import model_in_source
from router.control.mlflow_errors import of_client, reason, refusal
from router.control.registry import RegistryUnavailable, check_file, make_client

MOST_MLMODEL_BYTES: Final = 1 << 20
"""One with 2,000 columns has a fifth of it."""

_STORES: Final = frozenset({"", "file", "s3", "r2", "b2", "gs", "wasbs", "abfss", "dbfs"})
_HOSTS: Final = frozenset({"http", "https", "mlflow-artifacts"})
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a version was trained on.

    Args:
        columns: of its signature; None: see `no_columns`.
        no_columns: why requests cannot be checked, in words.
        profile: of its training features, as `read_profile` gives it; None: see `no_profile`.
        no_profile: why features cannot be compared, in words.
    """

    columns: Columns | None = None
    no_columns: str = ""
    profile: Mapping[str, Any] | None = None
    no_profile: str = ""

    @property
    def complete(self) -> bool:
        """Whether there is nothing more to look for."""
        return self.columns is not None and self.profile is not None


class Unread(Exception):
    """An artifact cannot be read; the message says why."""


class TrainedReader:
    """Reads from one registry; not on the event loop.

    Args:
        uri: of MLflow's tracking server or database.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: Any = None

    def read(self, model: str, version: int) -> Trained:
        """What the registry has of a version; what is not there is said.

        Raises:
            RegistryUnavailable: the registry gives no sensible answer.
        """
        found = self._ask("get_model_version", model, str(version))
        columns, no_columns = self._signature(model, version)
        profile, no_profile = self._profile(found)
        return Trained(columns, no_columns, profile, no_profile)

    def _signature(self, model: str, version: int) -> tuple[Columns | None, str]:
        try:
            written = self._artifact(self._place(model, version), "MLmodel", MOST_MLMODEL_BYTES)
        except Unread as error:
            return None, f"the version's MLmodel file cannot be read: {error}"
        columns, trouble, _ = read_mlmodel(written)
        return columns, trouble

    def _profile(self, found: Any) -> tuple[Mapping[str, Any] | None, str]:  # noqa: ANN401 - MLflow is untyped
        digest = found.tags.get(PROFILE_TAG)
        if digest is None:
            return None, "the version has no training profile: `titleshot register` or `annotate` adds one"
        if _SHA256.fullmatch(digest) is None:
            return None, f"expected a SHA-256 in the tag {PROFILE_TAG}"
        why = "the version has neither a run nor a logged model"
        for place in self._places_of_profile(found):
            try:
                return read_profile(self._verified(place, digest).decode()), ""
            except (Unread, ProfileError, UnicodeDecodeError) as error:
                why = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        return None, f"the training profile cannot be read: {why}"

    def _verified(self, place: str, digest: str) -> bytes:
        """Raises Unread."""
        written = self._artifact(place, artifact_name(digest), MOST_PROFILE_BYTES)
        if hashlib.sha256(written).hexdigest() != digest:
            raise Unread(f"its SHA-256 is not that of the tag {PROFILE_TAG}")
        return written

    def _places_of_profile(self, version: Any) -> list[str]:  # noqa: ANN401 - MLflow is untyped
        places = []
        if version.run_id:
            places.append(f"{self._ask('get_run', version.run_id).info.artifact_uri.rstrip('/')}/{FOLDER}")
        logged = getattr(version, "model_id", None) or model_in_source(version.source)
        if logged:
            places.append(str(self._ask("get_logged_model", logged).artifact_location))
        return places

    def _place(self, model: str, version: int) -> str:
        """Where the version's files are."""
        place = str(self._ask("get_model_version_download_uri", model, str(version)))
        if (logged := model_in_source(place)) is not None:
            place = str(self._ask("get_logged_model", logged).artifact_location)
        if place.startswith("runs:/"):
            run, _, path = place.removeprefix("runs:/").partition("/")
            place = f"{self._ask('get_run', run).info.artifact_uri.rstrip('/')}/{path}"
        return place

    def _artifact(self, place: str, name: str, most_bytes: int) -> bytes:
        """One file of a folder of artifacts. Raises Unread."""
        if not legal_place(place, self._uri):
            raise Unread("its place is of a kind, or on a host, that is not asked")
        try:
            with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
                warnings.simplefilter("ignore")  # MLflow's, of its own code
                return _fetched(place.rstrip("/"), name, most_bytes, folder, self._uri)
        except Unread:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a store raises, perhaps with passwords
            raise Unread(reason(error)) from None

    def _ask(self, method: str, *args: str) -> Any:  # noqa: ANN401 - MLflow is untyped
        try:
            if self._client is None:
                check_file(self._uri)
                self._client = make_client(self._uri)
            return getattr(self._client, method)(*args)
        except RegistryUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - MLflow lets anything through, perhaps with passwords
            raise RegistryUnavailable(refusal(error, of_client(method, *args)) or reason(error)) from None


def _fetched(place: str, name: str, most_bytes: int, folder: str, registry: str) -> bytes:
    from mlflow.artifacts import download_artifacts, list_artifacts  # noqa: PLC0415 - slow to import

    listed = list_artifacts(artifact_uri=place, tracking_uri=registry)
    size = next((each.file_size for each in listed if not each.is_dir and each.path.rpartition("/")[2] == name), None)
    if size is None:
        raise Unread("it is not there")
    if size > most_bytes:
        raise Unread(f"expected at most {most_bytes} bytes, not {size}")
    fetched = download_artifacts(artifact_uri=f"{place}/{name}", dst_path=folder, tracking_uri=registry)
    with Path(fetched).open("rb") as file:
        return file.read(most_bytes)


def legal_place(place: str, registry: str) -> bool:
    """Whether artifacts are read from there: files and object stores, and of servers the registry itself."""
    try:
        parts, own = urlsplit(place), urlsplit(registry)
    except ValueError:
        return False
    if parts.scheme in _STORES:
        return parts.scheme != "file" or not parts.netloc
    if parts.scheme not in _HOSTS:
        return False
    host = parts.netloc.rpartition("@")[2]
    if not host:
        return parts.scheme == "mlflow-artifacts" and own.scheme in ("http", "https")
    return own.scheme in ("http", "https") and host == own.netloc.rpartition("@")[2]
