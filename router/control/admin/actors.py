"""Who may do what: roles, bearer tokens from a file, and the local operator.

| role | may |
| --- | --- |
| viewer | read: status, history, metrics |
| labeller | read; send labels |
| operator | read; roll back, pause, resume, abort, start |
| approver | what an operator may; promote, sign off, reject, unfreeze |
| recorder | read; record what clients ask, and what was answered |
| gate | read; report on the gate in staging: for CI pipelines |
| pager | let alerts roll back what is on trial; nothing else, not even read |
| admin | everything |

Labels are a right of their own, which operators do not have: whoever may write labels can make the evidence.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from comparator.events import JUDGE
from comparator.sign_off import NOBODY
from comparator.title import REGISTRY


class Right(str, Enum):
    """What can be asked for."""

    READ = "read"
    LABEL = "label"
    OPERATE = "operate"
    APPROVE = "approve"
    GATE = "report on the gate"
    ALERT = "send alerts"
    RECORD = "record traffic"
    ADMINISTER = "administer"


class ActorRole(str, Enum):
    """What an actor is; `Role` in comparator.events is what a version is."""

    VIEWER = "viewer"
    LABELLER = "labeller"
    OPERATOR = "operator"
    APPROVER = "approver"
    RECORDER = "recorder"
    GATE = "gate"
    PAGER = "pager"
    ADMIN = "admin"


RIGHTS: Mapping[ActorRole, frozenset[Right]] = {
    ActorRole.VIEWER: frozenset({Right.READ}),
    ActorRole.LABELLER: frozenset({Right.READ, Right.LABEL}),
    ActorRole.OPERATOR: frozenset({Right.READ, Right.OPERATE}),
    ActorRole.APPROVER: frozenset({Right.READ, Right.OPERATE, Right.APPROVE}),
    ActorRole.RECORDER: frozenset({Right.READ, Right.RECORD}),
    ActorRole.GATE: frozenset({Right.READ, Right.GATE}),
    ActorRole.PAGER: frozenset({Right.ALERT}),
    ActorRole.ADMIN: frozenset(Right),
}
"""Role -> rights; the table above."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who was recognised, and what they may do."""

    name: str
    rights: frozenset[Right]


LOCAL = Actor(NOBODY, frozenset(Right))
"""Whoever can open a loopback connection, where the settings leave it at that."""


RESERVED = frozenset({JUDGE, REGISTRY})
"""Actors in the records that are no people."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the tokens file.

    A token is 256 random bits, so that nobody can guess it from its hash, however fast the hash: SHA-256 is enough, and
    a slow hash, which protects passwords that people choose, would only let strangers burn our CPU. The salt keeps
    equal tokens from looking equal.
    """

    actor: Actor
    salt: bytes
    digest: bytes

    def matches(self, token: bytes) -> bool:
        """Whether this is the token; takes the same time for every token of a length."""
        return hmac.compare_digest(hash_token(self.salt, token), self.digest)


def hash_token(salt: bytes, token: bytes) -> bytes:
    """SHA-256 over salt and token."""
    return hashlib.sha256(salt + token).digest()


def find(entries: Iterable[Entry], token: bytes) -> Actor | None:
    """Whose token this is; always looks at all entries."""
    found: Actor | None = None
    for entry in entries:
        if entry.matches(token):
            found = entry.actor
    return found


def rights_of(roles: Iterable[ActorRole]) -> frozenset[Right]:
    """All rights of these roles together."""
    return frozenset(right for role in roles for right in RIGHTS[role])


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be shown once, and the line that makes it valid."""

    token: str
    line: str

    def __repr__(self) -> str:  # the token must not reach a log by accident
        return f"NewToken(line={self.line!r})"


def new_token(name: str, roles: Sequence[ActorRole]) -> NewToken:
    """Make a token of 256 random bits for an actor.

    Args:
        name: of the actor, as decisions will carry it.
        roles: at least one role.

    Returns:
        The token, for its owner, and the line for the tokens file, which does not give it away.

    Raises:
        ValueError: a name that `check_name` refuses, or no role.
    """
    check_name(name)
    if not roles:
        raise ValueError(f"expected at least one role of {', '.join(role.value for role in ActorRole)}")
    token = f"titleshot_{secrets.token_urlsafe(32)}"  # the prefix lets secret scanners recognise it
    salt = secrets.token_bytes(16)
    listed = ", ".join(role.value for role in roles)
    digest = hash_token(salt, token.encode())
    return NewToken(token, f'- {{name: "{name}", roles: [{listed}], token: "sha256:{salt.hex()}:{digest.hex()}"}}')


def check_name(name: str) -> None:
    """Raise ValueError unless this can be an actor's name: 1 to 64 letters, digits and any of . _ @ -, none of ours."""
    if name in RESERVED:
        raise ValueError(f"expected another name than {name}, which records use for titleshot's own acts")
    if not 1 <= len(name) <= 64 or not all(sign.isascii() and (sign.isalnum() or sign in "._@-") for sign in name):
        raise ValueError(f"expected a name of 1 to 64 letters, digits and any of . _ @ -, not {name!r}")
