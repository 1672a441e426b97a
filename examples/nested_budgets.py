"""A team shares a budget; each member has a part of it, and nobody can spend a sibling's.

    python examples/nested_budgets.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from langchain_openai import ChatOpenAI

from budget_core import AgentBudget, BudgetExhausted, BudgetSession
from budget_core.testing import Provider, Reply
from budget_langchain import LangChainBudgetCallback


@contextmanager
def endpoint() -> Iterator[dict[str, Any]]:
    if os.environ.get("OPENAI_API_KEY"):
        yield {}
    else:
        with Provider(default=Reply("A paragraph.", output_tokens=400)) as provider:
            yield {"base_url": provider.openai_url, "api_key": "embedded"}


def write(member: str, session: BudgetSession, model: ChatOpenAI) -> str:
    paragraphs = 0
    with session, LangChainBudgetCallback(session=session) as budget:
        try:
            for number in range(100):
                model.invoke(f"Paragraph {number} by {member}", {"callbacks": [budget]})
                paragraphs += 1
        except BudgetExhausted:
            pass
    return f"{member}: {paragraphs} paragraphs for ${session.spent:.4f} of ${session.limit:.4f}"


def main() -> None:
    shares = {"editor": "$0.002", "author": "$0.004", "critic": "$0.001"}
    with (
        endpoint() as where,
        AgentBudget("$0.007").session("team") as team,
        ThreadPoolExecutor() as pool,
    ):
        model = ChatOpenAI(model="gpt-4o-mini", **where)
        members = [
            pool.submit(write, name, team.child_session(share, name=name, allocate=True), model)
            for name, share in shares.items()
        ]
        for member in members:
            print(member.result())
    print(f"team: ${team.spent:.4f} of ${team.limit:.4f}")


if __name__ == "__main__":
    main()
