"""The record of facts and decisions."""

from router.control.ledger.errors import Fenced, LedgerUnavailable
from router.control.ledger.ledger import Ledger
from router.control.ledger.refused import RefusedAct

__all__ = ["Fenced", "Ledger", "LedgerUnavailable", "RefusedAct"]
