"""What the tags of a version say about how its shot ended: when, by whom, by what evidence. Pure.

For people who look at the registry. Nothing of it is read back: what counts stands in the ledger, by the same digests.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from comparator.endings import Ending
from comparator.events import Decision

LONGEST: Final = 1000
"""Characters of a value: older servers of MLflow keep no more than 5,000 bytes."""


def ending_tags(ending: Ending, decision: Decision) -> dict[str, str]:
    """The tags that tell of one ending.

    Args:
        ending: the version and how its shot ended.
        decision: that ended it.
    """
    _, state = ending
    signers = ", ".join(str(each["name"]) for each in signatures_of(decision.evidence))
    return {
        f"titleshot.{state}_at": _moment(decision.at),
        f"titleshot.{state}_by": one_line(signers or decision.actor),
        f"titleshot.{state}_evidence": one_line(_evidence(decision)),
    }


def _moment(at: float) -> str:
    """ISO 8601, UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # no host's clock says this, but a ledger can be written to
        return repr(at)


def signatures_of(evidence: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The signatures that a decision's evidence has, as plain data: at least `name` of each."""
    signed = evidence.get("sign_off")
    signatures = signed.get("signatures") if isinstance(signed, Mapping) else None
    if not isinstance(signatures, list):
        return []
    return [each for each in signatures if isinstance(each, Mapping) and "name" in each]


def _evidence(decision: Decision) -> str:
    """Both digests come first: a sentence may be cut, they may not."""
    digests = (("evidence", decision.state_digest), ("policy", decision.policy_digest))
    named = ", ".join(f"{what} {digest}" for what, digest in digests if digest)
    return f"{named}: {decision.reason}" if named else decision.reason


def one_line(text: str) -> str:
    """What fits into a tag: printable, on one line, and cut."""
    plain = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 3] + "..."
