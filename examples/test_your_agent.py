# ruff: noqa: S101, PLR2004  a test asserts, and compares with numbers
"""Testing your own agent against a provider that bills truthfully: no key, no network, no money.

    python -m pytest examples/test_your_agent.py

Always runs against the embedded provider: a test should cost the same every time, nothing.
"""

from collections.abc import Iterator

import pytest
from langchain_openai import ChatOpenAI

from budget_core import BudgetExhausted
from budget_core.testing import Provider, Reply
from budget_langchain import LangChainBudgetCallback


def summarize(model: ChatOpenAI, pages: list[str]) -> list[str]:
    """Stand in for your own agent: any code that calls a model."""
    return [str(model.invoke(f"Summarize in one sentence: {page}").text) for page in pages]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def model(provider: Provider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o-mini", base_url=provider.openai_url, api_key="test")


def test_the_report_is_the_bill(provider: Provider, model: ChatOpenAI) -> None:
    provider.script(Reply("One.", output_tokens=120), Reply("Two.", output_tokens=80))
    with LangChainBudgetCallback("$0.10") as budget:
        assert summarize(model, ["page one", "page two"]) == ["One.", "Two."]
    assert budget.session.spent_nanos == provider.bill_nanos > 0


def test_it_stops_within_its_budget(provider: Provider, model: ChatOpenAI) -> None:
    provider.default = Reply(output_tokens=1_000)
    with LangChainBudgetCallback("$0.005") as budget, pytest.raises(BudgetExhausted):
        summarize(model, [f"page {number}" for number in range(100)])
    assert 0 < provider.bill <= 0.005
    assert budget.session.spent_nanos == provider.bill_nanos


def test_a_retry_is_paid_for_once(provider: Provider, model: ChatOpenAI) -> None:
    provider.script(Reply(status=429, retry_after=0), Reply("Three."))
    with LangChainBudgetCallback("$0.10") as budget:
        assert summarize(model, ["page three"]) == ["Three."]
    assert provider.requests == 2
    assert budget.session.spent_nanos == provider.bill_nanos
