"""What the pages show: a model's status as words, rows and charts. Pure; escaping is the templates' work."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comparator import words
from comparator.events import Decision
from comparator.guardrail import Estimate
from comparator.policy import Metric
from router.control.console.chart import Line, chart
from router.control.console.series import Sample, Side
from router.control.console.skew import skewed
from router.control.ledger import RefusedAct

CHART_SECONDS = 1800.0
LEAST_CHART_SECONDS = 120.0

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its legend: (class, label) of each line."""

    title: str
    svg: str
    legend: tuple[tuple[str, str], ...]


def overview(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each model."""
    return [
        {
            "name": name,
            "champion": version(model.get("champion")),
            "trial": version((model.get("rollout") or {}).get("version")) if _active(model) else "none",
            "state": state_line(model),
            "verdict": verdict(model),
            "problems": problems(model),
        }
        for name, model in sorted((status.get("models") or {}).items())
    ]


def state_line(model: Mapping[str, Any]) -> str:
    """What the model's rollout is doing, in a few words."""
    rollout = model.get("rollout") or {}
    if not rollout:
        return "no rollout yet"
    phase = str(rollout.get("phase")).replace("_", " ")
    steps, step = rollout.get("steps") or (), rollout.get("step")
    where = ""
    if _active(model) and isinstance(step, int) and 0 <= step < len(steps):
        shared = rollout.get("phase") in ("shadow", "canary", "watch")
        share = f" {steps[step].get('percent')} %" if shared else ""
        where = f"{share}, step {step + 1} of {len(steps)}"
    paused = ", paused" if rollout.get("paused") else ""
    return f"version {rollout.get('version')}: {phase}{where}{paused}"


def verdict(model: Mapping[str, Any]) -> str:
    """pass, fail or inconclusive of what is on trial; "": nothing is."""
    evidence = (model.get("rollout") or {}).get("evidence") or {}
    return str(evidence.get("verdict", "")) if _active(model) else ""


def problems(model: Mapping[str, Any]) -> list[str]:
    """What is not well, a sentence each."""
    rollout = model.get("rollout") or {}
    found = []
    if model.get("fault"):
        found.append(f"{model['fault']}: nothing goes forward until a restart")
    if model.get("frozen"):
        found.append(f"no rollout starts: {model['frozen']}")
    if error := (model.get("registry") or {}).get("error"):
        found.append(f"the registry: {error}")
    if model.get("awaited") is not None:
        found.append(f"@champion names version {model['awaited']}, whose endpoint is not ready")
    if rollout.get("hold_reason"):
        found.append(f"held: {rollout['hold_reason']}")
    found += skewed(model)
    found += [
        f"{each.get('webhook')} has yet to be told of the {str(each.get('kind')).replace('_', ' ')} of version "
        f"{each.get('version')}: {each.get('problem') or 'it is being told'}"
        for each in model.get("untold") or ()
    ]
    return found


def aliases(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(alias, what it names); of a lane that which names its challenger."""
    lane = model.get("lane") or {}
    named = (("champion", "champion"), ("challenger", str(lane.get("alias", "challenger"))), ("previous", "previous"))
    return [(alias, version(model.get(key))) for key, alias in named if not lane or key != "previous"]


def roles(model: Mapping[str, Any]) -> list[Row]:
    """(role, version, answers, failed, p50, p99, precision) of each side."""
    return [
        (
            str(name),
            version(role.get("version")),
            count(role.get("answers")),
            count(role.get("failed")),
            seconds(role.get("p50_seconds")),
            seconds(role.get("p99_seconds")),
            estimate(Metric.PRECISION.value, role.get("precision")),
        )
        for name, role in (model.get("roles") or {}).items()
    ]


def forced(model: Mapping[str, Any]) -> str:
    """Which requests rules force to a role; "": none."""
    return "; ".join(f"{rule.get('when')} to the {rule.get('to')}" for rule in model.get("rules") or ())


def agreement(model: Mapping[str, Any]) -> list[Row]:
    """(beside, equal predictions, mean difference of the scores, their PSI): the challenger, the champion again."""
    found = model.get("agreement") or {}
    named = (("challenger", "the challenger"), ("itself", "the champion, asked twice"))
    return [
        (
            name,
            estimate("agreement", found[beside]["ratio"]),
            estimate("score_distance", found[beside].get("score_distance")),
            _shift(found[beside].get("score_shift")),
        )
        for beside, name in named
        if (found.get(beside) or {}).get("ratio")
    ]


def _shift(found: Mapping[str, Any] | None) -> str:
    if not found:
        return "unknown"
    beyond = "more than" if found["psi"] > found["threshold"] else "within"
    return f"{found['psi']:.3g}, {beyond} chance ({found['threshold']:.3g})"


def guardrails(evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each guardrail and each check says, by a report."""
    rails = [
        {
            "name": str(rail.get("name")).replace("_", " "),
            "verdict": str(rail.get("verdict")),
            "champion": estimate(str(rail.get("name")), rail.get("champion")),
            "challenger": estimate(str(rail.get("name")), rail.get("challenger")),
            "evidence": f"{_e(rail.get('harm_e'))} of {_e(rail.get('harm_threshold'))}",
            "says": str(rail.get("reason")),
        }
        for rail in evidence.get("guardrails") or ()
    ]
    checks = [
        {
            "name": str(check.get("name")),
            "verdict": str(check.get("verdict")),
            "champion": "",
            "challenger": "",
            "evidence": "",
            "says": str(check.get("reason")),
        }
        for check in evidence.get("checks") or ()
    ]
    return [*rails, *checks]


def steps(rollout: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The policy's steps, and which one it is at."""
    return [
        {
            "text": str(step.get("kind"))
            + ("" if step.get("kind") == "promote" else f" {step.get('percent')} %")
            + (f", at least {words.duration(step['min_seconds'])}" if step.get("min_seconds") else ""),
            "now": bool(rollout.get("active")) and index == rollout.get("step"),
        }
        for index, step in enumerate(rollout.get("steps") or ())
    ]


def coverage(model: Mapping[str, Any]) -> list[Row]:
    """What became of labels and predictions, and how much of either side is labelled."""
    labels = model.get("labels") or {}
    rows = [(str(name).replace("_", " "), count(value)) for name, value in labels.items()]
    shares = ((model.get("rollout") or {}).get("evidence") or {}).get("coverage")
    if isinstance(shares, list) and len(shares) == 2:
        rows.append(("labelled, of what only one side would have acted on", " and ".join(map(_share, shares))))
    return [*rows, ("observations lost", count(model.get("observations_lost")))]


def disagreements(model: Mapping[str, Any]) -> list[Row]:
    """(when, request id, row, what each version said) of the latest requests on which both differ."""
    return [
        (
            moment(each.get("at")),
            str(each.get("request_id")),
            str(each.get("row")),
            *(
                f"version {number} said {_said(value)}"
                for number, value in zip(each.get("versions") or (), each.get("predicted") or (), strict=False)
            ),
        )
        for each in model.get("disagreements") or ()
    ]


def _said(value: float | str | None) -> str:
    if value is None:
        return "unknown"
    return value if isinstance(value, str) else f"{value:g}"


def signing(rollout: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who may sign off, and who has; None: nobody is asked to."""
    rules = rollout.get("sign_off")
    if rollout.get("phase") != "sign_off" or not rollout.get("active"):
        return None
    rules = rules or {}
    return {
        "people": rules.get("people") or 1,
        "by": ", ".join(map(str, rules.get("by") or ())) or "all who have the right to",
        "not_registrant": bool(rules.get("not_registrant")),
        "signed": [f"{each.get('name')}, {moment(each.get('at'))}" for each in rules.get("signatures") or ()],
        "digest": str(rollout.get("evidence_digest") or ""),
    }


def timeline(record: Sequence[tuple[str, Decision]]) -> list[dict[str, Any]]:
    """The decisions, the newest first, with the numbers behind those that rest on evidence."""
    return [
        {
            "id": told,
            "number": told.rpartition("/")[2],
            "at": moment(decision.at),
            "kind": decision.kind.value.replace("_", " "),
            "version": version(decision.version or None),
            "by": decision.actor,
            "reason": decision.reason,
            "guardrails": guardrails(decision.evidence) if "guardrails" in decision.evidence else [],
            "policy": decision.policy_digest[:12],
        }
        for told, decision in record
    ]


def charts(samples: Sequence[Sample], now: float) -> list[Chart]:
    """Share, p99, precision, evidence."""
    kept = [each for each in samples if each.at >= now - CHART_SECONDS]
    span = max(LEAST_CHART_SECONDS, now - kept[0].at) if kept else LEAST_CHART_SECONDS
    sides: tuple[tuple[str, str, Callable[[Sample], Side]], ...] = (
        ("champion", "champion", lambda each: each.champion),
        ("challenger", "other", lambda each: each.other),
    )

    def lines(figure: Callable[[Side], float | None]) -> list[Line]:
        return [Line(label, kind, [(each.at, figure(side(each))) for each in kept]) for label, kind, side in sides]

    precision = [
        Line(
            label,
            kind,
            [(each.at, side(each).precision[0]) for each in kept],
            (
                [(each.at, side(each).precision[1]) for each in kept],
                [(each.at, side(each).precision[2]) for each in kept],
            ),
        )
        for label, kind, side in sides
    ]
    evidence = [
        Line("rolls back from", "level", [(each.at, _log(each.threshold)) for each in kept]),
        Line("evidence of harm", "other", [(each.at, _log(each.evidence)) for each in kept]),
    ]
    traffic = [
        Line("copied", "level", [(each.at, each.mirror) for each in kept]),
        Line("answered by the challenger", "other", [(each.at, each.share) for each in kept]),
    ]
    tops = [value for line in evidence for _, value in line.points if value is not None]
    return [
        _chart("Traffic", traffic, "{:.3g} %".format, now, span, least=0.0, most=100.0),
        _chart("p99 latency", lines(lambda side: side.p99), seconds, now, span, least=0.0),
        _chart("p50 latency", lines(lambda side: side.p50), seconds, now, span, least=0.0),
        _chart("Precision, with its bounds", precision, "{:.3g}".format, now, span, least=0.0, most=1.0),
        _chart("Evidence of harm", evidence, _power, now, span, least=-1.0, most=max([1.5, *tops])),
    ]


def _chart(
    title: str,
    lines: Sequence[Line],
    tell: Callable[[float], str],
    now: float,
    span: float,
    least: float | None = None,
    most: float | None = None,
) -> Chart:
    svg = chart(title, lines, tell, now=now, seconds=span, least=least, most=most)
    return Chart(title, svg, tuple((line.kind, line.label) for line in lines))


# ---- figures in words


def version(value: object) -> str:
    """A version, or that there is none."""
    return "none" if value is None else f"version {value}"


def count(value: object) -> str:
    """How many."""
    return f"{value:,}" if isinstance(value, int) else "unknown"


def seconds(value: object) -> str:
    """A latency."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "unknown"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def moment(at: object) -> str:
    """A time, in UTC."""
    if not isinstance(at, int | float) or not 0 < at < 253402300800:
        return "unknown"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def refused(acts: Iterable[RefusedAct]) -> list[tuple[str, ...]]:
    """Refused attempts to act: when, what, by whom, from where, why, how often."""
    return [
        (moment(each.at), each.act, each.actor or "unknown", each.origin or "-", each.why, str(each.times))
        for each in acts
    ]


def estimate(name: str, data: Mapping[str, Any] | None) -> str:
    """A figure with its bounds and what it rests on."""
    if not data or not isinstance(data.get("value"), int | float):
        return "unknown"
    return words.figure(name, Estimate.from_data(data))


def _e(value: object) -> str:
    return words.e_value(value) if isinstance(value, int | float) else "unknown"


def _share(value: object) -> str:
    return f"{value:.0%}" if isinstance(value, int | float) else "unknown"


def _log(value: float | None) -> float | None:
    return math.log10(max(value, 0.1)) if value is not None else None


def _power(value: float) -> str:
    return f"{10**value:.3g}" if abs(value) < 6 else f"1e{value:.0f}"


def _active(model: Mapping[str, Any]) -> bool:
    return bool((model.get("rollout") or {}).get("active"))
