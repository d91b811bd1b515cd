"""The record of facts and decisions."""

from router.control.ledger.errors import Fenced, LedgerUnavailable
from router.control.ledger.ledger import Ledger

__all__ = ["Fenced", "Ledger", "LedgerUnavailable"]
