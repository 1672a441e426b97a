"""A budget by hand: wrap what an LLM answered, track what a tool cost, look before you leap.

    python examples/manual_session.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from openai import OpenAI

from budget_core import AgentBudget, BudgetExhausted, BudgetSession
from budget_core.testing import Provider, Reply


@contextmanager
def client() -> Iterator[OpenAI]:
    if os.environ.get("OPENAI_API_KEY"):
        yield OpenAI()
    else:
        with Provider(
            default=Reply("Tides are driven by the moon.", output_tokens=180)
        ) as provider:
            yield OpenAI(base_url=provider.openai_url, api_key="embedded")


def research(openai: OpenAI, session: BudgetSession) -> None:
    @session.track_tool(cost=0.002)
    def look_up(topic: str) -> str:
        return f"three articles about {topic}"

    for topic in ("tides", "currents", "storm surges", "sea level", "waves"):
        if session.would_exceed(0.003):
            print(f"stopping before {topic!r}: ${session.remaining:.4f} left")
            return
        answer = session.wrap(
            openai.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"Explain {look_up(topic)}."}],
            )
        )
        print(f"{topic}: {answer.choices[0].message.content}")


def main() -> None:
    budget = AgentBudget("$0.01", soft_limit=0.5, on_soft_limit=lambda _: print("half is gone"))
    with client() as openai, budget.session("ocean-report") as session:
        research(openai, session)
        try:
            session.track("a map", cost="$0.05", tool_name="map_service")
        except BudgetExhausted as error:
            print(f"too dear, but paid and kept: {error.result}")
    print(json.dumps(session.report()["breakdown"], indent=2))


if __name__ == "__main__":
    main()
