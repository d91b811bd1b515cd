"""What a ledger can refuse."""

from __future__ import annotations


class LedgerUnavailable(Exception):
    """Nothing was written, or nothing can be read, now: disk full, locked, closed, not a database of ours.

    The same call may succeed later; the message is for people.
    """


class Fenced(Exception):
    """The fencing term is no longer the lease's: another leader has taken over, and nothing was written."""
