"""What the judge wants to know of a version, read from its tags, its run and its logged model. Pure.

- Offline metrics: of the logged model, else of the run, else the version's tags `metric.NAME`. The logged model comes
  first because a run can log several models, and has one value per name for all of them.
- Git SHA: tag `git_sha` or `mlflow.source.git.commit`, of the version, else of the run.
- Who registered it: the version's `user_id`, and its tag `titleshot.registered_by`; both count where they differ.
- Data hash: tag `data_hash`, of the version, else of the run; else the digest of the run's dataset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from comparator.events import VersionFacts

METRIC_TAG: Final = "metric."
GIT_TAGS: Final = ("git_sha", "mlflow.source.git.commit")
DATA_TAG: Final = "data_hash"
REGISTRANT_TAG: Final = "titleshot.registered_by"

_MOST_METRICS: Final = 1000
_LONGEST: Final = 250
_MODEL_SOURCE: Final = re.compile(r"models:/(m-[A-Za-z0-9]{1,64})(?:/.*)?")


def version_facts(
    version: int,
    version_tags: Mapping[str, str],
    run_tags: Mapping[str, str],
    model_metrics: Mapping[str, object],
    run_metrics: Mapping[str, object],
    dataset_digests: Sequence[str],
    user_id: str | None = None,
) -> VersionFacts:
    """Put together what the places above say of one version."""
    tagged = {name[len(METRIC_TAG) :]: value for name, value in version_tags.items() if name.startswith(METRIC_TAG)}
    return VersionFacts(
        version=version,
        offline=offline_metrics(model_metrics, run_metrics, tagged),
        git_sha=_first((version_tags, run_tags), GIT_TAGS),
        data_hash=_first((version_tags, run_tags), (DATA_TAG,)) or next(filter(None, dataset_digests), None),
        registered_by=_names(user_id, version_tags.get(REGISTRANT_TAG)),
    )


def _names(*written: object) -> tuple[str, ...]:
    """Those that can be somebody's name, each once."""
    names = (text.strip() for text in written if isinstance(text, str))
    return tuple(dict.fromkeys(name for name in names if 0 < len(name) <= _LONGEST and name.isprintable()))


def offline_metrics(*sources: Mapping[str, object]) -> dict[str, float]:
    """Metrics by name, in lower case, otherwise as they were logged; the first source that has a finite one counts."""
    found: dict[str, float] = {}
    for source in sources:
        for name, value in source.items():
            number = _number(value)
            if number is not None and len(name) <= _LONGEST and len(found) < _MOST_METRICS:
                found.setdefault(name.lower(), number)
    return found


def model_in_source(source: str | None) -> str | None:
    """The logged model's id in a version's source `models:/m-...`; older servers leave `model_id` empty."""
    match = _MODEL_SOURCE.fullmatch(source or "")
    return match[1] if match else None


def _number(value: object) -> float | None:
    if isinstance(value, str) and len(value) > 64:
        return None
    if not isinstance(value, (str, float, int)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _first(sources: Sequence[Mapping[str, str]], names: Sequence[str]) -> str | None:
    for source in sources:
        for name in names:
            text = source.get(name, "").strip()
            if 0 < len(text) <= _LONGEST:
                return text
    return None
