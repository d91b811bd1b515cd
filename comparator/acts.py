"""What people may ask of a title, in which phase, and the decision that it calls for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from comparator.events import AliasMove, Command, CommandKind, Decision, DecisionKind
from comparator.phases import BEFORE_TITLE, COMPARED, Phase
from comparator.rollout import Rollout
from comparator.sign_off import not_allowed, sign, signing, turned, void

if TYPE_CHECKING:
    from comparator.title import Title


LATELY_SECONDS = 60.0
"""So long after a rollback a second one has to say what it is about: it may be the same, sent again."""


FORWARD = frozenset({CommandKind.SIGN_OFF, CommandKind.PROMOTE, CommandKind.RESUME, CommandKind.START})
"""What gives a challenger traffic, or the title."""


class Refused(Exception):
    """A command that cannot be carried out now; the message says why."""


class NotEntitled(Refused):
    """The policy does not let this person do it, whatever their token's rights."""


class NotOnTrial(Refused):
    """An alert, and nothing that it could be about."""


def asked_for(title: Title, command: Command) -> Decision:
    """The decision that a person's command calls for, endpoints not looked at.

    Raises:
        Refused: it cannot be carried out now.
    """
    rollout = title.rollout
    verb = command.kind.value.replace("_", " ")
    if not command.reason.strip():
        raise Refused(f"cannot {verb}: expected a reason, which is kept with the decision")
    running = rollout if rollout is not None and rollout.active else None
    if title.lane is not None and (forbidden := title.lane.forbids(command)) is not None:
        raise Refused(f"cannot {verb}: {forbidden}")
    if title.fault and command.kind in FORWARD:
        raise Refused(f"cannot {verb}: {title.fault}; roll back or abort, or restart titleshot, which takes it again")
    if command.kind is CommandKind.ROLL_BACK:
        _as_seen(title, running, command)
    match command.kind:
        case CommandKind.ROLL_BACK if title.lane is None and (running is None or command.to is not None):
            return _move_title_back(title, command)
        case CommandKind.ALERT:
            return _alerted(running, command)
        case CommandKind.UNFREEZE if title.rollbacks.frozen:
            return Decision(
                DecisionKind.UNFREEZE,
                command.at,
                0,
                title.champion or 0,
                command.reason,
                command.actor,
                policy_digest=title.policy.digest,
            )
        case CommandKind.UNFREEZE:
            raise Refused("cannot unfreeze: nothing is frozen")
        case CommandKind.START if running is None and command.to is not None:
            return _started_again(title, command, command.to)
    decided = _of_rollout(title, running, command) if running is not None else None
    if decided is not None:
        return decided
    state = f"the rollout of version {rollout.version} is {rollout.phase.value}" if rollout else "there is no rollout"
    raise Refused(f"cannot {verb}: {state}{' (paused)' if running and running.paused else ''}")


def _as_seen(title: Title, running: Rollout | None, command: Command) -> None:
    """Refuse to roll back what the person did not see: sent twice, it would go one version further back."""
    on_trial = running.version if running is not None else 0
    for what, seen, now in (("champion", command.champion, title.champion), ("trial", command.on_trial, on_trial)):
        if seen is not None and seen != (now or 0):
            named = f"version {now}" if now else "no version"
            where = "the champion" if what == "champion" else "on trial"
            raise Refused(f"cannot roll back: {named} is {where} by now, not {f'version {seen}' if seen else 'none'}")


def _of_rollout(title: Title, running: Rollout, command: Command) -> Decision | None:
    """What a command means for the rollout under way; None: nothing, in this phase."""
    at, actor, reason = command.at, command.actor, command.reason
    match command.kind:
        case CommandKind.ROLL_BACK if running.phase is not Phase.ROLLING_BACK:
            return running.roll_back(at, reason, actor, trigger="operator")
        case CommandKind.SIGN_OFF if running.phase is Phase.SIGN_OFF and running.paused:
            raise Refused("cannot sign off: the rollout is paused; resume it first")
        case CommandKind.SIGN_OFF if running.phase is Phase.SIGN_OFF:
            return _signed_off(title, running, command)
        case CommandKind.REJECT if running.phase is Phase.SIGN_OFF:
            return running.reject(at, reason, actor)
        case CommandKind.PROMOTE if running.phase in BEFORE_TITLE and running.paused:
            raise Refused("cannot promote: the rollout is paused; resume it first")
        case CommandKind.PROMOTE if running.phase in BEFORE_TITLE and running.phase is not Phase.HELD:
            if running.policy.by_rule:
                raise NotEntitled(
                    "cannot promote: the policy says who signs off; sign off, once the rollout waits for it"
                )
            return running.promote(at, reason, actor)
        case CommandKind.ABORT if running.phase in BEFORE_TITLE:
            return running.end(DecisionKind.ABORT, at, reason, actor)
        case CommandKind.PAUSE if not running.paused:
            return running.toggle(DecisionKind.PAUSE, at, reason, actor)
        case CommandKind.RESUME if running.paused:
            return running.toggle(DecisionKind.RESUME, at, reason, actor)
    return None


def _started_again(title: Title, command: Command, version: int) -> Decision:
    digest = title.policy.digest
    if (version, digest) not in title.finished:
        raise Refused(f"version {version} has not had its shot under this policy: set @{title.alias} to it")
    if title.lane is not None and (title.aliases is None or title.aliases.challenger != version):
        raise Refused(f"@{title.alias} does not name version {version}: set it, and its rollout starts")
    return Decision(DecisionKind.RETRY, command.at, 0, version, command.reason, command.actor, policy_digest=digest)


def _signed_off(title: Title, rollout: Rollout, command: Command) -> Decision:
    """A signature under what was on the screen: the last one that is needed promotes."""
    rules = rollout.policy.sign_off
    screen = title.shown.find(command.at, command.evidence) if command.evidence else None
    report = rollout.report(command.at)
    if not command.evidence:
        problem: str | None = "expected the digest of the evidence that you looked at"
    elif screen is None:
        problem = "the evidence of this digest was not shown lately: look again"
    else:
        problem = turned(screen, rollout.rollout_id, rollout.step, report)
    standing = () if void(rollout.signatures, rollout.step, report) else rollout.signatures
    if rules is not None and problem is None:
        forbidden = not_allowed(rules, command.actor, _registrants(title, rollout), standing)
        if forbidden is not None:
            raise NotEntitled(f"cannot sign off: {forbidden}")
    if screen is None or problem is not None:
        raise Refused(f"cannot sign off: {problem}")
    signed = (*standing, sign(command.actor, command.at, screen))
    enough = rules is None or len(signed) >= rules.people
    decided = (rollout.promote if enough else rollout.signed)(command.at, command.reason, command.actor)
    return replace(decided, evidence={**decided.evidence, "sign_off": signing(signed, screen)})


def _registrants(title: Title, rollout: Rollout) -> tuple[str, ...]:
    """Who registered the version: as the registry said when its rollout began, and as it says now."""
    now = title.aliases.versions.get(rollout.version) if title.aliases is not None else None
    return (*rollout.subject.registered_by, *(now.registered_by if now is not None else ()))


def _alerted(rollout: Rollout | None, command: Command) -> Decision:
    if rollout is None or rollout.phase not in COMPARED:
        raise NotOnTrial("nothing is on trial")
    if command.since < rollout.started_at:
        raise NotOnTrial(f"it began before version {rollout.version} was on trial, and says nothing of it")
    return rollout.roll_back(command.at, command.reason, command.actor, trigger="alert")


def _taken_out(title: Title) -> tuple[str, float]:
    """What was taken out last, and when: a rollback just after may be meant for it."""
    rollback = "there was a rollback", title.rollbacks.latest_at
    rollout = title.rollout
    if rollout is None or rollout.last is None or rollout.last.kind is DecisionKind.FOREIGN_MOVE:
        return rollback
    if rollout.phase not in (Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED):
        return rollback
    return max(rollback, (f"version {rollout.version} was taken out", rollout.last.at), key=lambda each: each[1])


def _move_title_back(title: Title, command: Command) -> Decision:
    champion = title.champion
    if champion is None and title.aliases is not None:
        raise Refused("cannot roll back: there is no champion; set @champion in the registry")
    if champion is None or (title.aliases is None and command.to is None):
        raise Refused("cannot roll back: the registry has not been read yet; name a version")
    if title.pending is not None:
        raise Refused(f"cannot roll back: a move of @champion to version {title.pending.to} is under way")
    target = command.to if command.to is not None else title.way_back
    if target is None:
        raise Refused("cannot roll back: there is no @previous; name a version")
    if target == champion:
        raise Refused(f"cannot roll back: version {target} is the champion already")
    if command.to is None and title.rejected(target):
        raise Refused(f"cannot roll back: @previous is version {target}, which was rejected; name a version")
    rollout = title.rollout if title.rollout is not None and title.rollout.active else None
    if rollout is not None and rollout.version == target:
        raise Refused(f"cannot roll back: version {target} is on trial; promote it, or roll it back first")
    previous = title.aliases.previous if title.aliases is not None else None
    policies = [title.policy, *([rollout.policy] if rollout is not None else [])]
    if any(policy.sign_off is not None for policy in policies) and target not in title.held | {previous}:
        raise Refused(
            f"cannot roll back: nothing says that version {target} ever had the title, and the policy asks for a "
            "sign-off; setting @champion in the registry is the way past it"
        )
    what, at = _taken_out(title)
    seen = command.champion is not None or command.on_trial is not None
    if command.to is None and not seen and 0 <= command.at - at < LATELY_SECONDS:
        raise Refused(
            f"cannot roll back: {what} {command.at - at:.0f} s ago, and version {champion} serves; name a version "
            "to go further back"
        )
    move = AliasMove(expected=champion, to=target)
    if rollout is not None and rollout.phase is not Phase.ROLLING_BACK:
        return replace(rollout.roll_back(command.at, command.reason, command.actor, trigger="operator"), move=move)
    return Decision(
        DecisionKind.ROLL_BACK,
        command.at,
        rollout_id=0,
        version=target,
        reason=command.reason,
        actor=command.actor,
        move=move,
        trigger="operator",
        policy_digest=title.policy.digest,
    )
