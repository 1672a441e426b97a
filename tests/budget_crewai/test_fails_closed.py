"""Whatever fails between CrewAI and the wire: nothing is sent that is not held."""

import asyncio
import contextlib

import pytest

from budget_core import AgentBudget
from budget_core.frameworks import integration, last_word, senders
from budget_crewai import (
    CrewAIBudgetMiddleware,
    asking,
    errors,
    models,
    payer,
    paying,
    requests,
    steps,
    tools,
    units,
)

ON_THE_WAY = [
    asking, errors, integration, last_word, models, payer, paying, requests, senders, steps, tools,
    units,
]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_crew(place, asynchronous, breaking, kit):
    kit.searches(1)
    crew = kit.crew(kit.agent(tools=[kit.search], max_retry_limit=0))
    session = AgentBudget("$5", max_repeated_calls=None).session()
    middleware = CrewAIBudgetMiddleware(session=session)
    with contextlib.suppress(Exception), middleware:
        breaking(*place)
        asyncio.run(crew.akickoff()) if asynchronous else crew.kickoff()
    breaking.check(middleware.session)
