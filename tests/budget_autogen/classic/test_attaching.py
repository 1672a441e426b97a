"""Attached, an agent is the same object, of a class that looks like its own; detached, as before."""

import copy

import pytest
from autogen import AssistantAgent, ConversableAgent, GroupChat, GroupChatManager, UserProxyAgent
from autogen.oai.client import OpenAIWrapper

from budget_autogen.tracker import AutoGenBudgetTracker
from budget_core import AgentBudget, BudgetExhausted
from budget_core.testing import Reply

from .conftest import WORK

ASK = [{"role": "user", "content": "Say hello."}]


@pytest.mark.parametrize("kind", [ConversableAgent, AssistantAgent, UserProxyAgent])
def test_the_class_looks_like_its_own(llm, kind):
    agent = kind("a", llm_config=llm(), code_execution_config=False)
    wrapper = agent.client
    functions = [entry["reply_func"] for entry in agent._reply_func_list]
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    assert isinstance(agent, kind)
    assert type(agent) is not kind
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(type(agent), name) == getattr(kind, name)
    assert isinstance(agent.client, OpenAIWrapper)
    assert type(agent.client).__name__ == "OpenAIWrapper"
    assert agent.client is agent.client
    tracker.detach(agent)
    assert type(agent) is kind
    assert agent.client is wrapper
    assert [entry["reply_func"] for entry in agent._reply_func_list] == functions
    assert not [name for name in vars(agent) if "budget" in name]


def test_attaching_again_changes_nothing(provider, assistant, square):
    agent = assistant()
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    kind = type(agent)
    tracker.attach(agent)
    tracker.attach(agent, agent)
    assert type(agent) is kind
    agent.generate_reply(ASK)
    assert tracker.session.balance().spent.llm_calls == 1
    square(tracker.session)
    tracker.detach(agent)
    assert type(agent) is AssistantAgent


def test_detached_it_costs_nothing(provider, assistant):
    agent = assistant()
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    client = agent.client
    tracker.detach(agent)
    agent.generate_reply(ASK)
    client.create(messages=ASK)
    assert provider.requests == 2
    assert tracker.session.spent == 0


def test_two_trackers_pay_both(provider, assistant, square):
    agent = assistant()
    one = AutoGenBudgetTracker("$1").attach(agent)
    two = AutoGenBudgetTracker("$1").attach(agent)
    agent.generate_reply(ASK)
    square(one.session)
    square(two.session)
    one.detach(agent)
    assert type(agent) is not AssistantAgent
    agent.generate_reply(ASK)
    square(two.session)
    assert one.session.spent_nanos < two.session.spent_nanos


def test_the_tighter_one_stops(provider, assistant, square):
    agent = assistant()
    one = AutoGenBudgetTracker("$1", llm_calls=1).attach(agent)
    two = AutoGenBudgetTracker("$1").attach(agent)
    agent.generate_reply(ASK)
    with pytest.raises(BudgetExhausted) as raised:
        agent.generate_reply(ASK)
    assert raised.value.account == one.session.id
    square(two.session)


def test_a_group_is_attached_with_all_that_is_in_it(group, assistant, proxy):
    manager = group()
    deep = assistant("deep")
    writer = manager.groupchat.agents[1]
    writer.register_nested_chats([{"recipient": deep, "max_turns": 1}], trigger=lambda _: True)
    chats = [entry[key] for entry in manager._reply_func_list for key in ("config", "init_config")]
    chats = [chat for chat in chats if isinstance(chat, GroupChat)]
    assert len(chats) == 4
    everything = [manager, deep, manager.groupchat, *chats, *manager.groupchat.agents]
    before = [type(one) for one in everything]
    tracker = AutoGenBudgetTracker("$1").attach(manager)
    assert all(type(one) is not kind for one, kind in zip(everything, before, strict=True))
    manager.reset()
    tracker.detach()
    assert [type(one) for one in everything] == before
    for one in everything:
        assert not [name for name in vars(one) if "budget" in name]


def test_a_group_that_contains_itself(assistant, llm):
    chat = GroupChat([assistant("a"), assistant("b")])
    manager = GroupChatManager(chat, llm_config=llm())
    chat.agents.append(manager)
    tracker = AutoGenBudgetTracker("$1").attach(manager)
    tracker.detach()
    assert type(manager) is GroupChatManager


def test_a_copy_of_a_group_is_attached(group):
    chat = group().groupchat
    AutoGenBudgetTracker("$1").attach(chat)
    assert type(copy.copy(chat)) is type(chat)
    assert copy.copy(chat) == chat
    assert repr(chat).startswith("GroupChat(")


@pytest.mark.parametrize("method", ["register_for_llm", "update_function_signature", "assigned"])
def test_a_replaced_client_is_paid_for(provider, llm, assistant, method, square):
    agent = assistant()
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    if method == "register_for_llm":

        def tool() -> str:
            return "x"

        agent.register_for_llm(description="x")(tool)
    elif method == "update_function_signature":
        agent.update_function_signature({"name": "f", "parameters": {"type": "object"}})
    else:
        agent.client = OpenAIWrapper(**llm())
    agent.generate_reply(ASK)
    assert provider.requests == 1
    square(tracker.session)


def test_a_shared_wrapper_is_paid_for_by_who_uses_it(provider, llm, assistant, square):
    wrapper = OpenAIWrapper(**llm())
    agents = [assistant("a"), assistant("b"), assistant("c")]
    trackers = [AutoGenBudgetTracker("$1").attach(agent) for agent in agents[:2]]
    for agent in agents[:2]:
        agent.client = wrapper
    agents[0].client = agents[1].client
    agents[2].client = agents[1].__dict__["client"]
    for agent, times in zip(agents, (1, 2, 3), strict=True):
        for _ in range(times):
            agent.generate_reply(ASK)
    assert provider.requests == 6
    assert [t.session.balance().spent.llm_calls for t in trackers] == [1, 2]
    usage = wrapper.actual_usage_summary["gpt-4o"]["prompt_tokens"]
    assert usage == sum(bill.input_tokens for bill in provider.bills)


def test_what_autogen_counts_stays(provider, assistant):
    agent = assistant()
    tracker = AutoGenBudgetTracker("$1").attach(agent)
    agent.generate_reply(ASK)
    during = agent.get_actual_usage()
    tracker.detach()
    assert agent.get_actual_usage() == during
    assert during["total_cost"] > 0


def test_agents_have_limits_of_their_own(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1", agents={"critic": "$0.02"}).attach(writer, critic)
    with pytest.raises(BudgetExhausted) as raised:
        writer.initiate_chat(critic, message="go", max_turns=30)
    assert raised.value.account == budget.session_of("critic").id
    assert budget.session_of("critic").spent <= 0.02
    square(budget.session)


def test_a_child_tracker_is_a_limit_within_a_limit(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1").attach(writer, critic)
    child = budget.child_tracker("$0.02", critic)
    with pytest.raises(BudgetExhausted) as raised:
        writer.initiate_chat(critic, message="go", max_turns=30)
    assert raised.value.account == child.session.id
    assert 0 < child.session.spent <= 0.02
    square(budget.session)


def test_a_session_may_be_shared(talking, assistant, square):
    with AgentBudget("$1").session() as session:
        writer, critic = assistant("writer"), assistant("critic")
        AutoGenBudgetTracker(session=session).attach(writer)
        AutoGenBudgetTracker(session=session).attach(critic)
        writer.initiate_chat(critic, message="go", max_turns=2)
        assert session.balance().spent.llm_calls == talking.requests == 3
        square(session)


def test_within_its_own_tracker_nothing_is_paid_twice(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    with tracker("$1") as budget:
        budget.attach(writer)
        writer.initiate_chat(critic, message="go", max_turns=2)
        square(budget.session)


def test_who_is_made_to_pay_beside_it_does(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    own = [tracker("$1").attach(agent) for agent in (writer, critic)]
    with tracker("$1") as whole:
        writer.initiate_chat(critic, message="go", max_turns=2)
        square(whole.session)
    square(*(budget.session for budget in own))


def test_something_else_is_refused(llm):
    with pytest.raises(TypeError, match="attaches to"):
        AutoGenBudgetTracker("$1").attach(OpenAIWrapper(**llm()))


@pytest.mark.parametrize("way", ["initiate_chat", "run"])
def test_a_guest_is_given_back(provider, assistant, proxy, tracker, way):
    user, agent = proxy(), assistant()
    tracker("$1").attach(user)
    if way == "run":
        user.run(agent, message="go").process()
    else:
        user.initiate_chat(agent, message="go")
    assert type(agent) is AssistantAgent
    assert not [name for name in vars(agent) if "budget" in name]


def test_a_guest_has_a_last_word(talking, assistant, proxy, tracker, square):
    user, agent = proxy(is_termination_msg=lambda _: False), assistant()
    budget = tracker("$1", llm_calls=2, finalization_reserve="$0.1").attach(user)
    result = user.initiate_chat(agent, message="go")
    assert result.summary == "the end"
    square(budget.session)


async def test_a_guest_of_several_is_paid_for_by_each(provider, assistant, proxy, tracker, square):
    import asyncio
    import threading

    provider.default = Reply("hello", gate=(gate := threading.Event()), **WORK)
    agent, users = assistant(), [proxy(f"user{at}") for at in range(3)]
    budgets = [tracker("$1").attach(user) for user in users]
    chats = [asyncio.create_task(user.a_initiate_chat(agent, message="go")) for user in users]
    await asyncio.to_thread(provider.wait_for_requests, 3)
    gate.set()
    await asyncio.gather(*chats)
    assert [b.session.balance().spent.llm_calls for b in budgets] == [1, 1, 1]
    square(*(budget.session for budget in budgets))
    assert type(agent) is AssistantAgent
