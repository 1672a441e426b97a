"""A middleware alone pays for the agent's whole run: models that other middlewares ask, too."""

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    LLMToolEmulator,
    LLMToolSelectorMiddleware,
    SummarizationMiddleware,
    after_agent,
    after_model,
    before_agent,
    before_model,
    dynamic_prompt,
)
from langgraph.checkpoint.memory import InMemorySaver

from budget_core import BudgetExhausted
from budget_core.testing import Reply, ToolCall
from budget_langchain import BudgetMiddleware
from budget_langchain.middleware import _agents

GO = {"messages": [("user", "why is the sea salt?")]}
HELPER = "gpt-4.1"


def hook(kind):
    def make(model):
        @kind
        def ask(*_):
            model.invoke("Is this all right?")

        return ask

    return make


class Wrapping(AgentMiddleware):
    """Asks a model around each call of the agent's own."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def wrap_model_call(self, request, handler):
        self.model.invoke("Is this all right?")
        return handler(request)

    async def awrap_model_call(self, request, handler):
        await self.model.ainvoke("Is this all right?")
        return await handler(request)


def prompt(model):
    @dynamic_prompt
    def write(_request):
        return model.invoke("Write a system prompt.").text

    return write


def summaries(model):
    return SummarizationMiddleware(model, trigger=("messages", 4), keep=("messages", 1))


def selector(model):
    return LLMToolSelectorMiddleware(model=model)


def emulator(model):
    return LLMToolEmulator(tools=["search"], model=model)


def subagent(model):
    """An agent of its own, asked before the first one is."""
    helper = create_agent(model)

    @before_model
    def ask(*_):
        helper.invoke({"messages": [("user", "Is this all right?")]})

    return ask


BEFORE = {
    "summaries": summaries,
    "selector": selector,
    "emulator": emulator,
    "prompt": prompt,
    "subagent": subagent,
    "before_agent": hook(before_agent),
    "before_model": hook(before_model),
    "wrap_model_call": Wrapping,
}
AFTER = {
    "summaries after it": summaries,
    "after_model": hook(after_model),
    "after_agent": hook(after_agent),
}


@pytest.fixture
def helped(provider):
    """An agent's model that searches so many times, and what else is asked, which answers."""

    def script(searches):
        def respond(incoming):
            if incoming.model != HELPER:
                steps.append(incoming)
                if not incoming.tools or len(steps) > searches:
                    return Reply("done", input_tokens=300, output_tokens=30)
                call = ToolCall("search", {"query": str(len(steps))})
                return Reply(tool_calls=[call], input_tokens=300, output_tokens=30)
            if incoming.body.get("response_format"):
                return Reply('{"tools": ["search"]}', input_tokens=200, output_tokens=20)
            asked.append(incoming)
            return Reply("checked", input_tokens=200, output_tokens=20)

        asked, steps = [], []
        provider.respond(respond)
        return asked

    return script


@pytest.fixture(params=["invoke", "ainvoke"])
def run(request):
    async def run(agent, state=GO, config=None):
        if request.param == "ainvoke":
            return await agent.ainvoke(state, config)
        return agent.invoke(state, config)

    return run


def others(name, model):
    """The middlewares of an agent without a budget, and where its own is to go."""
    if name in BEFORE:
        return [BEFORE[name](model), None]
    return [None, AFTER[name](model)]


@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
async def test_a_model_that_another_middleware_asks_is_paid_for(
    name, run, gpt, researcher, helped, square
):
    asked = helped(3)
    budget = BudgetMiddleware("$1", max_repeated_calls=None)
    middlewares = [one or budget for one in others(name, gpt(model=HELPER))]
    await run(researcher(gpt(), *middlewares))
    assert asked or name == "selector"
    assert HELPER in budget.get_report()["breakdown"]["llm"]["by_model"]
    square(budget.session)


@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
async def test_and_stopped_at_the_limit(name, run, gpt, researcher, helped, square):
    helped(1_000)
    budget = BudgetMiddleware("$0.012", max_repeated_calls=None)
    middlewares = [one or budget for one in others(name, gpt(model=HELPER, max_tokens=100))]
    with pytest.raises(BudgetExhausted):
        await run(researcher(gpt(max_tokens=100), *middlewares), config={"recursion_limit": 1_000})
    square(budget.session)


async def test_agents_pay_for_their_own_runs(run, gpt, researcher, helped, provider):
    helped(1)
    mine, other = BudgetMiddleware("$1"), BudgetMiddleware("$1")
    check = hook(before_model)
    await run(researcher(gpt(), check(gpt(model=HELPER)), mine))
    assert other.session.spent_nanos == 0
    assert mine.session.spent_nanos == provider.bill_nanos
    helped(1)
    await run(researcher(gpt(), check(gpt(model=HELPER)), other))
    assert mine.session.spent_nanos == other.session.spent_nanos == provider.bill_nanos / 2
    helped(1)
    gpt().invoke("outside of any agent")
    await run(researcher(gpt()))  # which has no budget
    assert mine.session.spent_nanos == other.session.spent_nanos < provider.bill_nanos / 2


async def test_the_mark_is_never_seen(run, gpt, researcher, helped):
    helped(1)
    saver, budget = InMemorySaver(), BudgetMiddleware("$1")
    seen = []

    @before_model
    def look(state, _runtime):
        seen.extend(state)

    agent = researcher(gpt(), look, budget, checkpointer=saver)
    config = {"configurable": {"thread_id": "t"}}
    state = await run(agent, config=config)
    (mark,) = (name for name, one in _agents.items() if one is budget)
    for shown in (state, seen, agent.get_state(config).values, str(saver.storage)):
        assert mark not in shown
    assert mark not in str(agent.get_input_jsonschema())
    assert mark not in str(agent.get_output_jsonschema())


async def test_a_subclass_keeps_its_own_state(run, gpt, researcher, helped):
    from langchain.agents import AgentState

    class Counted(AgentState):
        count: int

    class Mine(BudgetMiddleware):
        state_schema = Counted

        def before_model(self, state, runtime):
            return {"count": state.get("count", 0) + 1}

    helped(2)
    assert (await run(researcher(gpt(), Mine("$1"))))["count"] == 3
