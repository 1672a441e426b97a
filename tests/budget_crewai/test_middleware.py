"""The front object: one-liners, limits by agent and task, tools, `track`, the report."""

import json
import pickle
import subprocess
import sys

import crewai
import openai
import pytest
from crewai.tools import tool

from budget_core import AgentBudget, BudgetExhausted, LoopDetected, UnknownModel
from budget_crewai import CrewAIBudgetMiddleware

on_all_ledgers = pytest.mark.usefixtures("ledger_url")

# -- running ---------------------------------------------------------------------------------


def test_one_line_runs_a_crew(kit, budget, square):
    middleware = budget()
    assert middleware.kickoff(kit.crew(), inputs={"topic": "tides"}).raw == "done"
    assert middleware.kickoff(kit.agent(), "What is a tide?").raw == "done"
    each = middleware.kickoff_for_each(kit.crew(), inputs=[{"topic": "a"}, {"topic": "b"}])
    assert [one.raw for one in each] == ["done"] * 2
    square(middleware.session)


async def test_so_does_one_that_is_awaited(kit, budget, square):
    middleware = budget()
    assert (await middleware.akickoff(kit.crew())).raw == "done"
    assert (await middleware.akickoff(kit.agent(), "What is a tide?")).raw == "done"
    each = await middleware.akickoff_for_each(kit.crew(), inputs=[{"topic": "a"}, {"topic": "b"}])
    assert [one.raw for one in each] == ["done"] * 2
    async with middleware as same:
        await kit.crew().akickoff()
        assert same is middleware
    square(middleware.session)


def test_the_limit_holds_over_several_kickoffs(kit, budget, refused, square):
    middleware = budget(None, llm_calls=3)
    middleware.kickoff(kit.crew())
    with refused():
        middleware.kickoff(kit.crew())
    square(middleware.session)


def test_a_stream_that_is_read_later_is_paid_for(kit, budget, provider, square):
    middleware = budget()
    stream = middleware.kickoff(kit.crew(stream=True))
    assert provider.requests == 0
    assert "done" in "".join(chunk.content for chunk in stream)
    assert stream.result.raw == "done"
    assert provider.requests == 2
    square(middleware.session)


def test_and_is_stopped_where_it_is_read(kit, budget, refused, square):
    with budget(None, llm_calls=1) as middleware:
        stream = kit.crew(stream=True).kickoff()
    with refused():
        list(stream)
    square(middleware.session)


def test_one_that_is_left_in_the_middle_goes_on_under_the_budget(kit, budget, provider, square):
    with budget() as middleware:
        stream = iter(kit.crew(stream=True).kickoff())
        next(stream)
    list(stream)
    assert provider.requests == 2
    square(middleware.session)


async def test_a_stream_of_a_task_that_is_read_later_too(kit, budget, provider, square):
    async with budget() as middleware:
        stream = await kit.crew(stream=True).akickoff()
    async for _ in stream:
        pass
    assert provider.requests == 2
    square(middleware.session)


def test_outside_of_a_budget_nothing_is_paid_for(kit, budget, provider):
    middleware = budget()
    with middleware:
        pass
    kit.crew().kickoff()
    assert provider.requests == 2
    assert middleware.session.spent == 0


# -- errors ----------------------------------------------------------------------------------


def test_the_error_carries_what_was_done(kit, budget, provider):
    with pytest.raises(BudgetExhausted) as caught, budget(None, llm_calls=1):
        kit.crew().kickoff()
    assert isinstance(caught.value, crewai.hooks.HookAborted)
    assert [output.raw for output in caught.value.result] == ["done"]
    assert caught.value.unit == "llm_calls"
    assert caught.value.reason == str(caught.value)


def test_the_error_can_be_pickled(kit, budget):
    with pytest.raises(BudgetExhausted) as caught, budget(None, llm_calls=0):
        kit.crew().kickoff()
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert type(again) is BudgetExhausted
    assert str(again) == str(caught.value)


def test_a_model_without_a_price_is_refused(kit, budget, provider):
    with pytest.raises(UnknownModel) as caught, budget():
        kit.crew(kit.agent(llm=kit.llm(model="openai/nobody-knows"))).kickoff()
    assert isinstance(caught.value, crewai.hooks.HookAborted)
    assert provider.requests == 0


def test_a_loop_of_calls_is_stopped(kit, budget):
    kit.provider.respond(lambda _incoming: kit.calls("search", query="tides"))
    with pytest.raises(LoopDetected) as caught, budget(max_repeated_calls=3):
        kit.crew(kit.agent(tools=[kit.search])).kickoff()
    assert isinstance(caught.value, crewai.hooks.HookAborted)


@pytest.mark.parametrize("alone", [True, False])
def test_twelve_agents_that_use_one_tool_alike_are_no_loop(kit, budget, square, alone):
    def respond(incoming):
        done = any(message["role"] == "tool" for message in incoming.messages)
        return kit.reply() if done else kit.calls("search", query="same")

    kit.provider.respond(respond)
    agents = [kit.agent(tools=[kit.search]) for _ in range(12)]
    with budget("$5", max_repeated_calls=3) as middleware:
        if alone:
            for agent in agents:
                agent.kickoff("Search.")
        else:
            kit.crew(*agents).kickoff()
    assert middleware.session.totals.tool_calls == 12
    square(middleware.session)


# -- agents and tasks ------------------------------------------------------------------------


@on_all_ledgers
def test_an_agents_limit_stops_the_crew(kit, budget, refused, square):
    with refused() as caught, budget(agents={" Writer\n": "$0.0001"}) as middleware:
        kit.crew().kickoff()
    by_agent = middleware.get_report()["breakdown"]["agents"]["by_agent"]
    assert by_agent == {"Researcher": 0.0015}
    assert "Writer" in str(caught.value.result) or caught.value.result
    square(middleware.session)


@on_all_ledgers
@pytest.mark.parametrize("name", ["task 2", "Do task 2."])
def test_so_does_a_tasks(kit, budget, refused, square, name):
    with refused(), budget(tasks={name: "$0.0001"}) as middleware:
        kit.crew().kickoff()
    assert middleware.get_report()["breakdown"]["tasks"]["by_task"]["task 1"] == 0.0015
    square(middleware.session)


def test_a_tasks_limit_is_for_all_of_its_runs(kit, budget, refused, provider):
    with refused(), budget(tasks={"task 1": "$0.012"}):
        kit.crew().kickoff_for_each(inputs=[{"topic": str(at)} for at in range(20)])
    assert 2 < provider.requests < 40


def test_the_report_tells_who_spent_what_on_what(kit, budget, square):
    kit.searches()
    with budget(tool_costs={"search": 0.01}) as middleware:
        kit.crew(kit.agent(tools=[kit.search]), kit.agent("Writer")).kickoff()
    report = json.loads(json.dumps(middleware.report()))
    assert report["breakdown"]["agents"]["by_agent"] == {"Researcher": 0.0245, "Writer": 0.0015}
    assert report["breakdown"]["tasks"]["by_task"] == {"task 1": 0.0245, "task 2": 0.0015}
    assert report["breakdown"]["tools"]["by_tool"] == {"search": 0.02}
    assert report["task_outputs"][1] == {"task": "task 2", "agent": "Writer", "output": "done"}
    assert middleware.get_report() == middleware.report()


def test_calls_that_name_nobody_are_those_of_the_task_at_work(kit, budget):
    kit.restless()  # at the last of its iterations, CrewAI asks the model by itself
    with budget() as middleware:
        kit.crew(kit.agent(tools=[kit.search], max_iter=2), kit.agent("Writer")).kickoff()
    breakdown = middleware.get_report()["breakdown"]
    assert breakdown["tasks"]["by_task"] == {"task 1": 0.0045, "task 2": 0.0015}
    assert breakdown["agents"]["by_agent"] == {"Researcher": 0.0045, "Writer": 0.0015}


def test_delegated_work_is_the_tasks_that_it_is_done_for(kit, budget):
    def respond(incoming):
        delegated = any(message["role"] == "tool" for message in incoming.messages)
        if "delegate_work_to_coworker" in incoming.tools and not delegated:
            work = {"task": "look it up", "context": "none", "coworker": "Researcher"}
            return kit.calls("delegate_work_to_coworker", **work)
        return kit.reply()

    kit.provider.respond(respond)
    agents = [kit.agent(), kit.agent("Writer")]
    manager = {"process": crewai.Process.hierarchical, "manager_llm": kit.llm()}
    with budget() as middleware:
        crewai.Crew(agents=agents, tasks=[kit.task()], **manager).kickoff()
    breakdown = middleware.get_report()["breakdown"]
    assert breakdown["tasks"]["by_task"] == {"research": 0.0045}
    assert breakdown["agents"]["by_agent"] == {"Crew Manager": 0.003, "Researcher": 0.0015}


# -- tools -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["my_search", "My Search"])
def test_tools_are_priced_by_either_name(kit, budget, name):
    @tool("My Search")
    def my_search(query: str) -> str:
        """Search."""
        return query

    kit.provider.script(kit.calls("my_search", query="tides"))
    with budget(tool_costs={name: 0.25}) as middleware:
        kit.crew(kit.agent(tools=[my_search])).kickoff()
    assert middleware.get_report()["breakdown"]["tools"]["by_tool"] == {"my_search": 0.25}


def test_a_tool_without_money_stops_the_crew(kit, budget, provider, refused):
    called = []

    @tool("search")
    def search(query: str) -> str:
        """Search."""
        called.append(query)
        return query

    kit.searches(times=1)
    with refused() as caught, budget("$0.50", tool_costs={"search": 0.6}) as middleware:
        kit.crew(kit.agent(tools=[search])).kickoff()
    assert called == []
    assert provider.requests == 1
    assert caught.value.requested == 0.6
    assert middleware.session.reserved == 0


def test_a_tool_that_fails_is_charged(kit, budget):
    @tool("search")
    def search(query: str) -> str:
        """Search."""
        raise RuntimeError(query)

    kit.searches(times=1)
    with budget(tool_costs={"search": 0.25}) as middleware:
        kit.crew(kit.agent(tools=[search])).kickoff()
    assert middleware.get_report()["breakdown"]["tools"] == {
        "total": 0.25,
        "calls": 1,
        "by_tool": {"search": 0.25},
    }


def test_one_that_the_program_itself_blocks_is_not(kit, budget, square):
    from crewai.hooks.dispatch import InterceptionPoint, scoped_hooks

    kit.searches(times=1)
    blocking = {InterceptionPoint.PRE_TOOL_CALL: [lambda _context: False]}
    with budget(tool_costs={"search": 0.25}) as middleware, scoped_hooks(blocking):
        kit.crew(kit.agent(tools=[kit.search])).kickoff()
    square(middleware.session)


def test_hooks_that_somebody_cleared_are_put_back(kit, budget):
    from crewai.hooks.dispatch import clear_all

    clear_all()
    kit.searches(times=1)
    with budget(tool_costs={"search": 0.25}) as middleware:
        kit.crew(kit.agent(tools=[kit.search])).kickoff()
    assert middleware.session.spent == 0.253


# -- track -----------------------------------------------------------------------------------


def test_a_metered_crew_is_not_charged_again(kit, budget):
    with budget() as middleware:
        result = middleware.track(kit.crew().kickoff(), cost=0.50, tool_name="crew_run")
        assert middleware.session.spent == 0.50
        middleware.track("a map", cost=0.10)
        assert middleware.session.spent == 0.60
        middleware.track(kit.crew().kickoff(), cost=0.002, tool_name="crew_run")
    assert middleware.session.spent == 0.603
    assert result.raw == "done"


def test_what_is_tracked_counts_against_the_limit(kit, budget):
    with pytest.raises(BudgetExhausted) as caught, budget("$0.40") as middleware:
        middleware.track(kit.crew().kickoff(), cost=0.50, tool_name="crew_run")
    assert caught.value.result.raw == "done"
    assert middleware.session.spent == 0.50


# -- sharing ---------------------------------------------------------------------------------


@on_all_ledgers
def test_a_session_is_shared_with_other_code(kit, provider, square):
    with AgentBudget("$5", max_repeated_calls=None).session() as session:
        with CrewAIBudgetMiddleware(session=session, agents={"Writer": "$1"}):
            kit.crew().kickoff()
            ask(provider)
        assert not session.closed
        assert session.spent > 0.003
        square(session)
    square(session)


def test_a_budget_inside_another_spends_both(kit, budget, refused, square):
    with budget(None, llm_calls=3, tasks={"task 1": "$1"}) as outer:
        with budget(None, llm_calls=2) as inner:
            kit.crew().kickoff()
        with refused(), budget() as other:
            kit.crew().kickoff()
    assert (inner.session.spent, other.session.spent) == (0.003, 0.0015)
    assert outer.get_report()["breakdown"]["tasks"]["by_task"] == {
        "task 1": 0.003,
        "task 2": 0.0015,
    }
    square(outer.session)


def ask(provider):
    with openai.OpenAI(base_url=provider.openai_url, api_key="test", max_retries=0) as client:
        message = {"role": "user", "content": "What is a tide?"}
        client.chat.completions.create(model="gpt-4o", messages=[message])


# -- packaging -------------------------------------------------------------------------------


def run(code):
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_crewai_is_imported_by_the_first_budget_only():
    code = "import sys, budget_crewai; budget_crewai.CrewAIBudgetMiddleware; print('crewai' in sys.modules)"
    assert run(code) == "False\n"


def test_without_crewai_the_extra_is_named():
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "crewai" else find(name, *more)
import budget_crewai
try:
    from budget_crewai import CrewAIBudgetMiddleware
except ImportError as error:
    print(error)
"""
    assert "pip install 'budget-suite[crewai]'" in run(code)


def test_there_is_nothing_else():
    import budget_crewai

    assert "CrewAIBudgetMiddleware" in dir(budget_crewai)
    with pytest.raises(AttributeError, match="CrewAIBudget"):
        budget_crewai.CrewAIBudget  # noqa: B018
