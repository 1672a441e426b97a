"""One budget for a LangGraph thread, however many processes it takes to finish it.

    python examples/langgraph_resume.py

The first process stops where the agent asks a person, and ends. The second goes on with the thread,
and with its budget: the messages are in SqliteSaver's file, the money in the ledger's.
Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command, interrupt

from budget_core.ledger import ledger_from
from budget_core.testing import Incoming, Provider, Reply, ToolCall
from budget_langchain import LangChainBudgetCallback

THREAD = "thread-42"


def approve(plan: str) -> str:
    """Ask a person whether a plan may be carried out."""
    return f"{plan}: {interrupt(plan)}"


def run(folder: str, step: str) -> None:
    """Be one of the processes: "start" the thread, or "resume" it."""
    where = json.loads(os.environ["ENDPOINT"])
    with (
        SqliteSaver.from_conn_string(f"{folder}/threads.db") as threads,
        LangChainBudgetCallback(
            "$0.05", name=THREAD, ledger=f"sqlite:///{folder}/budgets.db"
        ) as budget,
    ):
        agent = create_agent(ChatOpenAI(model="gpt-4o", **where), [approve], checkpointer=threads)
        question = {"messages": [("user", "Plan the heating of my house.")]}
        answer = agent.invoke(
            question if step == "start" else Command(resume="yes, do it"),
            {"configurable": {"thread_id": THREAD}},
        )
    waiting = "waits for a person" if "__interrupt__" in answer else answer["messages"][-1].text
    print(f"{step}: {waiting}; spent {budget.session.spent_nanos} nanos so far")


def planner(request: Incoming) -> Reply:
    """Play a model that asks before it acts."""
    if len(request.messages) > 1:
        return Reply("The heat pump is ordered.")
    return Reply("May I?", tool_calls=[ToolCall("approve", {"plan": "order a heat pump"})])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Provider().respond(planner) as provider:
        embedded = {"base_url": provider.openai_url, "api_key": "embedded"}
        where = {} if os.environ.get("OPENAI_API_KEY") else embedded
        for step in ("start", "resume"):
            subprocess.run(  # noqa: S603
                [sys.executable, str(Path(__file__)), folder, step],
                env={**os.environ, "ENDPOINT": json.dumps(where)},
                check=True,
            )
        if where:
            ledger = ledger_from(f"sqlite:///{folder}/budgets.db")
            spent, bill = ledger.balance(THREAD).spent.usd, provider.bill_nanos
            print(f"the thread spent {spent} nanos, the provider billed {bill - spent} more")


if __name__ == "__main__":
    if sys.argv[1:]:
        run(*sys.argv[1:])
    else:
        main()
