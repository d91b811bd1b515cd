"""One model's samples: what was counted of it, and what the judge says now."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from comparator.confirming import WEBHOOK
from comparator.events import DecisionKind, Role
from comparator.outside import Check
from comparator.phases import COMPARED
from comparator.policy import Guardrail
from comparator.scoreboard import VersionScore
from comparator.title import Title
from router.control import metric_table as names
from router.control.metric_page import Page
from router.control.tally import Tally


def serving_roles(title: Title) -> dict[int, Role]:
    """The version behind each role, the other way round."""
    serving = title.serving
    held = {serving.other: serving.other_role, serving.champion: Role.CHAMPION}
    return {version: role for version, role in held.items() if version is not None}


def totals(title: Title) -> dict[int, Mapping[str, int]]:
    """Labels joined so far, by version and outcome."""
    return {version: title.scoreboard.labelled(version) for version in title.scoreboard.versions}


def label_results(title: Title) -> Counter[str]:
    """What became of the model's labels so far."""
    pairing = title.pairing
    counts = (pairing.matched, pairing.duplicates, pairing.conflicts, pairing.invalid, pairing.expired)
    return Counter(dict(zip(names.LABEL_RESULTS, counts, strict=True))) + Counter(
        {names.REPEATED.name: pairing.repeated}
    )


def count_tally(page: Page, model: str, tally: Tally) -> None:
    """The counters."""
    for role, mode, outcome, count in tally.counted_requests():
        page.add(names.REQUESTS, count, model, role.name.lower(), mode.name.lower(), outcome.name.lower())
    for role in Role:
        name = role.name.lower()
        if role is not Role.PREVIOUS or tally.durations[role].any():  # it answers in a watch only, and buckets are many
            counts, seconds = tally.durations[role].tolist(), float(tally.duration_seconds[role])
            page.add_histogram(names.DURATION, counts, seconds, model, name, exemplars=tally.exemplars.of(role))
            counts, seconds = tally.first_bytes[role].tolist(), float(tally.first_byte_seconds[role])
            page.add_histogram(names.FIRST_BYTE, counts, seconds, model, name)
        for cell in names.JOINS:
            page.add(names.JOINED, tally.joined[role, cell], model, name, cell)
    for result in names.LABEL_RESULTS:
        page.add(names.LABELS, tally.labels[result], model, result)
    page.add(names.REPEATED, tally.labels[names.REPEATED.name], model)
    for reason in (*names.DROP_REASONS, *sorted(tally.dropped.keys() - set(names.DROP_REASONS))):
        page.add(names.DROPPED, tally.dropped[reason], model, reason)
    page.add(names.UNREADABLE, tally.unreadable, model)
    page.add(names.UNREAD, tally.unread, model)
    page.add(names.CLAMPED, tally.clamped, model)
    page.add_histogram(names.OVERHEAD, tally.overhead.counts, tally.overhead.seconds, model)
    page.add(names.REGISTRY_ERRORS, tally.registry_errors, model)


def show_title(page: Page, model: str, title: Title, last_tick: float, ready: frozenset[int]) -> None:
    """The gauges, and decisions by the triggers that the policy knows."""
    serving = title.serving
    other = serving.share / 100
    shares = {Role.CHAMPION: 0.0 if serving.champion is None else 1 - other, serving.other_role: other}
    for role in Role:
        page.add(names.SHARE, shares.get(role, 0.0), model, role.name.lower())
        mirrored = serving.mirror / 100 if role is serving.other_role else 0.0
        page.add(names.MIRRORED, mirrored, model, role.name.lower())
    for version, role in serving_roles(title).items():
        _score(page, model, role, title.scoreboard.score(version))
    page.add(names.LABELS_WAITING, title.pairing.labels_waiting, model)
    page.add(names.PREDICTIONS_WAITING, title.pairing.predictions_waiting, model)
    _agreement(page, model, title)
    _aliases(page, model, title, ready)
    _rollout(page, model, title, last_tick)
    if last_tick:
        page.add(names.TICKED, last_tick, model)


def count_decisions(page: Page, model: str, tally: Tally, title: Title | None) -> None:
    """Decisions by kind and trigger; what the policy can cause is there from the first scrape."""
    known = {(kind.value, names.NO_TRIGGER) for kind in DecisionKind}
    guardrails = [each.name for each in _judged_by(title)] if title is not None else []
    known |= {(DecisionKind.ROLL_BACK.value, trigger) for trigger in (*names.ROLLBACK_TRIGGERS, *guardrails)}
    known |= {
        (kind.value, trigger)
        for kind in (DecisionKind.NOTIFY, DecisionKind.ABORT)
        for trigger in names.PATIENCE_TRIGGERS
    }
    if title is not None and title.policy.outside.webhooks:
        known |= {(kind.value, WEBHOOK) for kind in (DecisionKind.CONFIRMED, DecisionKind.REJECT, DecisionKind.TOLD)}
    for kind, trigger in sorted(known | tally.decisions.keys()):
        page.add(names.DECIDED, tally.decisions[kind, trigger], model, kind, trigger)


def _judged_by(title: Title) -> tuple[Guardrail | Check, ...]:
    return (*title.policy.guardrails, *title.policy.outside.checks)


def _score(page: Page, model: str, role: Role, score: VersionScore) -> None:
    name = role.name.lower()
    for quantile, seconds in zip(names.QUANTILES, (score.p50, score.p99), strict=True):
        if seconds is not None and math.isfinite(seconds):
            page.add(names.LATENCY, seconds, model, name, quantile)
    if score.precision is not None:
        page.add(names.PRECISION, score.precision.value, model, name)
        page.add(names.PRECISION_LOWER, score.precision.lower, model, name)
        page.add(names.PRECISION_UPPER, score.precision.upper, model, name)


def _agreement(page: Page, model: str, title: Title) -> None:
    for beside, pairs in zip(names.BESIDE, (title.agreement.challenger, title.agreement.itself), strict=True):
        agreed = pairs.agreed(title.policy.alpha)
        if agreed.ratio is not None:
            page.add(names.AGREEMENT, agreed.ratio.value, model, beside)
            page.add(names.AGREEMENT_LOWER, agreed.ratio.lower, model, beside)
            page.add(names.AGREEMENT_UPPER, agreed.ratio.upper, model, beside)
        if agreed.score_distance is not None:
            page.add(names.SCORE_DISTANCE, agreed.score_distance.value, model, beside)
        if agreed.score_shift is not None:
            page.add(names.SCORE_PSI, agreed.score_shift.psi, model, beside)
            page.add(names.SCORE_PSI_THRESHOLD, agreed.score_shift.threshold, model, beside)


def _aliases(page: Page, model: str, title: Title, ready: frozenset[int]) -> None:
    page.add(names.AWAITED, title.awaited is not None, model)
    aliases = title.aliases
    if aliases is None:
        return
    for alias, version in zip(names.ALIASES, (aliases.champion, aliases.challenger, aliases.previous), strict=True):
        if version is not None:
            page.add(names.VERSION, 1, model, alias, str(version))
            page.add(names.READY, version in ready, model, alias)


def _rollout(page: Page, model: str, title: Title, last_tick: float) -> None:
    rollout = title.rollout
    for phase in names.PHASES:
        page.add(names.PHASE, phase == (rollout.phase.value if rollout is not None else "none"), model, phase)
    policy = rollout.policy if rollout is not None else title.policy
    page.add(names.STEP, rollout.step + 1 if rollout is not None else 0, model)
    page.add(names.STEPS, len(policy.steps), model)
    page.add(names.PAUSED, rollout is not None and rollout.active and rollout.paused, model)
    page.add(names.FROZEN, bool(title.rollbacks.frozen), model)
    page.add(names.UNTOLD, len(title.notices.as_data()), model)
    report = rollout.report(last_tick) if rollout is not None and last_tick and rollout.phase in COMPARED else None
    verdicts = {each.name: each for each in report.guardrails} if report is not None else {}
    for guardrail in policy.guardrails:
        each = verdicts.get(guardrail.name)
        for verdict in names.VERDICTS:
            now = each is not None and each.verdict.name.lower() == verdict
            page.add(names.GUARDRAIL, now, model, guardrail.name, verdict)
        if each is not None:
            page.add(names.EVIDENCE, each.harm_e, model, guardrail.name)
    found = {each.name: each.verdict.name.lower() for each in report.checks} if report is not None else {}
    for check in policy.outside.checks:
        for verdict in names.VERDICTS:
            page.add(names.CHECK, found.get(check.name) == verdict, model, check.name, verdict)
    for verdict in names.VERDICTS:
        page.add(names.VERDICT, report is not None and report.verdict.name.lower() == verdict, model, verdict)
    if report is not None:
        page.add(names.EVIDENCE_COMBINED, report.combined_e, model)
        page.add(names.EVIDENCE_THRESHOLD, report.threshold, model)
