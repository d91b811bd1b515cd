import pytest
from with_ledger import with_ledger_at


@pytest.fixture
def with_ledger(tmp_path):
    """Runs `work(ledger, term)` with a real ledger and the lease on it."""
    return with_ledger_at(f"sqlite:///{tmp_path / 'ledger.db'}")
