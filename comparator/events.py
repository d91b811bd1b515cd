"""The facts that the judge receives and the decisions that it makes.

Facts about traffic are columns (numpy structured arrays), because there are many of them; facts about people and the
registry are small frozen objects, because there are few. Nothing here knows where a fact came from.
"""

from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray

OBSERVATION_SCHEMA = 2


class Role(IntEnum):
    """Which alias's version served a request."""

    CHAMPION = 0
    CHALLENGER = 1
    PREVIOUS = 2  # only as the reference of a watch


class Mode(IntEnum):
    """How the two versions shared the traffic when a request was served."""

    NONE = 0  # no rollout: the champion alone
    SHADOW = 1  # the challenger answers a copy
    CANARY = 2  # the challenger answers a share of the clients
    WATCH = 3  # after promotion: the previous champion answers a copy as the reference
    FORCED = 4  # a routing rule chose the role; left out of the evidence
    TWICE = 5  # in a shadow, the champion is asked the same once more, instead of the challenger; no evidence
    AGAIN = 6  # that second answer of the champion's, which reaches nobody; no evidence


class Outcome(IntEnum):
    """What became of one exchange with a model server."""

    OK = 0
    CLIENT_ERROR = 1  # 4xx from the model server
    SERVER_ERROR = 2  # 5xx from the model server
    TIMEOUT = 3  # a deadline passed
    CONNECT = 4  # no connection, or refused
    BROKEN = 5  # the answer broke off, or was no HTTP
    GARBAGE = 6  # 2xx, but no prediction could be read in it
    CANCELLED = 7  # the client went away: says nothing about the version
    LOST_RACE = 8  # the server closed an idle connection as the request was sent: says nothing about the version


NO_EVIDENCE = frozenset({Outcome.CANCELLED, Outcome.LOST_RACE})
"""Outcomes that neither count for nor against a version."""

OBSERVATION = np.dtype(
    [
        ("at", "<f8"),  # seconds since the epoch, when the outcome became known
        ("rollout_id", "<u8"),  # 0: no rollout
        ("request_hi", "<u8"),  # the 128-bit request id, upper half
        ("request_lo", "<u8"),
        ("row", "<u4"),  # which row of the request; latency and outcome are told by row 0
        ("version", "<u4"),
        ("role", "u1"),
        ("mode", "u1"),
        ("attempted_both", "?"),  # the other version was asked the same request
        ("shed", "?"),  # it was to be asked too, but its copy was shed
        ("copy_first", "?"),  # the copy was sent before the client's request
        ("outcome", "u1"),
        ("first_byte", "<f4"),  # seconds until the answer's body began; NaN: no answer came
        ("latency", "<f4"),  # seconds until the answer's end (or the failure)
        ("prediction", "<f8"),  # NaN: none
        ("score", "<f8"),  # NaN: none
    ]
)
"""One version's outcome for one row of one request. Schema version: OBSERVATION_SCHEMA."""

LABEL = np.dtype([("at", "<f8"), ("request_hi", "<u8"), ("request_lo", "<u8"), ("row", "<u4"), ("label", "<f8")])
"""Delayed ground truth for one row of one request; `at` is when it was received."""

Columns = NDArray[np.void]


def request_key(text: str) -> int:
    """The 128-bit join key of a request id as clients write it.

    A UUID is its own key; any other text is hashed (BLAKE2b, RFC 7693), so that a client's own ids can be the key too.
    """
    if len(text) in (32, 36):
        try:
            return uuid.UUID(text).int
        except ValueError:
            pass
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


@dataclass(frozen=True, slots=True)
class Observations:
    """A batch of observations of one model, in order of arrival: dtype OBSERVATION, shape (n,)."""

    columns: Columns


@dataclass(frozen=True, slots=True)
class Labels:
    """A batch of labels of one model, in order of arrival: dtype LABEL, shape (n,)."""

    columns: Columns


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check of the policy found, when it was asked for in a step of a rollout.

    `challenger` and `champion` are the figures of the version on trial and of its reference; None: no answer, for which
    `problem` says why (or, of the champion's, the check does not compare).
    """

    at: float
    rollout_id: int
    step: int
    check: str
    challenger: float | None = None
    champion: float | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; the judge has no clock of its own.

    `deaf`: what was answered before may not have been heard. Nobody listened, or it waits for the ledger.
    """

    at: float
    deaf: bool = False


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What the registry knows of one version; `offline` are its evaluation metrics by name."""

    version: int
    offline: Mapping[str, float] = field(default_factory=dict)
    git_sha: str | None = None
    data_hash: str | None = None
    registered_by: tuple[str, ...] = ()  # who registered it, as far as the registry says


@dataclass(frozen=True, slots=True)
class AliasesRead:
    """The aliases as the registry names them now, and what it knows of the versions that they name."""

    at: float
    champion: int | None
    challenger: int | None
    previous: int | None
    versions: Mapping[int, VersionFacts] = field(default_factory=dict)
    ready: frozenset[int] = frozenset()  # versions whose endpoint answered its last readiness probe


class CommandKind(str, Enum):
    """What a person can ask for."""

    SIGN_OFF = "sign_off"
    REJECT = "reject"  # turn down a rollout that waits for a sign-off
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    ALERT = "alert"  # of a monitoring system: roll back what is on trial, and nothing else
    START = "start"  # try the challenger again that had its shot before
    UNFREEZE = "unfreeze"  # let rollouts start again after too many rollbacks


@dataclass(frozen=True, slots=True)
class Command:
    """A person's act.

    Args:
        at: when.
        kind: what is asked for.
        actor: who asks.
        reason: why; has to be said.
        to: the version that a rollback goes to, where the person named one.
        evidence: of a sign-off: the digest of the evidence that was on the screen.
        since: of an alert: when it began to fire.
        champion: of a rollback: who the person saw serve; None: not said.
        on_trial: of a rollback: the version that the person saw on trial, 0 for none; None: not said.
    """

    at: float
    kind: CommandKind
    actor: str
    reason: str = ""
    to: int | None = None
    evidence: str = ""
    since: float = math.inf
    champion: int | None = None
    on_trial: int | None = None


@dataclass(frozen=True, slots=True)
class BreakerTripped:
    """The probes after the breaker's wait found the challenger still failing, on a worker of the data plane."""

    at: float
    rollout_id: int
    failed: int
    seen: int


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What a webhook answered when it was asked to confirm a step of a rollout.

    `what` is `confirm_start` or `confirm_promote`, `verdict` is pass, fail or inconclusive; so is no answer. It counts
    for the step and the policy that it was asked about.
    """

    at: float
    rollout_id: int
    step: int
    policy_digest: str
    what: str
    webhook: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Notified:
    """A webhook was told of the rollback `id`; `problem`: it was not, and why."""

    at: float
    id: str
    webhook: str
    reason: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One move of @champion: from the version expected there to another."""

    expected: int
    to: int


@dataclass(frozen=True, slots=True)
class Gated:
    """A report of the gate in staging has come in; whether it is one and fits is judged where it is received.

    Args:
        at: when, in seconds since the epoch.
        actor: who sent it.
        report: plain data, as `router.staging.report` has it.
    """

    at: float
    actor: str
    report: Mapping[str, object]


class DecisionKind(str, Enum):
    """What the judge decides, or takes note of."""

    HOLD = "hold"  # a challenger was named, but its rollout may not start yet
    START = "start"
    ADVANCE = "advance"
    CONFIRMED = "confirmed"  # a webhook that the policy names says that it may go on
    AWAIT_SIGN_OFF = "await_sign_off"
    SIGNED = "signed"  # one of several people who have to
    UNSIGNED = "unsigned"  # what was signed says something else by now: those signatures are void
    REJECT = "reject"  # a person, or a webhook that the policy names, turned it down
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"
    MOVED = "moved"  # the registry confirmed our move of @champion, or the clean-up after a rollback
    FINISH = "finish"  # the watch is over
    ABORT = "abort"
    SUPERSEDE = "supersede"  # another challenger was named in mid-rollout
    FOREIGN_MOVE = "foreign_move"  # somebody else moved @champion
    RETRY = "retry"  # a person gives a version that had its shot another one
    PAUSE = "pause"
    RESUME = "resume"
    NOTIFY = "notify"  # something did not come in time; the trigger says what
    UNFREEZE = "unfreeze"  # a person lets rollouts start again
    TOLD = "told"  # a webhook that the policy names was told of a rollback
    GATED = "gated"  # the gate in staging has reported on a version


JUDGE = "titleshot"
"""The actor of a decision that nobody but the judge made."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision, with all that it rests on. Recorded in the ledger, then received back by the state machine.

    `evidence` is plain data (str, float, int, bool, None, lists, dicts), as `Report.as_data` gives it. `state_digest`
    is the SHA-256 of the state of the evidence that it was made from, which is kept too; "": it was made from none.
    """

    kind: DecisionKind
    at: float
    rollout_id: int  # 0: not about a rollout
    version: int  # on trial; for moves of the title without a rollout the version moved to
    reason: str
    actor: str = JUDGE
    phase: str = ""  # the phase that it leads to (a Phase value), where it is about a rollout
    step: int = -1  # the step that it enters
    move: AliasMove | None = None
    trigger: str = ""  # the guardrail that tipped it; of NOTIFY and ABORT by the judge: a trigger of `patience`
    policy_digest: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)
    state_digest: str = ""


Fact = (
    Observations
    | Labels
    | CheckResult
    | Tick
    | AliasesRead
    | Command
    | BreakerTripped
    | Confirmation
    | Notified
    | Gated
    | Decision
)
