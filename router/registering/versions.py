"""Versions in MLflow: what a run or a logged model has, one new version of it, and the tags of one that exists.

Everything is looked at before anything is written. Names of tags are those that `router.control.lineage` reads.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from router.artifacts.profile import FOLDER, PROFILE_TAG, artifact_name
from router.control.lineage import DATA_TAG, GIT_TAGS, METRIC_TAG, model_in_source, offline_metrics
from router.registering.mlflow_calls import RegisteringError, asked, client_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

GIT_TAG = GIT_TAGS[0]
BY_TAG = "titleshot.registered_by"
AT_TAG = "titleshot.registered_at"
REPLACED_TAG = "titleshot.replaced."

_MODEL_URI = re.compile(r"models:/(m-[A-Za-z0-9]{1,64})")
_MODEL_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True)
class Candidate:
    """What a version is to be made of.

    Args:
        uri: `models:/m-...`, the logged model.
        run_id: that logged it; None: no run did.
        signature: whether it has one.
        metrics: as its logged model and run have them, lower-case names.
    """

    uri: str
    run_id: str | None
    signature: bool
    metrics: Mapping[str, float]

    @property
    def model_id(self) -> str:
        """Of the logged model."""
        return self.uri.removeprefix("models:/")


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from.

    Args:
        git_sha: of its source; None: not given.
        data_hash: of its training data; None: not given.
        metrics: evaluation metrics that are on neither the model nor its run.
        profile: of the training features, as the artifact's text.
    """

    git_sha: str | None = None
    data_hash: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    profile: str | None = None

    def tags(self) -> dict[str, str]:
        """As tags of a version."""
        tags = {METRIC_TAG + name.lower(): repr(value) for name, value in self.metrics.items()}
        if self.git_sha is not None:
            tags[GIT_TAG] = self.git_sha
        if self.data_hash is not None:
            tags[DATA_TAG] = self.data_hash
        if self.profile is not None:
            tags[PROFILE_TAG] = hashlib.sha256(self.profile.encode()).hexdigest()
        return tags


class Versions:
    """One registry. Every method raises RegisteringError."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = client_of(uri)

    def candidate(self, *, run_id: str | None = None, uri: str | None = None) -> Candidate:
        """The one model of a run, or the model of a URI `models:/m-...`."""
        if uri is not None:
            match = _MODEL_URI.fullmatch(uri)
            if match is None:
                raise RegisteringError(f"expected models:/m-... of a logged model, not {uri!r}")
            return self._model(match[1])
        run = asked(lambda: self._client.get_run(run_id), f"READ on the experiment of run {run_id}")
        if run.info.status != "FINISHED":
            raise RegisteringError(f"run {run_id} is {run.info.status}, expected FINISHED")
        outputs = run.outputs.model_outputs if run.outputs is not None else []
        models = sorted({output.model_id for output in outputs})
        if len(models) != 1:
            named = f": name one with --uri models:/... ({', '.join(models)})" if models else ""
            raise RegisteringError(f"run {run_id} has logged {len(models)} models, expected 1{named}")
        return self._model(models[0])

    def existing(self, model: str, candidate: Candidate, lineage: Lineage) -> int | None:
        """The version that was made of the same model, source and data before; None: there is none.

        Raises RegisteringError, too, where there could be no such version, or where it has other metrics.
        """
        _legal(model)
        self._check(candidate, lineage)
        for found in asked(lambda: list(self._client.search_model_versions(f"name='{model}'"))):
            commit = next((found.tags[name] for name in GIT_TAGS if name in found.tags), None)
            same = (found.source, commit) == (candidate.uri, lineage.git_sha)
            if same and found.tags.get(DATA_TAG) == lineage.data_hash:
                self._same_metrics(model, found, lineage)
                return int(found.version)
        return None

    def register(self, model: str, candidate: Candidate, lineage: Lineage, *, by: str, description: str = "") -> int:
        """Make one version, with its tags and its profile; its number."""
        _legal(model)
        self._check(candidate, lineage)
        tags = {**lineage.tags(), BY_TAG: by, AT_TAG: datetime.now(UTC).isoformat(timespec="seconds")}
        if lineage.profile is not None:
            self._keep(candidate.run_id, candidate.model_id, lineage.profile)
        self._made(model)
        # the tags go with the version: there is none without them
        made = asked(
            lambda: self._client.create_model_version(
                model,
                candidate.uri,
                run_id=candidate.run_id,
                tags=tags,
                description=description or None,
                model_id=candidate.model_id,
            ),
            f"EDIT on the registered model {model}, and READ on the experiment of {candidate.uri}",
        )
        return int(made.version)

    def annotate(self, model: str, version: int, lineage: Lineage, *, by: str, replace: str | None) -> dict[str, str]:
        """Add tags to a version; what they are now.

        Args:
            model: its name in the registry.
            version: its number.
            lineage: what to add.
            by: who adds it.
            replace: why a tag that says something else is replaced; None: that is refused. The reason, the old value
                and who replaced it are kept in a tag of their own.
        """
        _legal(model)
        if replace is not None and not replace.strip():
            raise RegisteringError("expected a reason for what is replaced")
        found = asked(
            lambda: self._client.get_model_version(model, str(version)), f"READ on the registered model {model}"
        )
        if lineage.metrics:
            own = self._metrics(found.model_id or model_in_source(found.source), found.run_id or None)
            _agree(f"version {version} of {model}", own, lineage.metrics)
        wanted = {name: value for name, value in lineage.tags().items() if found.tags.get(name) != value}
        other = {name: found.tags[name] for name in wanted if name in found.tags}
        if other and replace is None:
            said = "; ".join(f"{name} is {old}, not {wanted[name]}" for name, old in sorted(other.items()))
            raise RegisteringError(f"version {version} of {model} says something else: {said} (see --replace)")
        if lineage.profile is not None and PROFILE_TAG in wanted:
            model_id = found.model_id or model_in_source(found.source)
            if found.run_id is None and model_id is None:
                raise RegisteringError(
                    f"version {version} of {model} has neither a run nor a logged model for a profile"
                )
            self._keep(found.run_id or None, model_id, lineage.profile)
        for name, old in other.items():
            said = f"{old} ({by}, {datetime.now(UTC).isoformat(timespec='seconds')}: {replace})"
            self._tag(model, version, _unused(REPLACED_TAG + name, found.tags), said)
        for name, value in wanted.items():
            self._tag(model, version, name, value)
        return wanted

    # ---- inside

    def _model(self, model_id: str) -> Candidate:
        needed = f"READ on the experiment of the logged model {model_id}"
        found = asked(lambda: self._client.get_logged_model(model_id), needed)
        if found.status != "READY":
            raise RegisteringError(f"model {model_id} is {found.status}, expected READY")
        run_id = found.source_run_id or None
        metrics = self._metrics(model_id, run_id)
        return Candidate(found.model_uri, run_id, self._has_signature(found.model_uri), metrics)

    def _metrics(self, model_id: str | None, run_id: str | None) -> dict[str, float]:
        """What was logged of a model, as the gate and the judge will read it."""
        own: Mapping[str, object] = {}
        of_run: Mapping[str, object] = {}
        if model_id is not None:
            needed = f"READ on the experiment of the logged model {model_id}"
            found = asked(lambda: self._client.get_logged_model(model_id), needed)
            own = {each.key: each.value for each in found.metrics or []}
        if run_id is not None:
            of_run = asked(lambda: self._client.get_run(run_id), f"READ on the experiment of run {run_id}").data.metrics
        return offline_metrics(own, of_run)

    def _same_metrics(self, model: str, found: ModelVersion, lineage: Lineage) -> None:
        for name, value in lineage.tags().items():
            if name.startswith(METRIC_TAG) and found.tags.get(name) != value:
                raise RegisteringError(
                    f"version {found.version} of {model} was made of the same model, source and data, without "
                    f"{name.removeprefix(METRIC_TAG)} {value}: `titleshot annotate` adds it"
                )

    def _has_signature(self, uri: str) -> bool:
        from mlflow.models import get_model_info  # noqa: PLC0415 - as above
        from mlflow.tracking import set_tracking_uri  # noqa: PLC0415

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's, of its own code
            asked(lambda: set_tracking_uri(self._uri))  # one for the whole process, which is the command's own
            info = asked(lambda: get_model_info(uri), f"READ on the experiment of {uri}")
        return info.signature is not None and info.signature.inputs is not None

    def _check(self, candidate: Candidate, lineage: Lineage) -> None:
        missing = []
        if not candidate.signature:
            missing.append("a signature (log the model with one, see mlflow.models.infer_signature)")
        if not candidate.metrics and not lineage.metrics:
            missing.append("evaluation metrics (log them, or give them with --metric NAME=VALUE)")
        if lineage.git_sha is None:
            missing.append("a git SHA (--git-sha)")
        if lineage.data_hash is None:
            missing.append("a hash of the training data (--data)")
        if missing:
            raise RegisteringError(f"{candidate.uri} cannot be registered, it lacks " + "; ".join(missing))
        _agree(candidate.uri, candidate.metrics, lineage.metrics)

    def _keep(self, run_id: str | None, model_id: str | None, profile: str) -> None:
        """The profile as an artifact of the run, else of the logged model: a file of its own for each content.

        A run can have several versions, and what one of them was registered with may not change.
        """
        path = f"{FOLDER}/{artifact_name(hashlib.sha256(profile.encode()).hexdigest())}"
        if run_id is not None:
            needed = f"EDIT on the experiment of run {run_id}"
            asked(lambda: self._client.log_text(run_id, profile, path), needed)
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_text(profile)
            needed = f"EDIT on the experiment of the logged model {model_id}"
            asked(lambda: self._client.log_model_artifact(model_id, str(file)), needed)

    def _made(self, model: str) -> None:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - as above

        def create() -> None:
            try:
                self._client.create_registered_model(model)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # made meanwhile, or not shown to this user: then no version of it can be made, which is said there

        found = asked(lambda: self._client.search_registered_models(f"name='{model}'"))
        if not any(each.name == model for each in found):
            asked(create, "to be one who may create registered models")

    def _tag(self, model: str, version: int, name: str, value: str) -> None:
        try:
            asked(
                lambda: self._client.set_model_version_tag(model, str(version), name, value),
                f"EDIT on the registered model {model}",
            )
        except RegisteringError as error:
            raise RegisteringError(f"{error}: some tags of version {version} may be set; do it again") from None


def _agree(what: str, own: Mapping[str, float], given: Mapping[str, float]) -> None:
    """What was logged counts before what is given; a figure that would count for nothing is refused."""
    for name, value in given.items():
        logged = own.get(name.lower())
        if logged is not None and logged != value:
            raise RegisteringError(f"{what} has {name.lower()} {logged:g} as it was logged, not {value:g}")


def _unused(name: str, tags: Mapping[str, str]) -> str:
    """A name for one more tag of this kind: nothing that was replaced is forgotten."""
    return next(each for each in chain([name], (f"{name}.{index}" for index in count(2))) if each not in tags)


def _legal(model: str) -> None:
    if _MODEL_NAME.fullmatch(model) is None:
        raise RegisteringError(f"expected a model name of 1 to 64 letters, digits, '.', '_' or '-', not {model!r}")
