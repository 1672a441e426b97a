"""What waiting for money costs: processor time, and how often the ledger is asked.

Run: ``python benchmarks/waiting.py [waiters]``. So many tasks want one call each, in a budget that
pays for two at a time; then ten times as many are cancelled while they wait.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from time import process_time

from budget_core import AgentBudget, CallRequest, MemoryLedger, Usage, register_model
from budget_core.ledger import Denial, Hold
from budget_core.money.amounts import Amounts

REQUEST = CallRequest(model="penny", input_tokens=0, output_cap=1_000)
MOST = {"in turns": 2.0, "cancelled": 10.0}


class CountingLedger(MemoryLedger):
    """Counts how often it is asked to hold."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        """Hold, and count."""
        self.asked["reserve"] += 1
        return super().reserve(hold_id, accounts, amounts, final=final)


async def in_turns(waiters: int, ledger: CountingLedger) -> None:
    session = AgentBudget("$0.02", ledger=ledger).session()

    async def work() -> None:
        call = await session.open_call_async(REQUEST, wait=600)
        await asyncio.sleep(0)
        call.settle(Usage(output=1, input=0))

    await asyncio.gather(*(work() for _ in range(waiters)))
    assert session.reserved == 0


async def cancelled(waiters: int, ledger: CountingLedger) -> None:
    session = AgentBudget("$0.02", ledger=ledger).session()
    held = [await asyncio.create_task(session.open_call_async(REQUEST)) for _ in range(2)]
    tasks = [
        asyncio.create_task(session.open_call_async(REQUEST, wait=600)) for _ in range(waiters)
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for call in held:
        call.release()
    assert session.reserved == 0


def main() -> None:
    waiters = int(sys.argv[1]) if sys.argv[1:] else 1_000
    register_model("penny", 0, 10, max_output_tokens=16_384)
    for many, work in ((waiters, in_turns), (10 * waiters, cancelled)):
        ledger, began = CountingLedger(), process_time()
        asyncio.run(work(many, ledger))
        seconds, name = process_time() - began, work.__name__.replace("_", " ")
        print(
            f"{many:6} waiters {name:10} {seconds:6.2f} s of processor (at 1,000: at most "
            f"{MOST[name]:.0f} s), asked to hold {ledger.asked['reserve'] / many:.1f} times each"
        )


if __name__ == "__main__":
    main()
