"""A chat that runs out of money ends with an answer, or with an error before anything is sent."""

import asyncio

import pytest
from autogen import ConversableAgent

from budget_core import BudgetExhausted, LoopDetected, SessionCancelled, SessionFinalized
from budget_core.frameworks.last_word import SPEECHLESS
from budget_core.testing import Reply, ToolCall

from .conftest import WORK

CALLS = 5
"""Of the model, in a chat that searches four times before it answers."""
ONE = 0.00225
"""What each of them costs."""
RESERVE = "$0.004"


@pytest.fixture(params=["sync", "async", "run"])
def initiate(request):
    async def chat(first, second, **options):
        if request.param == "async":
            return await first.a_initiate_chat(second, **options)
        if request.param == "sync":
            return await asyncio.to_thread(first.initiate_chat, second, **options)
        response = first.run(second, **options)
        await asyncio.to_thread(response.process)
        return response

    return chat


def history(result):
    return getattr(result, "chat_history", None) or list(result.messages)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize("calls", range(1, CALLS + 1))
async def test_the_last_of_the_calls_is_an_answer(
    steps, provider, assistant, proxy, tracker, searching, initiate, calls, shared, square
):
    steps(CALLS - 1)
    user, agent = proxy(), assistant()
    ran = searching(agent, user)
    budget = tracker("$1", llm_calls=calls, finalization_reserve="$0.1").attach(agent)
    if shared:
        budget.attach(user)
    result = await initiate(user, agent, message="go")
    assert provider.requests == calls
    assert len(ran) == calls - 1
    last = provider.bills[-1].body
    assert "last message" in last["messages"][-1]["content"]
    assert "tools" not in last
    assert result.summary in (SPEECHLESS, "done")
    assert history(result)[-1]["content"] == result.summary
    assert budget.session.finalized
    square(budget.session)


@pytest.mark.parametrize("calls", range(1, CALLS))
async def test_without_a_reserve_the_error_propagates(
    steps, provider, assistant, proxy, tracker, searching, initiate, calls, square
):
    steps(CALLS - 1)
    user, agent = proxy(), assistant()
    searching(agent, user)
    budget = tracker("$1", llm_calls=calls).attach(agent, user)
    with pytest.raises(BudgetExhausted) as raised:
        await initiate(user, agent, message="go")
    assert raised.value.unit == "llm_calls"
    assert provider.requests == calls
    square(budget.session)


@pytest.mark.parametrize("calls", range(3, 9))
async def test_dollars_run_out_at_any_call(
    eager, assistant, proxy, tracker, searching, initiate, calls, square
):
    user, agent = proxy(), assistant()
    searching(agent, user)
    budget = tracker(calls * ONE + 0.01, finalization_reserve=RESERVE).attach(user, agent)
    result = await initiate(user, agent, message="go")
    assert result.summary == "the end"
    assert history(result)[-1]["content"] == "the end"
    assert eager.requests >= 3
    assert budget.session.finalized
    square(budget.session)


@pytest.mark.parametrize("turns", [None, 20])
@pytest.mark.parametrize("attached", ["both", "assistant", "apart"])
async def test_nothing_comes_after_the_last_word(
    talking, assistant, proxy, tracker, initiate, turns, attached, square
):
    user = proxy(is_termination_msg=lambda _: False, default_auto_reply="go on")
    agent = assistant()
    budget = tracker("$1", llm_calls=3, finalization_reserve="$0.1").attach(agent)
    if attached != "assistant":
        (budget if attached == "both" else tracker("$1")).attach(user)
    options = {} if turns is None else {"max_turns": turns}
    result = await initiate(user, agent, message="go", **options)
    assert talking.requests == 3
    assert result.summary == "the end"
    assert agent.last_message(user)["content"] == "the end"
    if attached != "assistant" or turns is None:
        assert history(result)[-1]["content"] == "the end"
    square(budget.session)


async def test_two_models_share_the_last_word(talking, assistant, tracker, initiate, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1", llm_calls=4, finalization_reserve="$0.1").attach(writer, critic)
    result = await initiate(writer, critic, message="go", max_turns=9)
    assert talking.requests == 4
    assert history(result)[-1]["content"] == "the end"
    square(budget.session)


@pytest.mark.parametrize("way", ["initiate_chat", "a_initiate_chat"])
async def test_afterwards_everybody_is_silent(talking, assistant, proxy, tracker, way, square):
    user, agent = proxy(), assistant()
    budget = tracker("$1", llm_calls=1, finalization_reserve="$0.1").attach(user, agent)
    user.initiate_chat(agent, message="go")
    assert agent.generate_reply([{"role": "user", "content": "more"}]) is None
    assert await agent.a_generate_reply([{"role": "user", "content": "more"}]) is None
    assert user.generate_reply(sender=agent) is None
    if way == "initiate_chat":
        result = user.initiate_chat(agent, message="more")
    else:
        result = await user.a_initiate_chat(agent, message="more")
    assert [message["content"] for message in result.chat_history] == ["more"]
    assert talking.requests == 1
    square(budget.session)


@pytest.mark.parametrize("hook", ["safeguard_llm_inputs", "safeguard_tool_inputs"])
@pytest.mark.parametrize("how", ["finalize", "raise"])
def test_another_one_may_have_the_last_word_meanwhile(
    steps, provider, assistant, proxy, tracker, searching, hook, how, square
):
    steps(1)
    user, agent, other = proxy(), assistant(), assistant("other")
    searching(agent, user)
    budget = tracker("$1", finalization_reserve="$0.1", on_exhausted=how).attach(user, agent, other)

    def finalize(heard):
        with budget.session.finalize():
            other.generate_reply([{"role": "user", "content": "quick"}])
        return heard

    (user if "tool" in hook else agent).register_hook(hook, finalize)
    if how == "raise":
        with pytest.raises(SessionFinalized):
            user.initiate_chat(agent, message="go")
    else:
        result = user.initiate_chat(agent, message="go")
        assert result.chat_history[-1]["content"] in ("go", None)  # a question, or a tool
    assert provider.requests == (2 if "tool" in hook else 1)
    square(budget.session)


async def test_a_summary_after_the_last_word_is_that(
    talking, assistant, proxy, tracker, initiate, square
):
    user, agent = proxy(), assistant()
    budget = tracker("$1", llm_calls=1, finalization_reserve="$0.1").attach(user, agent)
    result = await initiate(user, agent, message="go", summary_method="reflection_with_llm")
    assert result.summary == "the end"
    square(budget.session)


def test_a_summary_that_is_refused_is_none(talking, assistant, proxy, tracker, square):
    user, agent = proxy(), assistant()
    budget = tracker("$1", llm_calls=1).attach(user, agent)
    with pytest.warns(UserWarning, match="Cannot extract summary"):
        result = user.initiate_chat(agent, message="go", summary_method="reflection_with_llm")
    assert result.summary == ""
    square(budget.session)


async def test_the_error_may_be_raised(
    eager, assistant, proxy, tracker, searching, initiate, square
):
    user, agent = proxy(), assistant()
    searching(agent, user)
    budget = tracker("$0.02", on_exhausted="raise", finalization_reserve=0.2).attach(user, agent)
    with pytest.raises(BudgetExhausted):
        await initiate(user, agent, message="go")
    assert not budget.session.finalized
    square(budget.session)


async def test_a_callable_may_answer(talking, assistant, tracker, initiate, square):
    errors = []

    def answer(error):
        errors.append(error)
        return f"that was it ({error.unit})"

    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1", llm_calls=3, on_exhausted=answer).attach(writer, critic)
    for count in (1, 2):  # each chat gets its answer
        result = await initiate(writer, critic, message="go", max_turns=9)
        assert history(result)[-1]["content"] == "that was it (llm_calls)"
        assert result.summary == "that was it (llm_calls)"
        assert len(errors) == count
    assert talking.requests == 3
    square(budget.session)


def test_a_callable_may_answer_a_program_each_time(talking, assistant, tracker):
    agent = assistant()
    tracker(llm_calls=1, on_exhausted=lambda _: "no money").attach(agent)
    ask = [{"role": "user", "content": "go"}]
    assert [agent.generate_reply(ask) for _ in range(3)] == ["text 0", "no money", "no money"]


def test_a_callable_has_to_answer(talking, assistant, tracker):
    agent = assistant()
    tracker(0, on_exhausted=lambda _: None).attach(agent)
    with pytest.raises(TypeError, match="on_exhausted"):
        agent.generate_reply([{"role": "user", "content": "go"}])


def test_a_cancelled_session_has_no_last_word(talking, assistant, proxy, tracker):
    agent = assistant()
    budget = tracker("$1", finalization_reserve=0.5).attach(agent)
    budget.session.cancel()
    with pytest.raises(SessionCancelled):
        proxy().initiate_chat(agent, message="go")
    assert talking.requests == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_calls_tools_to_the_end_is_cut_off(
    provider, assistant, proxy, tracker, searching, stream, square
):
    provider.default = Reply(tool_calls=[ToolCall("search", {"query": "again"})], **WORK)
    user, agent = proxy(), assistant(config={"stream": stream})
    searching(agent, user)
    budget = tracker("$0.03", finalization_reserve="$0.01").attach(user, agent)
    result = user.initiate_chat(agent, message="go")
    assert result.summary == SPEECHLESS
    assert "tool_calls" not in result.chat_history[-1]
    square(budget.session)


def test_what_is_said_at_last_is_hooked_like_all_else(provider, assistant, tracker, square):
    agent = assistant()
    heard = []

    def hear(messages):
        heard.append(messages[-1]["content"])
        return messages

    agent.register_hook("safeguard_llm_inputs", hear)
    agent.register_hook("process_all_messages_before_reply", lambda messages: messages[-1:])
    budget = tracker("$1", llm_calls=1, finalization_reserve="$0.1", wrap_up="Well?").attach(agent)
    asked = [{"role": "user", "content": text} for text in ("one", "two")]
    assert agent.generate_reply(asked) == "Hello from the test provider."
    assert heard == ["two", "Well?"]
    texts = [message["content"] for message in provider.bills[0].body["messages"]]
    assert texts[1:] == ["two", "Well?"]
    square(budget.session)


def test_a_loop_is_broken(provider, assistant, proxy, tracker, square):
    user = proxy(is_termination_msg=lambda _: False, default_auto_reply="thanks")
    agent = assistant(system_message="hi")
    budget = tracker("$1", max_repeated_calls=4).attach(agent)
    with pytest.raises(LoopDetected):
        user.initiate_chat(agent, message="thanks", max_turns=30)
    assert provider.requests < 7
    square(budget.session)


def test_a_limit_of_its_own_ends_one_agent(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1", agents={"critic": "$0.03"}, finalization_reserve=0.3)
    budget.attach(writer, critic)
    result = writer.initiate_chat(critic, message="go", max_turns=30)
    assert result.chat_history[-1]["content"] == "the end"
    assert result.chat_history[-1]["name"] == "critic"
    own = budget.session_of("critic")
    assert own.finalized
    assert not budget.session.finalized
    assert own.spent <= 0.03
    square(budget.session)


@pytest.mark.usefixtures("ledger_url")
@pytest.mark.parametrize("tight", ["first", "second"])
async def test_the_last_word_is_paid_by_whose_limit_it_was(
    talking, assistant, proxy, tracker, tight, square
):
    user, agent = proxy(is_termination_msg=lambda _: False, default_auto_reply="on"), assistant()
    settings = [{"llm_calls": 3, "finalization_reserve": "$0.1"}, {"on_exhausted": "raise"}]
    if tight == "second":
        settings.reverse()
    budgets = [tracker("$1").child_tracker("$1", agent, **options) for options in settings]
    result = await user.a_initiate_chat(agent, message="go")
    assert result.summary == "the end"
    assert talking.requests == 3
    assert [b.session.finalized for b in budgets] == [tight == "first", tight == "second"]
    for budget in budgets:
        square(budget.session)


def test_templates_are_filled_in_at_last_as_well(provider, llm, tracker):
    agent = ConversableAgent("a", llm_config=llm(allow_format_str_template=True))
    tracker("$1", llm_calls=1, finalization_reserve="$0.1").attach(agent)
    agent.generate_reply([{"role": "user", "content": "Hi {who}", "context": {"who": "Ann"}}])
    assert provider.bills[0].body["messages"][1]["content"] == "Hi Ann"
