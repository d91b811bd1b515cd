"""titleshot's state as short texts, for the view on a terminal and for the lines off it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

from comparator.events import DecisionKind

BAR = 10
SHOWN_REASON = 160


def plain(text: object) -> str:
    """A text of others without anything that would steer the terminal."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(text))


def shares(traffic: Mapping[str, Any]) -> dict[str, str]:
    """What each role answers now: role -> text."""
    share = int(traffic.get("share") or 0)
    told = {"champion": f"{100 - share} %"}
    if traffic.get("mode") == "shadow":
        told["challenger"] = f"copies of {traffic.get('mirror')} %"
    elif traffic.get("mode") == "canary":
        told["challenger"] = f"{share} %"
    elif traffic.get("mode") == "watch":
        told["previous"] = f"copies of {traffic.get('mirror')} %"
    return told


def milliseconds(value: object) -> str:
    """A latency."""
    return f"{value * 1000:.1f} ms" if isinstance(value, (int, float)) else "-"


def ratio(value: object) -> str:
    """A precision or an error rate."""
    return f"{value:.3f}" if isinstance(value, (int, float)) else "-"


def evidence_of_harm(e_value: float, threshold: float) -> str:
    """The evidence of a guardrail against what would roll back by itself, as both grow by factors."""
    filled = 0.0 if e_value <= 1 else min(1.0, math.log(e_value) / math.log(threshold))
    blocks = round(filled * BAR)
    return f"{'#' * blocks}{'.' * (BAR - blocks)} {e_value:.3g} of {threshold:.3g}"


def interval(estimate: Mapping[str, Any] | None) -> str:
    """A precision with its bounds."""
    if not estimate or estimate.get("value") is None:
        return "-"
    bounds = ", ".join("-" if estimate.get(key) is None else f"{estimate[key]:.2f}" for key in ("lower", "upper"))
    return f"{estimate['value']:.3f} [{bounds}]"


def count(value: object) -> str:
    """A count with separators."""
    return f"{value:,}" if isinstance(value, int) else "-"


def role_line(role: str, seen: Mapping[str, Any], share: str) -> str:
    """One role in one line."""
    return (
        f"{role} v{seen.get('version')}: {share}, {count(seen.get('answers'))} answers, "
        f"p50 {milliseconds(seen.get('p50_seconds'))}, p99 {milliseconds(seen.get('p99_seconds'))}, "
        f"precision {interval(seen.get('precision'))}"
    )


def needed_line(evidence: Mapping[str, Any]) -> str:
    """What a pass still needs, and about how long that takes."""
    parts = [plain(part) for part in evidence.get("missing") or ()]
    for rail in evidence.get("guardrails") or ():
        parts += [f"{plain(rail['name'])}: {plain(part)}" for part in rail.get("missing") or ()]
    left = evidence.get("seconds_left")
    about = f" (about {left:.0f} s)" if isinstance(left, (int, float)) else ""
    return f"{'; '.join(parts)}{about}" if parts else "nothing"


def decision_line(decision: Mapping[str, Any]) -> str:
    """One decision in one line; why it advanced is told in part, the console has all of it."""
    kind, reason = plain(decision["kind"]).replace("_", " "), plain(decision["reason"])
    if decision["kind"] in (DecisionKind.START, DecisionKind.ADVANCE):
        kind = f"{kind} to step {int(decision['step']) + 1} ({plain(decision['phase'])})"
    if decision["kind"] in (DecisionKind.ADVANCE, DecisionKind.PROMOTE):
        reason = textwrap.shorten(reason, SHOWN_REASON, placeholder=" ...")
    if decision["kind"] in (DecisionKind.PROMOTE, DecisionKind.ROLL_BACK) and (move := decision.get("move")):
        kind = f"{kind} (@champion {move['expected']} -> {move['to']})"
    about = f"v{decision['version']} " if decision.get("rollout_id") else ""
    return f"{about}{kind}: {reason}"
