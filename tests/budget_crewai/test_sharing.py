"""Crews beside each other: each budget is its own, and a shared one is never exceeded."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import budget_core
from budget_core import BudgetExhausted


def runs(kit, at):
    agents = [kit.agent(f"Agent {at}", tools=[kit.search]), kit.agent("Writer")]
    return kit.crew(*agents)


def test_four_crews_in_threads_pay_for_themselves(kit, budget, provider):
    kit.searches()
    middlewares = [budget(None, llm_calls=2 + at) for at in range(4)]

    def run(at):
        try:
            middlewares[at].kickoff(runs(kit, at))
        except BudgetExhausted:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        finished = list(pool.map(run, range(4)))
    provider.wait_idle()
    assert finished == [False, False, True, True]
    spent = [middleware.session.spent_nanos for middleware in middlewares]
    assert spent == [3_000_000, 4_500_000, 6_000_000, 6_000_000]
    assert sum(spent) == provider.bill_nanos
    for middleware in middlewares:
        assert middleware.session.reserved == 0
        assert middleware.session.ledger.verify() == []


async def test_and_in_tasks(kit, budget, provider):
    kit.searches()
    middlewares = [budget(None, llm_calls=2 + at) for at in range(4)]
    crews = [m.akickoff(runs(kit, at)) for at, m in enumerate(middlewares)]
    results = await asyncio.gather(*crews, return_exceptions=True)
    provider.wait_idle()
    assert [isinstance(result, BudgetExhausted) for result in results] == [True, True, False, False]
    spent = [middleware.session.spent_nanos for middleware in middlewares]
    assert spent == [3_000_000, 4_500_000, 6_000_000, 6_000_000]
    assert sum(spent) == provider.bill_nanos
    for middleware in middlewares:
        assert middleware.session.reserved == 0
        assert middleware.session.ledger.verify() == []


def test_crews_that_share_a_budget_never_exceed_it(kit, budget, provider, square):
    kit.restless()
    with budget("$0.10", wait=0) as middleware, ThreadPoolExecutor(4) as pool:

        def run(at):
            try:
                runs(kit, at).kickoff()
            except BudgetExhausted:
                return True
            return False

        refused = list(
            pool.map(budget_core.bind(lambda at: middleware_runs(middleware, run, at)), range(4))
        )
    assert any(refused)
    square(middleware.session)


def middleware_runs(middleware, run, at):
    with middleware:
        return run(at)


async def test_so_with_tasks_and_a_last_word(kit, budget, provider, square):
    kit.restless()
    async with budget("$0.10", on_exhausted="finalize") as middleware:
        crews = [
            kit.crew(
                *(kit.agent(r, tools=[kit.search], max_iter=50) for r in ("A", "B"))
            ).akickoff()
            for _ in range(2)
        ]
        results = await asyncio.gather(*crews)
    assert [o.raw for result in results for o in result.tasks_output] == ["what I know"] * 4
    square(middleware.session)
