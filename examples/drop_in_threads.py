"""Drop-in mode: code that knows nothing of budgets, in a thread pool, under one hard limit.

    python examples/drop_in_threads.py

Asks OpenAI if OPENAI_API_KEY is set, else a provider embedded in this process.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from openai import OpenAI

import budget_core
from budget_core import BudgetExhausted
from budget_core.testing import Provider, Reply

TOPICS = ("tides", "currents", "storm surges", "sea level", "waves", "salt", "ice", "fog")


def explain(client: OpenAI, topic: str) -> str:
    """Knows nothing of budgets."""
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": f"Explain {topic} in full."}]
    )
    return f"{topic}: {answer.usage.completion_tokens if answer.usage else '?'} tokens"


def tried(client: OpenAI, topic: str) -> str:
    try:
        return explain(client, topic)
    except BudgetExhausted:
        return f"{topic}: not sent, there is no money left for it"


@contextmanager
def model() -> Iterator[OpenAI]:
    if os.environ.get("OPENAI_API_KEY"):
        yield OpenAI()
    else:
        with Provider(default=Reply(output_tokens=998)) as provider:
            yield OpenAI(base_url=provider.openai_url, api_key="embedded")
            print(f"the provider's bill: ${provider.bill:.4f}")


def main() -> None:
    budget_core.init("$0.05")
    with model() as client, ThreadPoolExecutor(8) as pool:
        for line in pool.map(lambda topic: tried(client, topic), TOPICS):
            print(line)
    print(f"spent: ${budget_core.spent():.4f} of $0.0500")
    budget_core.teardown()


if __name__ == "__main__":
    main()
