"""What runs beside, beyond, and below a crew."""

import asyncio
from threading import Thread

import crewai
import pytest
from crewai.llms.base_llm import BaseLLM
from openai import AsyncOpenAI

import budget_core
from budget_core import BudgetExhausted
from budget_core.calls import context

on_all_ledgers = pytest.mark.usefixtures("ledger_url")


@pytest.fixture
def slow(kit, provider):
    """A model that searches on, and takes its time."""

    async def respond(incoming):
        await asyncio.sleep(0.05)
        if incoming.tools:
            return kit.calls("search", query=str(incoming.index))
        return kit.reply("what I know")

    provider.respond(respond)


def searching(kit, *roles):
    return kit.crew(*(kit.agent(role, tools=[kit.search], max_iter=20) for role in roles))


async def _everybody_else():
    """Wait for all that was left running."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@pytest.mark.usefixtures("slow")
async def test_what_outlives_the_block_is_refused(kit, budget, provider):
    """A crew that is left behind by a timeout asks for nothing more."""
    middleware = budget("$0.05")
    with middleware, pytest.raises(TimeoutError):
        await asyncio.wait_for(searching(kit, "A", "B").kickoff_async(), 0.4)
    await _everybody_else()
    await asyncio.get_running_loop().shutdown_default_executor()
    provider.wait_idle()
    assert provider.bill_nanos <= middleware.session.spent_nanos <= 50_000_000
    assert middleware.session.reserved == 0


@on_all_ledgers
@pytest.mark.usefixtures("slow")
async def test_so_are_the_others_of_a_gathering(kit, budget, provider):
    middleware = budget("$0.02", agents={"A": "$0.004"})
    with middleware, pytest.raises(BudgetExhausted):
        await asyncio.gather(*(searching(kit, role).akickoff() for role in "AB"))
    await _everybody_else()
    provider.wait_idle()
    assert provider.bill_nanos <= middleware.session.spent_nanos <= 20_000_000


async def test_so_is_an_sdk(provider):
    ended = asyncio.Event()

    async def later(sdk):
        await ended.wait()
        await sdk.chat.completions.create(model="gpt-4o", messages=[])

    async with AsyncOpenAI(base_url=provider.openai_url, api_key="test") as sdk:
        with budget_core.AgentBudget("$1").session() as session:
            context.guard(session)
            budget_core.sdk.installing.guard_loaded()
            task = asyncio.create_task(later(sdk))
            await asyncio.sleep(0)
            context.unguard(session)
        ended.set()
        with pytest.raises(BudgetExhausted, match="closed"):
            await task
    assert provider.requests == 0


async def test_begun_later_it_has_a_budget_again(kit, budget, provider, square):
    middleware, ended = budget("$0.05"), asyncio.Event()

    async def later():
        await ended.wait()
        return await middleware.akickoff(kit.crew(kit.agent()))

    with middleware:
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    ended.set()
    await task
    assert provider.requests == 1
    square(middleware.session)


def test_a_bound_thread_is_watched(kit, budget, provider, square):
    kit.searches(20)
    caught = []

    def run():
        try:
            searching(kit, "Researcher").kickoff()
        except BudgetExhausted as error:
            caught.append(error)

    middleware = budget("$0.5", agents={"Researcher": "$0.005"})
    with middleware:
        thread = Thread(target=budget_core.bind(run))
        thread.start()
        thread.join()
    assert isinstance(caught[0], crewai.hooks.HookAborted)
    assert middleware.agents["Researcher"].spent <= 0.005
    square(middleware.session)


class Talking:
    """Not a model, but what one is made of."""

    def call(self, messages, *args, **kwargs):
        return "Final Answer: hi"


class Mixed(Talking, BaseLLM):
    pass


class Awaiting(BaseLLM):
    """One whose asynchronous call is a plain function."""

    def call(self, messages, *args, **kwargs):
        return "Final Answer: hi"

    def acall(self, messages, *args, **kwargs):
        async def answer():
            await asyncio.sleep(0)
            return "Final Answer: hi"

        return answer()


def test_a_method_from_elsewhere_is_watched(budget, refused):
    with budget("$0.0000001"), refused():
        Mixed(model="gpt-4o").call("hi")


async def test_an_answer_that_is_awaited(budget, square):
    with budget("$1") as middleware:
        assert await Awaiting(model="gpt-4o").acall("hi") == "Final Answer: hi"
    assert 0 < middleware.session.spent < 0.01
    assert middleware.session.reserved == 0


@pytest.mark.parametrize("guarded", [True, False])
def test_a_function_that_a_model_calls_pays_for_itself(
    guarded, request, kit, budget, provider, square
):
    if not guarded:
        request.getfixturevalue("unguarded")

    def respond(incoming):
        if "research" in incoming.tools:
            return kit.calls("research")
        return kit.calls("search", query=str(incoming.index)) if incoming.tools else kit.reply()

    provider.respond(respond)

    def research(**_):
        try:
            return searching(kit, "Researcher").kickoff().raw
        except BudgetExhausted:
            return "refused"

    schema = {"name": "research", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": {**schema, "description": "Research."}}]
    middleware = budget("$0.05", agents={"Researcher": "$0.01"}, guard_sdks=guarded)
    with middleware:
        kit.llm().call("go", tools=tools, available_functions={"research": research})
    assert provider.requests > 2
    assert 0 < middleware.agents["Researcher"].spent <= 0.01
    square(middleware.session)


@on_all_ledgers
def test_each_task_has_an_output_though_the_agents_limit_is_spent(kit, budget, square):
    kit.restless()
    agent = kit.agent(tools=[kit.search], max_iter=50)
    tasks = [kit.task(name, agent) for name in "xyz"]
    middleware = budget("$1", agents={"Researcher": "$0.03"}, on_exhausted="finalize")
    output = middleware.kickoff(crewai.Crew(agents=[agent], tasks=tasks))
    assert len([task.raw for task in output.tasks_output if task.raw]) == 3
    assert middleware.agents["Researcher"].spent <= 0.03
    square(middleware.session)


async def test_lone_agents_side_by_side_have_their_last_words(kit, budget, square):
    kit.restless()
    middleware = budget("$0.12", on_exhausted="finalize")
    agents = [kit.agent(f"R{at}", tools=[kit.search], max_iter=50) for at in range(4)]
    with middleware:
        outputs = await asyncio.gather(*(agent.kickoff_async("What?") for agent in agents))
    assert all(output.raw for output in outputs)
    square(middleware.session)


@on_all_ledgers
def test_after_a_top_up_an_agent_is_asked_again(kit, budget, provider):
    kit.restless()
    agent = kit.agent(tools=[kit.search], max_iter=50)
    with budget("$0.03", on_exhausted="finalize") as middleware:
        agent.kickoff("What?")
        before = provider.requests
        middleware.session.top_up("$0.03")
        agent.kickoff("What?")
    assert provider.requests > before + 1


def test_stopped_again_and_again(kit, budget, refused):
    """CrewAI counts what has begun and not ended, and gives up at a hundred."""
    for _ in range(40):
        with budget(llm_calls=0), refused():
            kit.crew(kit.agent()).kickoff()


def test_a_role_with_a_gap_is_known(kit, budget, refused):
    kit.searches(20)
    middleware = budget("$1", agents={"{topic} Researcher": "$0.005"})
    crew = searching(kit, "{topic} Researcher")
    with middleware, refused():
        crew.kickoff(inputs={"topic": "tides"})


def test_two_results_are_declared_one_by_one(kit, budget):
    with budget() as middleware:
        first, second = (kit.crew(kit.agent()).kickoff() for _ in range(2))
        metered = middleware.session.spent
        middleware.track(first, cost=metered / 2, tool_name="crew")
        middleware.track(second, cost=metered / 2, tool_name="crew")
        assert middleware.session.spent == metered
        middleware.track(second, cost=0.01, tool_name="crew")
    assert middleware.session.spent == pytest.approx(metered + 0.01)
