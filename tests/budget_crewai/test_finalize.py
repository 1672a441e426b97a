"""When the money is gone, every agent has a last word, and every task an output."""

import asyncio

import crewai
import pytest
from crewai.tasks.task_output import TaskOutput
from crewai.tools import tool

from budget_core.frameworks.last_word import SPEECHLESS, WRAP_UP

on_all_ledgers = pytest.mark.usefixtures("ledger_url")


@pytest.fixture
def finishing(budget):
    def make(amount="$0.06", **options):
        return budget(amount, on_exhausted="finalize", **options)

    return make


def pair(kit, **options):
    agents = [kit.agent(role, tools=[kit.search], max_iter=50) for role in ("Researcher", "Writer")]
    return kit.crew(*agents, **options)


@on_all_ledgers
@pytest.mark.parametrize(("cents", "reserve"), [(3, "auto"), (5, 0.5), (9, "$0.03")])
def test_a_runaway_crew_ends_with_an_output_for_every_task(kit, finishing, square, reserve, cents):
    kit.restless()
    with finishing(f"$0.0{cents}", finalization_reserve=reserve) as middleware:
        result = pair(kit).kickoff()
    assert [output.raw for output in result.tasks_output] == ["what I know"] * 2
    square(middleware.session)
    assert middleware.get_report()["task_outputs"] == [
        {"task": "task 1", "agent": "Researcher", "output": "what I know"},
        {"task": "task 2", "agent": "Writer", "output": "what I know"},
    ]


@on_all_ledgers
@pytest.mark.parametrize("calls", [3, 7])
def test_calls_are_kept_back_too(kit, finishing, provider, calls, square):
    kit.restless()
    with finishing(None, llm_calls=calls) as middleware:
        result = pair(kit).kickoff()
    assert [output.raw for output in result.tasks_output] == ["what I know"] * 2
    assert provider.requests == calls
    square(middleware.session)


@on_all_ledgers
def test_it_works_in_tasks_of_asyncio_too(kit, finishing, square):
    kit.restless()
    middleware = finishing()
    result = asyncio.run(middleware.akickoff(pair(kit)))
    assert [output.raw for output in result.tasks_output] == ["what I know"] * 2
    square(middleware.session)


def test_the_last_call_asks_to_wrap_up_and_brings_no_tools(kit, finishing, provider):
    kit.restless()
    with finishing():
        kit.crew(kit.agent(tools=[kit.search], max_iter=50)).kickoff()
    last = provider.bills[-1].body
    assert "tools" not in last
    assert last["messages"][-1]["content"] == WRAP_UP
    assert all("tools" in bill.body for bill in provider.bills[:-1])


def test_a_task_done_with_money_left_frees_its_reserve(kit, finishing, provider, square):
    with finishing("$1", finalization_reserve="$0.60") as middleware:
        kit.crew().kickoff()
        assert middleware.session.reserved == 0
    square(middleware.session)


def test_where_nothing_is_left_for_a_last_word_the_error_goes_through(
    kit, finishing, square, refused, provider
):
    with refused(), finishing("$0.001") as middleware:
        kit.crew().kickoff()
    assert provider.requests == 0
    square(middleware.session)


def test_an_agent_that_calls_tools_in_its_text_says_only_its_last_word(
    kit, finishing, square, monkeypatch
):
    def respond(incoming):
        if WRAP_UP in incoming.last_text:
            return kit.reply("Thought: It seems so.\nAction: search\nAction Input: {}")
        action = f'Action: search\nAction Input: {{"query": "{incoming.index}"}}'
        return kit.reply(f"Thought: Look.\n{action}")

    kit.provider.respond(respond)
    llm = kit.llm()
    monkeypatch.setattr(type(llm), "supports_function_calling", lambda _self: False)
    with finishing("$0.05") as middleware:
        result = kit.crew(kit.agent(tools=[kit.search], llm=llm, max_iter=50)).kickoff()
    assert result.raw == "It seems so."
    square(middleware.session)


def test_one_who_has_only_calls_of_tools_to_say_is_speechless(kit, finishing, provider):
    provider.respond(lambda incoming: kit.calls("search", query=str(incoming.index)))
    with finishing("$0.04"):
        result = kit.crew(kit.agent(tools=[kit.search], max_iter=50)).kickoff()
    assert result.raw == SPEECHLESS


def test_what_was_said_last_is_said_again_for_nothing(kit, finishing, provider, square):
    kit.restless()
    seen = []

    def third_time(output: TaskOutput):
        seen.append(output.raw)
        return len(seen) > 2, output.raw if len(seen) > 2 else "not good enough"

    agent = kit.agent(tools=[kit.search], max_iter=50)
    task = kit.task(agent=agent, guardrail=third_time)
    with finishing() as middleware:
        result = crewai.Crew(agents=[agent], tasks=[task]).kickoff()
    assert seen == ["what I know"] * 3
    assert result.raw == "what I know"
    assert sum(not bill.body.get("tools") for bill in provider.bills) == 1
    square(middleware.session)


@on_all_ledgers
def test_an_agents_own_limit_has_a_last_word_as_well(kit, finishing, square):
    kit.restless()
    with finishing("$5", agents={"Researcher": "$0.03"}) as middleware:
        result = pair(kit).kickoff()
    assert [output.raw for output in result.tasks_output] == ["what I know"] * 2
    by_agent = middleware.get_report()["breakdown"]["agents"]["by_agent"]
    assert by_agent["Researcher"] <= 0.03 < by_agent["Writer"]
    square(middleware.session)


@on_all_ledgers
def test_so_has_a_tasks_own_limit(kit, finishing, square):
    kit.restless()
    with finishing("$5", tasks={"task 1": "$0.03"}) as middleware:
        result = pair(kit).kickoff()
    assert [output.raw for output in result.tasks_output] == ["what I know"] * 2
    assert middleware.get_report()["breakdown"]["tasks"]["by_task"]["task 1"] <= 0.03
    square(middleware.session)


@on_all_ledgers
def test_a_lone_agent_has_a_last_word_for_each_question(kit, finishing, square):
    kit.restless()
    agent = kit.agent(tools=[kit.search], max_iter=50)
    with finishing() as middleware:
        assert agent.kickoff("What is a tide?").raw == "what I know"
    square(middleware.session)


def test_an_agent_in_a_tool_leaves_the_last_word_to_the_one_who_called_it(
    kit, finishing, provider, square
):
    kit.restless()

    @tool("search")
    def ask(query: str) -> str:
        """Ask another agent, which never comes to an end."""
        return kit.agent("Helper", tools=[kit.search], max_iter=50).kickoff(query).raw

    with finishing() as middleware:
        result = kit.crew(kit.agent(tools=[ask], max_iter=50)).kickoff()
    assert result.raw == "what I know"
    last = provider.bills[-1].body["messages"]
    assert "Researcher" in last[0]["content"]
    square(middleware.session)


def test_what_is_no_agents_own_step_is_done_without(kit, finishing, provider, square):
    def respond(incoming):
        if "create_reasoning_plan" in incoming.tools:
            return kit.calls("create_reasoning_plan", plan="think", steps=[], ready=False)
        return kit.reply("what I know")

    provider.respond(respond)
    with finishing(None, llm_calls=2) as middleware:
        result = kit.crew(kit.agent(planning=True)).kickoff()
    assert result.raw == "what I know"
    square(middleware.session)


@on_all_ledgers
def test_the_kill_switch_stops_it_all(kit, finishing, refused, provider):
    @tool("search")
    def cancel(query: str) -> str:
        """Pull the kill switch."""
        middleware.session.cancel()
        return query

    kit.restless()
    middleware = finishing("$5")
    with refused(), middleware:
        kit.crew(kit.agent(tools=[cancel])).kickoff()
    assert provider.requests == 1


@on_all_ledgers
def test_a_tool_without_money_is_told_to_the_agent(kit, finishing, provider, square):
    kit.searches(times=1)
    with finishing("$0.50", tool_costs={"search": "$0.60"}) as middleware:
        result = kit.crew(kit.agent(tools=[kit.search])).kickoff()
    assert result.raw == "done"
    said = provider.bills[-1].body["messages"][-1]["content"]
    assert said.startswith("search was stopped")
    square(middleware.session)


def test_only_the_two_ways_are_known(budget):
    with pytest.raises(ValueError, match="on_exhausted"):
        budget(on_exhausted="shrug")
    with pytest.raises(ValueError, match="finalization_reserve"):
        budget(on_exhausted="finalize", finalization_reserve=2.0)
