"""Group chats: who speaks and who chooses the speaker is paid for, and the end is an answer."""

import asyncio

import pytest
from autogen import AssistantAgent, GroupChat, GroupChatManager, LLMConfig
from autogen.agentchat import a_initiate_group_chat, initiate_group_chat, run_group_chat
from autogen.agentchat.group import AgentTarget
from autogen.agentchat.group.guardrails import LLMGuardrail
from autogen.agentchat.group.patterns import AutoPattern, RoundRobinPattern
from autogen.oai.client import OpenAIWrapper

from budget_autogen.classic import BudgetedUserProxyAgent
from budget_core import BudgetExhausted
from budget_core.testing import Reply, ToolCall

from .conftest import WORK


@pytest.fixture(params=["sync", "async"])
def initiate(request):
    async def chat(first, second, **options):
        if request.param == "async":
            return await first.a_initiate_chat(second, **options)
        return await asyncio.to_thread(first.initiate_chat, second, **options)

    return chat


def user_of(manager):
    return manager.groupchat.agents[0]


def names(manager):
    return [message["name"] for message in manager.groupchat.messages]


@pytest.mark.parametrize("attached", ["manager", "chat", "members", "user"])
async def test_every_choice_is_paid_for(talking, group, tracker, initiate, attached, square):
    manager = group(rounds=4)
    chat = manager.groupchat
    targets = {
        "manager": [manager],
        "chat": [chat],
        "members": chat.agents,
        "user": chat.agents[:1],
    }
    budget = tracker("$1").attach(*targets[attached])
    if attached == "chat":  # whose manager nobody pays for
        budget.attach(user_of(manager))
    result = await initiate(user_of(manager), manager, message="go")
    assert talking.requests == 6
    assert names(manager) == ["user", "writer", "critic", "writer"]
    assert result.summary == "text 5"
    square(budget.session)


@pytest.mark.parametrize("method", ["round_robin", "random"])
async def test_other_ways_to_choose_cost_nothing(talking, group, tracker, initiate, method, square):
    manager = group(method, rounds=4)
    budget = tracker("$1").attach(manager)
    await initiate(user_of(manager), manager, message="go")
    assert budget.session.balance().spent.llm_calls == talking.requests
    square(budget.session)


async def test_members_may_have_budgets_of_their_own(talking, group, tracker, initiate, square):
    manager = group(rounds=4)
    budgets = [tracker("$1").attach(member) for member in manager.groupchat.agents]
    await initiate(user_of(manager), manager, message="go")
    assert [b.session.balance().spent.llm_calls for b in budgets] == [3, 2, 1]  # 3 choices
    square(*(budget.session for budget in budgets))


async def test_a_group_has_a_budget_beside_its_members(talking, group, tracker, initiate, square):
    manager = group(rounds=4)
    own = tracker("$1").attach(manager.groupchat.agents[1])
    whole = tracker("$1").attach(manager)
    await initiate(user_of(manager), manager, message="go")
    assert own.session.balance().spent.llm_calls == 2
    square(whole.session)


@pytest.mark.parametrize("attached", ["manager", "members", "user"])
@pytest.mark.parametrize("calls", range(1, 7))
async def test_the_last_of_the_calls_is_an_answer(
    talking, group, tracker, initiate, calls, attached, square
):
    manager = group(rounds=12)
    members = manager.groupchat.agents
    targets = {"manager": [manager], "members": members, "user": members[:1]}[attached]
    budget = tracker("$1", llm_calls=calls, finalization_reserve="$0.1").attach(*targets)
    result = await initiate(user_of(manager), manager, message="go")
    assert talking.requests == calls
    assert manager.groupchat.messages[-1]["content"] == "the end"
    assert result.summary == "the end"
    assert result.chat_history[-1]["content"] == "the end"
    assert budget.session.finalized
    square(budget.session)


@pytest.mark.parametrize("calls", range(1, 5))
async def test_in_turns_the_last_of_the_calls_is_an_answer(
    talking, group, tracker, initiate, calls, square
):
    manager = group("round_robin", rounds=12)
    budget = tracker("$1", llm_calls=calls, finalization_reserve="$0.1").attach(manager)
    result = await initiate(user_of(manager), manager, message="go")
    assert talking.requests == calls
    assert result.summary == manager.groupchat.messages[-1]["content"] == "the end"
    square(budget.session)


@pytest.mark.parametrize("dollars", [0.02, 0.025, 0.03, 0.05])
async def test_dollars_run_out(talking, group, tracker, initiate, dollars, square):
    manager = group(rounds=40)
    budget = tracker(dollars, finalization_reserve="$0.008").attach(manager)
    result = await initiate(user_of(manager), manager, message="go")
    assert result.summary == "the end"
    square(budget.session)


@pytest.mark.parametrize("method", ["auto", "round_robin"])
@pytest.mark.parametrize("calls", range(6))
async def test_the_error_may_be_raised(talking, group, tracker, initiate, calls, method, square):
    manager = group(method, rounds=12)
    options = {"on_exhausted": "raise", "finalization_reserve": 0}
    budget = tracker("$1", llm_calls=calls, **options).attach(manager)
    with pytest.raises(BudgetExhausted):
        await initiate(user_of(manager), manager, message="go")
    assert talking.requests == calls
    square(budget.session)


async def test_a_callable_may_answer(talking, group, tracker, initiate):
    manager = group(rounds=12)
    budget = tracker(llm_calls=3, on_exhausted=lambda _: "that was it").attach(manager)
    for _ in range(2):
        result = await initiate(user_of(manager), manager, message="go")
        assert result.summary == "that was it"
        assert names(manager).count("critic") + names(manager).count("writer") in (1, 2)
    assert budget.session.balance().spent.llm_calls == talking.requests == 3


def test_a_choice_that_is_refused_falls_on_one_who_can_speak(talking, group, tracker):
    manager = group(rounds=12)
    tracker("$1", llm_calls=5, finalization_reserve="$0.1").attach(manager)
    user_of(manager).initiate_chat(manager, message="go")
    assert names(manager) == ["user", "writer", "critic", "writer"]


@pytest.mark.parametrize("how", ["raise", "finalize"])
def test_a_choice_that_is_refused_where_nobody_can_speak(talking, proxy, llm, tracker, how):
    members = [proxy(f"user{at}", is_termination_msg=lambda _: False) for at in range(3)]
    manager = GroupChatManager(GroupChat(members, max_round=3), llm_config=llm())
    tracker("$1", llm_calls=0, on_exhausted=how).attach(manager)
    if how == "raise":
        with pytest.raises(BudgetExhausted):
            members[0].initiate_chat(manager, message="go")
    else:
        members[0].initiate_chat(manager, message="go")
        assert names(manager) == ["user0", "user1", "user2"]


def test_after_the_last_word_nobody_is_chosen(talking, group, tracker):
    chosen = []

    def choose(last, chat):
        chosen.append(last.name)
        return chat.agents[1]

    manager = group(choose, rounds=12)
    tracker("$1", llm_calls=2, finalization_reserve="$0.1").attach(manager)
    user_of(manager).initiate_chat(manager, message="go")
    assert names(manager) == ["user", "writer", "writer"]
    assert chosen == ["user", "writer"]


def test_a_manager_has_a_limit_of_its_own(talking, group, tracker, square):
    manager = group(rounds=4)
    budget = tracker("$1", agents={"chat_manager": "$0.5"}).attach(manager)
    user_of(manager).initiate_chat(manager, message="go")
    assert budget.session_of("chat_manager").balance().spent.llm_calls == 3
    square(budget.session)


def test_a_summary_by_reflection(talking, group, tracker, square):
    manager = group("round_robin", rounds=2)
    budget = tracker("$1").attach(manager)
    user = user_of(manager)
    user.initiate_chat(manager, message="go", summary_method="reflection_with_llm")
    assert talking.requests == 2
    square(budget.session)


def test_tools_in_a_group(provider, group, tracker, searching, square):
    manager = group("round_robin", rounds=4)
    user, writer, _ = manager.groupchat.agents
    ran = searching(writer, user)
    provider.script(
        Reply(tool_calls=[ToolCall("search", {"query": "x"})], **WORK), Reply("done", **WORK)
    )
    budget = tracker("$1", tool_costs={"search": 0.01}).attach(manager)
    user.initiate_chat(manager, message="go")
    assert ran == ["x"]
    provider.wait_idle()
    assert budget.session.spent_nanos == provider.bill_nanos + 10_000_000


def test_who_joins_late_is_paid_for(talking, group, assistant, tracker, square):
    manager = group("round_robin", rounds=5)
    budget = tracker("$1").attach(manager)
    late = assistant("late")
    manager.groupchat.agents.append(late)
    manager.groupchat.allowed_speaker_transitions_dict.update(
        dict.fromkeys(manager.groupchat.agents, manager.groupchat.agents)
    )
    user_of(manager).initiate_chat(manager, message="go")
    assert "late" in names(manager)
    square(budget.session)


def test_a_group_in_a_group(talking, assistant, proxy, llm, tracker, square):
    inner = GroupChat(
        [assistant("writer"), assistant("critic")],
        max_round=3,
        speaker_selection_method="round_robin",
    )
    team = GroupChatManager(inner, name="team", llm_config=llm())
    user = proxy(is_termination_msg=lambda _: False)
    outer = GroupChat(
        [user, team, assistant("boss")], max_round=4, speaker_selection_method="round_robin"
    )
    manager = GroupChatManager(outer, llm_config=llm())
    budget = tracker("$1").attach(manager)
    user.initiate_chat(manager, message="go")
    assert talking.requests > 1
    square(budget.session)


# -- patterns --------------------------------------------------------------------------------


@pytest.fixture
def pattern(assistant, proxy, llm):
    def make(kind=AutoPattern, *, user=None):
        writer, critic = assistant("writer"), assistant("critic")
        user = user or proxy(is_termination_msg=lambda _: False)
        return kind(
            initial_agent=writer,
            agents=[writer, critic],
            user_agent=user,
            group_manager_args={"llm_config": llm()},
        )

    return make


@pytest.fixture(params=["sync", "async", "run"])
def initiate_group(request):
    async def chat(pattern, **options):
        if request.param == "async":
            return (await a_initiate_group_chat(pattern, "go", **options))[0]
        if request.param == "sync":
            return (await asyncio.to_thread(initiate_group_chat, pattern, "go", **options))[0]
        response = run_group_chat(pattern, "go", **options)
        await asyncio.to_thread(response.process)
        return response

    return chat


@pytest.mark.parametrize("attached", ["pattern", "agents", "one", "user"])
async def test_the_manager_of_a_pattern_is_paid_for(
    talking, pattern, tracker, initiate_group, attached, square
):
    made = pattern()
    targets = {
        "pattern": [made],
        "agents": made.agents,
        "one": made.agents[:1],
        "user": [made.user_agent],
    }
    budget = tracker("$1").attach(*targets[attached])
    await initiate_group(made, max_rounds=5)
    assert talking.requests == 7
    assert sum(is_choice_body(bill.body) for bill in talking.bills) == 3
    square(budget.session)


def is_choice_body(body):
    return "next role" in str(body["messages"][-1]["content"])


async def test_the_chat_of_a_pattern_ends_with_an_answer(
    talking, pattern, tracker, initiate_group, square
):
    made = pattern()
    budget = tracker("$1", llm_calls=4, finalization_reserve="$0.1").attach(made)
    result = await initiate_group(made, max_rounds=20)
    assert result.summary == "the end"
    assert talking.requests == 4
    square(budget.session)


async def test_a_pattern_whose_agents_have_budgets_of_their_own(
    talking, pattern, tracker, initiate_group, square
):
    made = pattern(RoundRobinPattern)
    budgets = [tracker("$1").attach(agent) for agent in made.agents]
    await initiate_group(made, max_rounds=6)
    square(*(budget.session for budget in budgets))


# -- guardrails ------------------------------------------------------------------------------


@pytest.mark.parametrize("attached", ["member", "user"])
@pytest.mark.parametrize("side", ["input", "output"])
async def test_guardrails_that_ask_a_model_are_paid_for(
    provider, group, tracker, llm, initiate, side, attached, square
):
    def reply(incoming):
        checked = "You are a guardrail" in incoming.messages[0]["content"]
        return Reply('{"activated": false, "justification": ""}' if checked else "text", **WORK)

    provider.respond(reply)
    manager = group("round_robin", rounds=3)
    writer = manager.groupchat.agents[1]
    rail = LLMGuardrail("rude", "it is rude", AgentTarget(writer), LLMConfig(llm()))
    getattr(writer, f"register_{side}_guardrail")(rail)
    if attached == "member":
        budget = tracker("$1").attach(writer, manager.groupchat.agents[2])
    else:
        budget = tracker("$1").attach(user_of(manager))
    await initiate(user_of(manager), manager, message="go")
    assert provider.requests == 3
    square(budget.session)


# -- what a program does by itself -----------------------------------------------------------


async def test_a_wrapper_that_is_made_in_a_reply_is_paid_for(
    provider, llm, tracker, initiate, square
):
    def answer(recipient, messages, sender, config):
        response = OpenAIWrapper(**recipient.llm_config).create(
            messages=[{"role": "user", "content": "x"}]
        )
        return True, response.choices[0].message.content

    agent = AssistantAgent("a", llm_config=llm())
    agent.register_reply([object, None], answer)
    user = BudgetedUserProxyAgent("user", budget="$1")
    budget = tracker("$1").attach(agent)
    result = await initiate(user, agent, message="go")
    assert result.summary == "Hello from the test provider."
    square(budget.session, user.session)
    assert provider.requests == 1
