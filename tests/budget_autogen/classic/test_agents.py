"""Agents that bring their own budget, and what they do if nobody tells them more."""

import subprocess
import sys

import pytest
from autogen import AssistantAgent, ConversableAgent, UserProxyAgent, register_function

from budget_autogen.classic import (
    BudgetedAssistantAgent,
    BudgetedConversableAgent,
    BudgetedUserProxyAgent,
)
from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import AgentBudget, BudgetExhausted
from budget_core.testing import Reply

from .conftest import WORK

KINDS = {
    BudgetedConversableAgent: ConversableAgent,
    BudgetedAssistantAgent: AssistantAgent,
    BudgetedUserProxyAgent: UserProxyAgent,
}


@pytest.fixture
def environment(provider, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    return monkeypatch


def test_the_example(provider, environment, square):
    provider.default = Reply("2 + 2 = 4", **WORK)
    assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")
    user = BudgetedUserProxyAgent(name="user", budget="$5.00")
    result = user.initiate_chat(assistant, message="What is 2 + 2?")
    assert result.summary == "2 + 2 = 4"
    assert len(result.chat_history) == 2
    assert provider.bills[0].model == "gpt-4o-mini"
    report = assistant.get_report()
    assert report["budget"] == 5.0
    assert report["total_spent_nanos"] == provider.bill_nanos
    assert user.get_report()["total_spent"] == 0
    square(assistant.session, user.session)


def test_the_model_of_the_environment(provider, environment):
    environment.setenv("OPENAI_MODEL", "gpt-4.1")
    agent = BudgetedAssistantAgent("assistant", budget=1)
    agent.generate_reply([{"role": "user", "content": "x"}])
    assert provider.bills[0].model == "gpt-4.1"


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_what_they_are_called(llm, kind):
    agent = kind("a", llm_config=llm(), budget="$2", tokens=10_000, finalization_reserve=0.1)
    assert isinstance(agent, kind)
    assert isinstance(agent, KINDS[kind])
    assert type(agent).__name__ == kind.__name__
    assert agent.session.limit == 2
    assert agent.session is agent.tracker.session
    assert agent.get_report()["budget"] == 2
    agent.tracker.detach()
    assert type(agent) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_arguments_of_the_agent_arrive(llm, kind):
    settings = {
        "human_input_mode": "ALWAYS",
        "max_consecutive_auto_reply": 3,
        "is_termination_msg": (ends := lambda _: True),
        "default_auto_reply": "well",
        "description": "somebody",
        "llm_config": llm(model="gpt-4.1"),
    }
    agent = kind("a", **settings)
    plain = KINDS[kind]("a", **settings, code_execution_config=False)
    assert agent.human_input_mode == "ALWAYS"
    assert agent.max_consecutive_auto_reply() == 3
    assert agent._is_termination_msg is ends
    for name in ("_default_auto_reply", "description", "llm_config", "system_message"):
        assert getattr(agent, name) == getattr(plain, name)


def test_arguments_by_position(llm):
    agent = BudgetedAssistantAgent("a", "Be brief.", llm(), budget=1)
    assert agent.system_message == "Be brief."
    assert agent.llm_config.config_list[0].model == "gpt-4o"
    ends = bool
    user = BudgetedUserProxyAgent("u", ends, 7, "TERMINATE")
    assert user._is_termination_msg is ends
    assert user.human_input_mode == "TERMINATE"
    assert user.max_consecutive_auto_reply() == 7
    other = BudgetedConversableAgent("c", "Be brief.")
    assert other.system_message == "Be brief."


def test_a_session_or_a_tracker_may_be_shared(provider, llm, square):
    session = AgentBudget("$1").session()
    one = BudgetedAssistantAgent("one", llm_config=llm(), session=session)
    two = BudgetedAssistantAgent(
        "two", llm_config=llm(), session=session, max_consecutive_auto_reply=2
    )
    three = BudgetedAssistantAgent("three", llm_config=llm(), tracker=one.tracker)
    assert one.session is two.session is three.session is session
    one.initiate_chat(two, message="go", max_turns=2)
    three.generate_reply([{"role": "user", "content": "x"}])
    assert provider.requests == 4
    square(session)


def test_two_with_a_budget_each_pay_their_own(provider, llm, square):
    one = BudgetedAssistantAgent("one", llm_config=llm(), budget="$1")
    two = BudgetedAssistantAgent("two", llm_config=llm(), budget="$1")
    one.initiate_chat(two, message="go", max_turns=3)
    assert [a.session.balance().spent.llm_calls for a in (one, two)] == [2, 3]
    square(one.session, two.session)


@pytest.mark.parametrize("more", [{"budget": 1}, {"tokens": 5}, {"on_exhausted": "raise"}])
def test_arguments_that_contradict_each_other(llm, more):
    with pytest.raises(TypeError, match="tracker="):
        BudgetedAssistantAgent("a", llm_config=llm(), tracker=AutoGenBudgetTracker(), **more)


def test_a_session_brings_its_own_budget(llm):
    with pytest.raises(TypeError, match="session="):
        BudgetedAssistantAgent("a", llm_config=llm(), session=AgentBudget().session(), budget=1)


def test_settings_of_the_tracker_arrive(llm):
    agent = BudgetedAssistantAgent(
        "a", llm_config=llm(), budget=1, on_exhausted="raise", wrap_up="Well?",
        tool_costs={"search": 0.5}, agents={"a": "$0.5"},
    )  # fmt: skip
    assert agent.tracker.on_exhausted == "raise"
    assert agent.tracker.wrap_up == "Well?"
    assert agent.tracker.tool_cost("search") == 500_000_000
    assert agent.tracker.session_of("a").limit == 0.5


def test_a_user_without_a_budget_is_unlimited(provider, llm, square):
    user = BudgetedUserProxyAgent(name="user")
    user.initiate_chat(AssistantAgent("a", llm_config=llm()), message="go")
    assert user.session.limit is None
    square(user.session)


def test_a_user_runs_tools_until_there_is_an_answer(steps, provider, llm, square):
    steps(15)
    assistant = BudgetedAssistantAgent("assistant", llm_config=llm(), budget="$5")
    user = BudgetedUserProxyAgent("user", tool_costs={"search": 0.01}, budget="$5")

    def search(query: str) -> str:
        return f"found {query}"

    register_function(search, caller=assistant, executor=user, description="Search.")
    result = user.initiate_chat(assistant, message="go")
    assert result.summary == "done"
    assert provider.requests == 16
    assert user.session.spent == pytest.approx(0.15)
    provider.wait_idle()
    assert assistant.session.spent_nanos == provider.bill_nanos


def test_a_user_runs_code_if_told_to(provider, llm, tmp_path):
    provider.script(Reply("```python\nprint(2 + 2)\n```", **WORK), Reply("It is 4.", **WORK))
    assistant = BudgetedAssistantAgent("assistant", llm_config=llm(), budget="$5")
    code = {"work_dir": str(tmp_path), "use_docker": False}
    user = BudgetedUserProxyAgent("user", code_execution_config=code)
    result = user.initiate_chat(assistant, message="go")
    assert result.summary == "It is 4."
    assert "Code output: 4" in result.chat_history[2]["content"].replace("\n", " ").replace(
        "  ", " "
    )


def test_at_its_limit_it_says_a_last_word(eager, llm, square):
    assistant = BudgetedAssistantAgent(
        "assistant", llm_config=llm(), budget="$0.04", finalization_reserve="$0.01"
    )
    user = BudgetedUserProxyAgent("user", session=assistant.session)

    def search(query: str) -> str:
        return f"found {query}"

    register_function(search, caller=assistant, executor=user, description="Search.")
    result = user.initiate_chat(assistant, message="go")
    assert result.summary == "the end"
    assert user.generate_reply([{"role": "user", "content": "x"}]) is None
    square(assistant.session)


def test_without_a_reserve_it_raises(provider, llm):
    assistant = BudgetedAssistantAgent("assistant", llm_config=llm(), budget="$0.000001")
    with pytest.raises(BudgetExhausted):
        BudgetedUserProxyAgent("user").initiate_chat(assistant, message="go")
    assert provider.requests == 0


def test_the_package_itself_imports_no_autogen():
    code = "import sys, budget_autogen; assert 'autogen' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603
