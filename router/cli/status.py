"""`titleshot status`: who serves, what is on trial, and on what evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from comparator import words
from router.cli.admin import Admin, admin_command, model_argument
from router.cli.output import age, console, json_option, moment, plain, print_json, seconds, version


@click.command()
@model_argument(required=False)
@json_option
@admin_command
def status(admin: Admin, model: str | None, *, as_json: bool) -> None:
    """Who serves, what is on trial, and on what evidence: of all models, or of MODEL in detail."""
    if model is not None:
        state = admin.model(model)
        if as_json:
            print_json(state)
        else:
            for part in model_parts(model, state):
                console().print(part, soft_wrap=True)
        return
    everything = admin.status()
    if as_json:
        print_json(everything)
    else:
        for part in overview_parts(everything):
            console().print(part, soft_wrap=True)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def overview_parts(everything: Mapping[str, Any]) -> list[RenderableType]:
    """All models, a line each, and what else is not well; to be printed one below the other."""
    parts: list[RenderableType] = [_overview(everything.get("models", {}), everything.get("at"))]
    if error := (everything.get("tokens") or {}).get("error"):
        parts.append(Text(f"tokens file not taken, the last good one stays in force: {plain(error)}"))
    return parts


def _overview(models: Mapping[str, Any], now: object) -> Table:
    table = _table("model", "champion", "challenger", "previous", "traffic", "rollout", "evidence of harm", "registry")
    for name, state in models.items():
        registry = state.get("registry") or {}
        cells = (
            name,
            version(state.get("champion")),
            version(state.get("challenger")),
            version(state.get("previous")),
            _traffic(state.get("traffic") or {}),
            _rollout(state.get("rollout")),
            harm_of(state.get("rollout")),
            registry.get("error") or f"read {age(registry.get('read_at'), now)}",
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def model_parts(name: str, state: Mapping[str, Any]) -> list[RenderableType]:
    """One model in detail, to be printed one below the other."""
    registry, rollout, lane = state.get("registry") or {}, state.get("rollout"), state.get("lane") or {}
    facts = {
        "model": name,
        "champion": version(state.get("champion")),
        "challenger": version(state.get("challenger")),
        "previous": version(state.get("previous")),
        "lane": f"@{lane.get('alias')} of {lane.get('of')}: in shadow, never promoted" if lane else "",
        "lanes": ", ".join(state.get("lanes") or ()),
        "ready": ", ".join(version(each) for each in state.get("ready", [])) or "-",
        "traffic": _traffic(state.get("traffic") or {}),
        **({"rules": rules_line(rules)} if (rules := state.get("rules")) else {}),
        **agreement_lines(state.get("agreement") or {}),
        "rollout": _rollout(rollout),
        "harm": f"evidence {harm_of(rollout)}" if (rollout or {}).get("active") else "",
        "rollback": rollback_target(state, None)[2],
        "labels": ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in (state.get("labels") or {}).items())
        or "-",
        "registry": registry.get("error") or f"read {moment(registry.get('read_at'))}",
    }
    if state.get("awaited") is not None:
        facts["awaited"] = f"@champion names {version(state['awaited'])}, whose endpoint is not ready"
    if state.get("pending"):
        facts["pending"] = (
            f"@champion {version(state['pending'].get('expected'))} -> {version(state['pending'].get('to'))}"
        )
    if state.get("observations_repeated"):
        facts["repeated"] = (
            f"{state['observations_repeated']} observations of ids answered before; they are no evidence"
        )
    if skew := skew_line(state):
        facts["skew"] = skew
    all_facts = {**facts, **_of_rollouts(state, rollout or {})}
    parts: list[RenderableType] = [
        Text(f"{label + ':':<15}{plain(value)}") for label, value in all_facts.items() if value != ""
    ]
    if roles := state.get("roles") or {}:
        parts += [Text(), _roles(roles)]
    parts += map(Text, (*webhook_lines(state), *signing_lines(rollout or {})))
    if evidence := (rollout or {}).get("evidence"):
        parts += [Text(), *map(Text, evidence_lines(evidence))]
    return parts


def _of_rollouts(state: Mapping[str, Any], rollout: Mapping[str, Any]) -> dict[str, str]:
    """What keeps rollouts from starting or going on, and the last decision about one."""
    facts: dict[str, str] = {}
    if state.get("fault"):
        facts["fault"] = f"{state['fault']}; nothing goes forward until a restart"
    if state.get("frozen"):
        facts["frozen"] = str(state["frozen"]).removeprefix("frozen: ")
    if rollout.get("hold_reason"):
        facts["held"] = rollout["hold_reason"]
    if rollout.get("policy_pending"):
        facts["policy"] = "a changed policy waits for the next rollout"
    if last := rollout.get("last_decision"):
        facts["last decision"] = f"{moment(last.get('at'))} {last.get('kind')}: {last.get('reason')}"
    return facts


def skew_line(state: Mapping[str, Any]) -> str:
    """Features that are not as in the training, by role; "": nobody looks."""
    sides = []
    for role, found in ((state.get("skew") or {}).get("roles") or {}).items():
        names = [str(each["name"]) for each in found.get("features") or () if each.get("skewed")]
        known = f"{found.get('skewed', 0)} of {found.get('compared', 0)} features"
        sides.append(f"{role}: {known}{': ' + ', '.join(names[:5]) if names else ''}")
    return "; ".join(sides)


def rollback_target(state: Mapping[str, Any], to: int | None) -> tuple[int | None, bool | None, str]:
    """Who would serve after a rollback, whether that version is ready (None: not known yet), and that in words."""
    known = state.get("rollback") or {}
    target = known.get("to") if to is None else to
    ready: bool | None = target in state.get("ready", ())
    if not ready and to is not None:
        ready = None
    if target is None:
        return None, False, "there is no version to go back to"
    said = {True: "ready", False: "not ready", None: "probed before it gets the title"}[ready]
    goes_on = target == state.get("champion")
    return target, ready, f"version {plain(target)} {'goes on serving' if goes_on else 'would serve'}; it is {said}"


def webhook_lines(state: Mapping[str, Any]) -> list[str]:
    """What webhooks say of the rollout, and who has yet to be told of a rollback."""
    said = (state.get("rollout") or {}).get("confirmations") or ()
    lines = [f"{each.get('what')}: {each.get('webhook')}: {each.get('verdict')}: {each.get('reason')}" for each in said]
    lines += [
        f"on_rollback: {each.get('webhook')} has yet to be told of the {str(each.get('kind')).replace('_', ' ')} of "
        f"{version(each.get('version'))}{': ' + str(each['problem']) if each.get('problem') else ''}"
        for each in state.get("untold") or ()
    ]
    return [plain(line) for line in lines]


def signing_lines(rollout: Mapping[str, Any]) -> list[str]:
    """While it waits: who may sign off, who has, and the digest of the evidence that is shown with it."""
    if rollout.get("phase") != "sign_off":
        return []
    rules = rollout.get("sign_off") or {}
    people, by = rules.get("people", 1), ", ".join(map(plain, rules.get("by", ())))
    wanted = f"{people} of {by}" if by else f"{people} {'people' if people != 1 else 'person'}"
    wanted += ", not whoever registered the version" if rules.get("not_registrant") else ""
    signed = ", ".join(f"{plain(each['name'])} {moment(each['at'])}" for each in rules.get("signatures", ()))
    shown = plain(rollout.get("evidence_digest") or "-")
    return [f"{'sign-off:':<15}{wanted}; signed by {signed or 'nobody yet'}", f"{'evidence is:':<15}{shown}"]


def _roles(roles: Mapping[str, Any]) -> Table:
    table = _table("role", "version", "answers", "failed", "p50", "p99", "precision")
    for role, seen in roles.items():
        cells = (
            role,
            version(seen.get("version")),
            seen.get("answers", "-"),
            seen.get("failed", "-"),
            seconds(seen.get("p50_seconds")),
            seconds(seen.get("p99_seconds")),
            _estimate(seen.get("precision")),
        )
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _estimate(estimate: object) -> str:
    if not isinstance(estimate, Mapping) or not isinstance(estimate.get("value"), (int, float)):
        return "-"
    bounds = (estimate.get("lower"), estimate.get("upper"))
    interval = " [" + ", ".join("-" if each is None else f"{each:.3f}" for each in bounds) + "]"
    return f"{estimate['value']:.3f}{interval} of {estimate.get('count', '-')}"


def agreement_lines(agreement: Mapping[str, Any]) -> dict[str, str]:
    """How often the champion's answers agree with the challenger's, and with its own to the same request."""
    lines = {}
    for beside, what in (("challenger", "agreement"), ("itself", "with itself")):
        figures = agreement.get(beside) or {}
        if figures.get("ratio"):
            distance = figures.get("score_distance")
            scores = f"; scores differ by {_estimate(distance)}" if distance else ""
            shift = figures.get("score_shift")
            apart = f"; PSI of scores {shift['psi']:.3g} (chance: up to {shift['threshold']:.3g})" if shift else ""
            lines[what] = f"{_estimate(figures['ratio'])} rows{scores}{apart}"
    return lines


def _traffic(traffic: Mapping[str, Any]) -> str:
    match traffic.get("mode"):
        case "canary":
            return f"canary, {traffic.get('share')} %"
        case "shadow" | "watch":
            return f"{traffic['mode']}, {traffic.get('mirror')} % mirrored"
        case _:
            return "champion alone"


def rules_line(rules: Sequence[Mapping[str, Any]]) -> str:
    """Which requests are forced to a role, and kept out of the trial."""
    return "; ".join(f"{rule.get('when')} to {rule.get('to')}" for rule in rules)


def _rollout(rollout: Mapping[str, Any] | None) -> str:
    if not rollout:
        return "none"
    steps, at = rollout.get("steps") or [], rollout.get("step")
    where = f", step {at + 1} of {len(steps)}" if rollout.get("active") and isinstance(at, int) and at >= 0 else ""
    paused = ", paused" if rollout.get("paused") else ""
    phase = str(rollout.get("phase", "")).replace("_", " ")
    return f"{version(rollout.get('version'))}: {phase}{where}{paused}"


def harm_of(rollout: Mapping[str, Any] | None) -> str:
    """The evidence of harm of all guardrails together against what it takes to roll back."""
    evidence = (rollout or {}).get("evidence") if (rollout or {}).get("active") else None
    return _against(evidence.get("combined_e"), evidence.get("threshold")) if isinstance(evidence, Mapping) else "-"


def _against(e: object, threshold: object) -> str:
    if not isinstance(e, int | float) or not isinstance(threshold, int | float):
        return "-"
    return f"{words.e_value(e)} of {threshold:,.0f}"


def evidence_lines(evidence: Mapping[str, Any]) -> list[str]:
    """The report on the evidence in its own words: the whole, then one line per guardrail and check."""
    lines = [_verdict("evidence", evidence)]
    guardrails = evidence.get("guardrails")
    each = (
        guardrails.items()
        if isinstance(guardrails, Mapping)
        else [(rail.get("name", "?"), rail) for rail in guardrails if isinstance(rail, Mapping)]
        if isinstance(guardrails, list)
        else []
    )
    each = [*each, *((check.get("name", "?"), check) for check in evidence.get("checks", ()))]
    return lines + [_verdict(f"  {name}", rail) for name, rail in each if isinstance(rail, Mapping)]


def _verdict(name: str, report: Mapping[str, Any]) -> str:
    said = [str(report[key]) for key in ("verdict", "reason") if report.get(key)]
    return plain(f"{name + ':':<15}{': '.join(said) or '-'}")
