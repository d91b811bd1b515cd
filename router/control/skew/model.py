"""One model: requests against signatures, features against training, answers against the champion's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from comparator.events import Columns, Role
from router.artifacts.signature import Columns as Signature
from router.control.skew.answers import Answers
from router.control.skew.contract import checked
from router.control.skew.drift import Compared, Feature, compared, feature
from router.control.skew.names import NOT_OURS, OTHERS, SKEW_RESULTS, Break
from router.control.skew.trained import Trained
from router.control.skew.window import Window
from router.link.messages import SampledRequest
from router.protocols.open_inference_grpc import table as table_over_grpc
from router.protocols.protocol import Table, Tables, Unreadable
from router.settings.skew import SkewSettings

MOST_SHOWN: Final = 50
"""Columns by name: in metrics, in the status."""

LONGEST_NAME: Final = 120
MOST_EXTRA: Final = 10
MOST_BODY_BYTES: Final = 1 << 20


class Watched:
    """One version: its training, and what came while it was serving.

    Args:
        version: its number.
        trained: what it was trained on.
        settings: of the model.
    """

    def __init__(self, version: int, trained: Trained, settings: SkewSettings) -> None:
        self.version = version
        self.trained = trained
        self.not_compared: list[str] = []
        self.window = Window(self._features(settings), settings.window, known=trained.columns is not None)

    def _features(self, settings: SkewSettings) -> Sequence[Feature]:
        """Those of the profile that requests have; a training file has labels and ids, too."""
        profile, columns, found = self.trained.profile, self.trained.columns, []
        if profile is None:
            return ()
        for name, column in profile["columns"].items():
            if name in settings.ignore or (columns is not None and name not in columns.types):
                continue
            made = feature(name, profile["rows"], column) if legal_name(name) else None
            if made is None:
                self.not_compared.append(name if legal_name(name) else "a name that cannot be shown")
            else:
                found.append(made)
        if columns is not None:
            self.not_compared += [
                name for name in columns.types if name not in profile["columns"] and name not in settings.ignore
            ]
        return found

    def compared(self, settings: SkewSettings, at: float) -> list[Compared]:
        """Every feature that has rows, the most skewed first."""
        counts = self.window.counts(at)
        there = [(each, count) for each, count in zip(self.window.features, counts, strict=True) if count.any()]
        found = [
            compared(each, count, limit=settings.psi, least_rows=settings.min_rows, among=len(there))
            for each, count in there
        ]
        return sorted(found, key=lambda each: (not each.skewed, -each.psi / each.threshold))


def legal_name(name: str) -> bool:
    """Whether a column's name can be a label's value: anybody may have written it."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable()


class ModelSkew:
    """All that is looked at of one model. Not thread-safe: one caller at a time.

    Args:
        settings: of the model.
        tables: reads its requests over HTTP; None: they are not read.
    """

    def __init__(self, settings: SkewSettings, tables: Tables | None) -> None:
        self.settings = settings
        self.results: Counter[str] = Counter()
        self.answers = Answers()
        self._tables = tables
        self._watched: dict[Role, Watched] = {}
        self._breaks: dict[Role, Counter[tuple[str, Break]]] = {}
        self._extra: dict[Role, dict[str, None]] = {}

    def serve(self, trained: Mapping[Role, tuple[int, Trained]]) -> None:
        """These versions serve now, with their training; what was counted of a version that stays is kept."""
        known = {each.version: each for each in self._watched.values()}
        watched: dict[Role, Watched] = {}
        for role, (version, training) in trained.items():
            found = known.get(version)
            if found is None or found.trained is not training:
                found = Watched(version, training, self.settings)
            now, watched[role] = self._watched.get(role), found
            if found is not now:  # a version can come from another role, too
                self._breaks[role] = _begun(training, self._breaks.get(role, Counter()))
            if now is None or now.version != version:
                self._extra[role] = {}
        self._watched = watched

    def request(self, request: SampledRequest, at: float) -> None:
        """One sampled request, taken at `at`."""
        self.results[self._request(request, at)] += 1

    def _request(self, request: SampledRequest, at: float) -> str:
        if len(request.body) > MOST_BODY_BYTES:
            return "too_large"
        if request.content_encoding.strip().lower() not in (b"", b"identity"):
            return "encoded"
        try:
            table = self._table(request)
        except Unreadable:
            return "unreadable"
        if table is not None:
            self.answers.asked((request.request_hi, request.request_lo), table.rows)
        if table is None or not table.columns:
            return "unnamed"
        found = "unsigned"
        for role, watched in self._watched.items():
            watched.window.take(table, at)
            if watched.trained.columns is not None:
                self._check(role, watched.trained.columns, table)
                found = "checked"
        return found

    def _table(self, request: SampledRequest) -> Table | None:
        if request.over_grpc:
            return table_over_grpc(request.body)
        if self._tables is None:
            return None
        return self._tables(request.body, request.content_type.decode("latin-1"))

    def _check(self, role: Role, columns: Signature, table: Table) -> None:
        came = checked(columns, table)
        counts = self._breaks[role]
        for name, broken in came.breaks:
            shown = name if (name, broken) in counts else OTHERS
            counts[shown, broken] += 1
        if came.extra:
            counts[NOT_OURS, Break.EXTRA] += 1
            names = self._extra[role]
            for name in came.extra:
                if len(names) < MOST_EXTRA and legal_name(name):
                    names.setdefault(name)

    def observed(self, columns: Columns) -> None:
        """Observations of sampled requests."""
        self.answers.observed(columns)

    def report(self, at: float) -> dict[str, Any]:
        """Plain data."""
        return {
            "share": self.settings.share,
            "window_seconds": self.settings.window,
            "min_rows": self.settings.min_rows,
            "requests": {name: self.results[name] for name in SKEW_RESULTS},
            "roles": {role.name.lower(): self._role(role, each, at) for role, each in self._watched.items()},
            "answers": [
                {"role": role.name.lower(), "difference": difference.value, "answers": count}
                for (role, difference), count in sorted(self.answers.counts.items())
            ],
        }

    def _role(self, role: Role, watched: Watched, at: float) -> dict[str, Any]:
        found = watched.compared(self.settings, at)
        return {
            "version": watched.version,
            "rows": max((each.rows for each in found), default=0),
            "no_signature": watched.trained.no_columns,
            "no_profile": watched.trained.no_profile,
            "contract": [
                {"column": column, "break": broken.value, "requests": count}
                for (column, broken), count in self._breaks[role].items()
            ],
            "extra": list(self._extra[role]),
            "comparable": len(watched.window.features),
            "compared": len(found),
            "fewest_rows": min((each.rows for each in found), default=0),
            "not_compared": watched.not_compared[:MOST_SHOWN],
            "skewed": sum(each.skewed is True for each in found),
            "features": [asdict(each) for each in found[:MOST_SHOWN]],
        }


def _begun(trained: Trained, before: Counter[tuple[str, Break]]) -> Counter[tuple[str, Break]]:
    """All that can be counted, at what was counted so far: who looks at growth must see the first."""
    names = [name for name in (trained.columns.types if trained.columns is not None else ()) if legal_name(name)]
    kinds = [each for each in Break if each is not Break.EXTRA]
    known = [(name, kind) for name in (*names[:MOST_SHOWN], OTHERS) for kind in kinds]
    return Counter({each: before[each] for each in (*known, (NOT_OURS, Break.EXTRA))})
