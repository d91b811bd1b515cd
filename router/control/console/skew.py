"""A model's skew on its page: what is looked at, features beside their training, what breaks the signature. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from comparator import words

MOST_ROWS: Final = 20
MOST_NAMED: Final = 5

_BREAKS: Final = {
    "wrong_type": "a value of another type",
    "coerced": "a value that the server takes as another one",
    "null": "no value in a row",
    "missing": "left out",
    "extra": "more than the signature has: dropped",
}
_DIFFERENCES: Final = {
    "rows": "other rows than asked for",
    "prediction": "no prediction that can be read",
    "score": "a score where the champion has none, or none where it has one",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One version.

    Args:
        title: which, and what is known of it.
        features: (column, PSI, where it differs most, verdict for its mark, verdict in words), the most skewed first.
        breaks: (column, how, in so many requests).
        notes: what is not looked at, and why.
    """

    title: str
    features: list[tuple[str, str, str, str, str]]
    breaks: list[tuple[str, str, str]]
    notes: list[str]


def skew(model: Mapping[str, Any]) -> dict[str, Any] | None:
    """For the template; None: nobody looks."""
    found = model.get("skew")
    if not found:
        return None
    requests = {str(name).replace("_", " "): count for name, count in (found.get("requests") or {}).items() if count}
    return {
        "says": f"{found.get('share')} % of the requests, over {words.duration(found.get('window_seconds') or 0)}. "
        + (
            "So far: " + ", ".join(f"{count:,} {name}" for name, count in requests.items()) if requests else "None yet."
        ),
        "sides": [_side(role, each, found.get("min_rows") or 0) for role, each in (found.get("roles") or {}).items()],
        "answers": [
            (str(each.get("role")), _DIFFERENCES.get(str(each.get("difference")), ""), f"{each.get('answers'):,}")
            for each in found.get("answers") or ()
            if each.get("answers")
        ],
    }


def skewed(model: Mapping[str, Any]) -> list[str]:
    """Features that are skewed now, a sentence for each version."""
    sentences = []
    for role, found in ((model.get("skew") or {}).get("roles") or {}).items():
        names = [str(each["name"]) for each in found.get("features") or () if each.get("skewed")]
        if names:
            more = (found.get("skewed") or 0) - MOST_NAMED
            told = ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
            sentences.append(f"traffic is not what the {role}, version {found.get('version')}, was trained on: {told}")
    return sentences


def _side(role: str, found: Mapping[str, Any], least: int) -> Side:
    skewed, compared, rows = found.get("skewed") or 0, found.get("compared") or 0, found.get("rows") or 0
    title = f"{role}, version {found.get('version')}: {skewed} of {compared} features skewed, on {rows:,} rows"
    notes = [str(found[name]) for name in ("no_signature", "no_profile") if found.get(name)]
    if names := found.get("not_compared"):
        notes.append(f"not compared, the training profile does not say enough of them: {', '.join(map(str, names))}")
    if names := found.get("extra"):
        notes.append(f"requests have columns that the signature does not have: {', '.join(map(str, names))}")
    if (more := compared - MOST_ROWS) > 0:
        notes.append(f"{more} more features, which are nearer to their training, are in the status")
    return Side(
        title,
        [_feature(each, least) for each in (found.get("features") or ())[:MOST_ROWS]],
        [
            (str(each.get("column")), _BREAKS.get(str(each.get("break")), ""), f"{each.get('requests'):,}")
            for each in found.get("contract") or ()
            if each.get("requests")
        ],
        notes,
    )


def _feature(found: Mapping[str, Any], least: int) -> tuple[str, str, str, str, str]:
    verdict = {True: ("fail", "skewed"), False: ("pass", "as in training")}.get(
        found["skewed"], ("open", f"too few rows: {found['rows']:,} of {least:,}")
    )
    return (
        str(found["name"]),
        f"{found['psi']:.3f}, skewed above {found['threshold']:.3f}",
        f"{found['where']}: {found['live']:.1%} live, {found['training']:.1%} in training",
        *verdict,
    )
