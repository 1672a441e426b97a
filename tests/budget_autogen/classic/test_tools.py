"""Tools cost what the tracker says, are counted, and may be refused."""

import asyncio
from typing import Annotated

import pytest
from autogen import AssistantAgent, register_function

from budget_core import BudgetExhausted, LoopDetected
from budget_core.testing import Reply, ToolCall

from .conftest import WORK


@pytest.fixture(params=["sync", "async"])
def initiate(request):
    async def chat(first, second, **options):
        if request.param == "async":
            return await first.a_initiate_chat(second, **options)
        return await asyncio.to_thread(first.initiate_chat, second, **options)

    return chat


@pytest.mark.parametrize("registered", ["before", "after"])
@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("decorated", [True, False])
async def test_tools_are_paid_for(
    provider, steps, assistant, proxy, tracker, initiate, registered, asynchronous, decorated
):
    steps(3)
    user, agent = proxy(), assistant()
    budget = tracker("$1", tool_costs={"search": 0.01})
    if registered == "after":
        budget.attach(user, agent)

    def search(query: Annotated[str, "what for"]) -> str:
        return f"found {query}"

    async def asearch(query: Annotated[str, "what for"]) -> str:
        await asyncio.sleep(0)
        return f"found {query}"

    tool = asearch if asynchronous else search
    if decorated:
        agent.register_for_llm(name="search", description="Search.")(tool)
        user.register_for_execution(name="search")(tool)
    else:
        register_function(tool, caller=agent, executor=user, name="search", description="Search.")
    if registered == "before":
        budget.attach(user, agent)
    result = await initiate(user, agent, message="go")
    assert result.summary == "done"
    assert "found 2" in str(result.chat_history)
    provider.wait_idle()
    assert budget.session.spent_nanos == provider.bill_nanos + 30_000_000
    tools = budget.get_report()["breakdown"]["tools"]
    assert tools["calls"] == 3
    assert tools["by_tool"] == {"search": 0.03}
    assert budget.session.reserved == 0


async def test_what_a_tool_asks_of_a_model_is_its_own(
    provider, steps, llm, assistant, proxy, tracker, initiate, square
):
    from openai import OpenAI

    provider.script(Reply(tool_calls=[ToolCall("ask", {})], **WORK), Reply("42"), Reply("done"))
    user, agent = proxy(), assistant()

    async def ask() -> str:
        with OpenAI(base_url=provider.openai_url, api_key="x") as client:
            answer = client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "x"}]
            )
        return answer.choices[0].message.content

    register_function(ask, caller=agent, executor=user, description="Ask.")
    budget = tracker("$1").attach(user, agent)
    with tracker("$1") as whole:
        result = await initiate(user, agent, message="go")
        assert "42" in str(result.chat_history)
        assert provider.requests == 3
        square(whole.session)
    square(budget.session)


async def test_a_refused_tool_is_told_to_the_model(
    steps, assistant, proxy, tracker, searching, initiate, square
):
    steps(3)
    user, agent = proxy(), assistant()
    ran = searching(agent, user)
    budget = tracker("$1", tool_calls=1).attach(user, agent)
    result = await initiate(user, agent, message="go")
    assert ran == ["0"]
    assert result.summary == "done"
    contents = [m["content"] for m in result.chat_history if m.get("tool_responses")]
    assert contents[0] == "found 0"
    assert contents[1].startswith("Error: search was stopped: its budget is spent")
    square(budget.session)


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_refused_tool_raises_if_told_to(
    steps, assistant, proxy, tracker, initiate, asynchronous, square
):
    steps(3)
    user, agent = proxy(), assistant()

    async def asearch(query: str) -> str:
        return query

    def search(query: str) -> str:
        return query

    tool = asearch if asynchronous else search
    register_function(tool, caller=agent, executor=user, name="search", description="Search.")
    budget = tracker("$1", tool_calls=1, on_exhausted="raise").attach(user, agent)
    with pytest.raises(BudgetExhausted) as raised:
        await initiate(user, agent, message="go")
    assert raised.value.unit == "tool_calls"
    square(budget.session)


async def test_a_tool_that_fails_is_paid_for(provider, steps, assistant, proxy, tracker, initiate):
    steps(1)
    user, agent = proxy(), assistant()

    def search(query: str) -> str:
        raise ValueError("no network")

    register_function(search, caller=agent, executor=user, description="Search.")
    budget = tracker("$1", tool_costs={"search": "$0.01"}).attach(user, agent)
    result = await initiate(user, agent, message="go")
    assert "no network" in str(result.chat_history)
    provider.wait_idle()
    assert budget.session.spent_nanos == provider.bill_nanos + 10_000_000
    assert budget.session.reserved == 0


@pytest.mark.parametrize("call", [ToolCall("fetch", {}), ToolCall("search", "{nonsense")])
def test_what_was_not_run_is_free(provider, assistant, proxy, tracker, searching, call, square):
    provider.script(Reply(tool_calls=[call], **WORK), Reply("done", **WORK))
    user, agent = proxy(), assistant()
    searching(agent, user)
    budget = tracker("$1", tool_costs={"search": "$0.1", "fetch": "$0.1"}).attach(user, agent)
    result = user.initiate_chat(agent, message="go")
    assert "Error" in str(result.chat_history)
    assert budget.session.balance().spent.tool_calls == 0
    square(budget.session)


def test_a_tool_that_is_too_dear_is_not_run(steps, assistant, proxy, tracker, searching, square):
    steps(1)
    user, agent = proxy(), assistant()
    ran = searching(agent, user)
    budget = tracker("$1", tool_costs={"search": 2}).attach(user, agent)
    assert user.initiate_chat(agent, message="go").summary == "done"
    assert ran == []
    square(budget.session)


def test_several_tools_at_once(provider, assistant, proxy, tracker, searching):
    calls = [ToolCall("search", {"query": str(at)}) for at in range(3)]
    provider.script(Reply(tool_calls=calls, **WORK), Reply("done", **WORK))
    user, agent = proxy(), assistant()
    ran = searching(agent, user)
    budget = tracker("$1", tool_costs={"search": 0.01}, tool_calls=2).attach(user, agent)
    user.initiate_chat(agent, message="go")
    assert ran == ["0", "1"]
    assert budget.session.balance().spent.tool_calls == 2


def test_a_tool_in_a_loop_is_stopped(provider, assistant, proxy, tracker, searching):
    provider.default = Reply(tool_calls=[ToolCall("search", {"query": "again"})], **WORK)
    user, agent = proxy(), assistant()
    ran = searching(agent, user)
    tracker("$1", max_repeated_calls=4).attach(user, agent)
    with pytest.raises(LoopDetected):
        user.initiate_chat(agent, message="go")
    assert len(ran) < 5


@pytest.mark.filterwarnings("ignore:Function .search. is being overridden")
@pytest.mark.parametrize("names", [["reader"] * 12, [f"reader_{at}" for at in range(12)]])
def test_twelve_agents_for_whom_one_runs_a_tool_are_no_loop(
    provider, assistant, proxy, tracker, searching, names
):
    again = Reply(tool_calls=[ToolCall("search", {"query": "again"})], **WORK)
    provider.script(*[again, Reply("done", **WORK)] * 12)
    user, budget = proxy(), tracker("$1", max_repeated_calls=3)
    for name in names:
        agent = assistant(name)
        searching(agent, user)
        budget.attach(user, agent)
        user.initiate_chat(agent, message="go")
    assert budget.session.totals.tool_calls == 12


def test_functions_of_old(provider, llm, proxy, tracker, square):
    """`function_call`, which came before tools."""
    agent = AssistantAgent("a", llm_config=llm())
    budget = tracker("$1", tool_costs={"search": 0.01}).attach(agent)
    agent.update_function_signature(
        {
            "name": "search",
            "description": "Search.",
            "parameters": {"type": "object", "properties": {}},
        }
    )
    user = proxy(function_map={"search": lambda: "found"}, is_termination_msg=lambda _: False)
    budget.attach(user)
    reply = user.generate_reply(
        [{"role": "assistant", "function_call": {"name": "search", "arguments": "{}"}}]
    )
    assert reply["content"] == "found"
    assert budget.session.spent == 0.01
    assert agent.generate_reply([{"role": "user", "content": "x"}])
    assert "functions" in provider.bills[0].body


@pytest.mark.parametrize("given", ["to the agent", "to the run"])
def test_tools_of_an_agent_that_runs_alone(provider, steps, assistant, tracker, given):
    from autogen.tools import Tool

    steps(2)
    agent = assistant()

    def search(query: str) -> str:
        return f"found {query}"

    tool = Tool(name="search", description="Search.", func_or_tool=search)
    if given == "to the agent":
        tool.register_for_llm(agent)
    budget = tracker("$1", tool_costs={"search": 0.01}).attach(agent)
    tools = None if given == "to the agent" else [tool]
    agent.run(message="go", tools=tools, max_turns=3).process()
    assert provider.requests == 3
    assert budget.session.spent_nanos == provider.bill_nanos + 20_000_000


@pytest.mark.parametrize("way", ["execute_function", "a_execute_function"])
async def test_a_tool_that_a_program_runs_is_paid_for_by_all(proxy, tracker, way):
    user = proxy(function_map={"search": lambda: "found"})
    budgets = [tracker("$1", tool_costs={"search": 0.01}).attach(user) for _ in range(2)]
    ran = getattr(user, way)({"name": "search", "arguments": "{}"})
    assert (await ran if way.startswith("a_") else ran)[0]
    assert [budget.session.spent for budget in budgets] == [0.01, 0.01]


def test_the_same_tool_again_and_again_is_a_loop(proxy, tracker):
    user = proxy(function_map={"search": lambda query: query})
    tracker("$1", max_repeated_calls=3).attach(user)
    for at in range(5):
        user.execute_function({"name": "search", "arguments": f'{{"query": "{at}"}}'})
    again = {"name": "search", "arguments": '{"query": "x"}'}
    assert [user.execute_function(again)[0] for _ in range(2)] == [True, True]
    with pytest.raises(LoopDetected):
        user.execute_function(again)
