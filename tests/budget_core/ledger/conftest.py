import pytest

from budget_core.ledger import MemoryLedger

BACKENDS = {"memory": MemoryLedger}


@pytest.fixture(params=sorted(BACKENDS))
def ledger(request):
    return BACKENDS[request.param]()
