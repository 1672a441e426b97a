import contextlib

import openai
import pytest

from budget_core import AgentBudget
from budget_core.calls import context
from budget_core.sdk import installing

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say hello."}]}


@pytest.fixture(autouse=True)
def _guarded():
    held = installing.GuardLease()
    yield
    held.release()


@pytest.fixture
def client(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test") as client:
        yield client


@pytest.fixture
async def async_client(provider):
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="test") as client:
        yield client


@pytest.fixture
def claiming(provider):
    """Open a session that claims every SDK call; afterwards hold it against the bill."""

    @contextlib.contextmanager
    def claim(budget="$1", *, exact=True, books=True, ambient=True, **settings):
        settings.setdefault("max_repeated_calls", None)
        session = AgentBudget(budget, **settings).session()
        if ambient:
            context.guard(session)
        try:
            yield session
        finally:
            context.unguard(session)
        provider.wait_idle()
        assert session.reserved == 0
        assert session.ledger.verify() == []
        if not books:
            return
        assert provider.bill_nanos <= session.spent_nanos
        if exact:
            assert provider.bill_nanos == session.spent_nanos

    return claim


@pytest.fixture
def chat():
    return dict(CHAT)
