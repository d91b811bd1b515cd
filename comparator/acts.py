"""What people may ask of a title, in which phase, and the decision that it calls for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from comparator.events import AliasMove, Command, CommandKind, Decision, DecisionKind
from comparator.rollout import Phase

if TYPE_CHECKING:
    from comparator.title import Title


class Refused(Exception):
    """A command that cannot be carried out now; the message says why."""


def asked_for(title: Title, command: Command) -> Decision:
    """The decision that a person's command calls for, endpoints not looked at.

    Raises:
        Refused: it cannot be carried out now.
    """
    rollout = title.rollout
    at, actor, reason = command.at, command.actor, command.reason
    running = rollout if rollout is not None and rollout.active else None
    match command.kind:
        case CommandKind.ROLL_BACK if running is None or command.to is not None:
            return _move_title_back(title, command)
        case CommandKind.ROLL_BACK if running is not None and running.phase is not Phase.ROLLING_BACK:
            return running.roll_back(at, reason or "rolled back by hand", actor, trigger="operator")
        case CommandKind.SIGN_OFF if running is not None and running.phase is Phase.SIGN_OFF:
            return running.promote(at, reason or "signed off", actor)
        case CommandKind.PROMOTE if running is not None and running.phase in (
            Phase.SHADOW,
            Phase.CANARY,
            Phase.SIGN_OFF,
        ):
            return running.promote(at, reason or "promoted by hand", actor)
        case CommandKind.ABORT if running is not None and running.phase in (
            Phase.HELD,
            Phase.SHADOW,
            Phase.CANARY,
            Phase.SIGN_OFF,
        ):
            return running.end(DecisionKind.ABORT, at, reason or "aborted by hand", actor)
        case CommandKind.PAUSE if running is not None and not running.paused:
            return running.toggle(DecisionKind.PAUSE, at, reason or "paused by hand", actor)
        case CommandKind.RESUME if running is not None and running.paused:
            return running.toggle(DecisionKind.RESUME, at, reason or "resumed by hand", actor)
        case CommandKind.UNFREEZE if title.rollbacks.frozen:
            return Decision(
                DecisionKind.UNFREEZE,
                at,
                0,
                title.champion or 0,
                reason or "rollouts may start again",
                actor,
                policy_digest=title.policy.digest,
            )
        case CommandKind.UNFREEZE:
            raise Refused("cannot unfreeze: nothing is frozen")
        case CommandKind.START if running is None and command.to is not None:
            if (command.to, title.policy.digest) not in title.finished:
                raise Refused(f"version {command.to} has not had its shot under this policy: set @challenger to it")
            return Decision(
                DecisionKind.RETRY,
                at,
                0,
                command.to,
                reason or "another try",
                actor,
                policy_digest=title.policy.digest,
            )
    state = f"the rollout of version {rollout.version} is {rollout.phase.value}" if rollout else "there is no rollout"
    raise Refused(
        f"cannot {command.kind.value.replace('_', ' ')}: {state}{' (paused)' if running and running.paused else ''}"
    )


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
    move = AliasMove(expected=champion, to=target)
    reason = command.reason or "rolled back by hand"
    if rollout is not None and rollout.phase is not Phase.ROLLING_BACK:
        return replace(rollout.roll_back(command.at, reason, command.actor, trigger="operator"), move=move)
    return Decision(
        DecisionKind.ROLL_BACK,
        command.at,
        rollout_id=0,
        version=target,
        reason=reason,
        actor=command.actor,
        move=move,
        trigger="operator",
        policy_digest=title.policy.digest,
    )
