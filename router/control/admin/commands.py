"""What people may ask for on the admin port, and the right that it takes."""

from __future__ import annotations

from comparator.events import CommandKind
from router.control.admin.actors import Right

LONGEST_REASON = 500

COMMANDS: dict[str, tuple[CommandKind, Right]] = {
    "rollback": (CommandKind.ROLL_BACK, Right.OPERATE),
    "pause": (CommandKind.PAUSE, Right.OPERATE),
    "resume": (CommandKind.RESUME, Right.OPERATE),
    "abort": (CommandKind.ABORT, Right.OPERATE),
    "start": (CommandKind.START, Right.OPERATE),
    "promote": (CommandKind.PROMOTE, Right.APPROVE),
    "sign-off": (CommandKind.SIGN_OFF, Right.APPROVE),
    "reject": (CommandKind.REJECT, Right.APPROVE),
    "unfreeze": (CommandKind.UNFREEZE, Right.APPROVE),
}
"""POST /models/{name}/KEY -> what is asked for, and the right that it takes."""


def legal_reason(text: str) -> bool:
    """Whether it can be kept with a decision: one line of printable characters, and not too long."""
    return 0 < len(text) <= LONGEST_REASON and text.isprintable()
