"""Every way in which classic agents ask a model is paid for: once, and to the nano."""

import asyncio
from types import SimpleNamespace

import pytest
from autogen import ConversableAgent
from autogen.cache import Cache
from autogen.exception_utils import ModelToolNotSupportedError
from openai import APIError
from pydantic import BaseModel

from budget_core import UnknownModel
from budget_core.testing import Reply

from .conftest import WORK

ASK = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(params=["sync", "async"])
def initiate(request):
    """Chat in both ways."""

    async def chat(first, second, **options):
        if request.param == "async":
            return await first.a_initiate_chat(second, **options)
        return await asyncio.to_thread(first.initiate_chat, second, **options)

    return chat


@pytest.fixture(params=["guarded", "unguarded"])
def guard_sdks(request):
    """Both with the guard on the SDK beneath, and with that on the model's client alone."""
    if request.param == "unguarded":
        request.getfixturevalue("unguarded")
    return request.param == "guarded"


@pytest.mark.parametrize("options", [{}, {"stream": True}, {"n": 2}])
def test_one_reply(provider, assistant, tracker, guard_sdks, options, square):
    provider.default = Reply("hello", **WORK)
    agent = assistant(config=options)
    budget = tracker("$1", guard_sdks=guard_sdks).attach(agent)
    assert agent.generate_reply(ASK) == "hello"
    assert provider.requests == 1
    square(budget.session)
    by_agent = budget.get_report()["breakdown"]["agents"]["by_agent"]
    assert by_agent == {"assistant": budget.session.spent}


async def test_one_reply_awaited(provider, assistant, tracker, guard_sdks, square):
    agent = assistant()
    budget = tracker("$1", guard_sdks=guard_sdks).attach(agent)
    assert await agent.a_generate_reply(ASK) == "Hello from the test provider."
    square(budget.session)


class Answer(BaseModel):
    text: str


def test_structured_output(provider, assistant, tracker, square):
    provider.default = Reply('{"text": "hello"}', **WORK)
    agent = assistant(config={"response_format": Answer})
    budget = tracker("$1").attach(agent)
    assert agent.generate_reply(ASK) == '{"text": "hello"}'
    assert provider.bills[0].body["response_format"]["type"] == "json_schema"
    square(budget.session)


async def test_two_agents_with_a_budget_each(talking, assistant, tracker, initiate, square):
    writer, critic = assistant("writer"), assistant("critic")
    one, two = tracker("$1").attach(writer), tracker("$1").attach(critic)
    await initiate(writer, critic, message="go", max_turns=3)
    assert talking.requests == 5
    assert one.session.balance().spent.llm_calls == 2
    assert two.session.balance().spent.llm_calls == 3
    square(one.session, two.session)


async def test_two_agents_with_a_budget_each_and_no_end(
    talking, assistant, tracker, initiate, square
):
    writer = assistant("writer", max_consecutive_auto_reply=3)
    critic = assistant("critic", max_consecutive_auto_reply=3)
    one, two = tracker("$1").attach(writer), tracker("$1").attach(critic)
    await initiate(writer, critic, message="go")
    assert talking.requests == 6
    assert one.session.spent_nanos == two.session.spent_nanos
    square(one.session, two.session)


async def test_two_agents_with_one_budget(talking, assistant, tracker, initiate, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1").attach(writer, critic)
    await initiate(writer, critic, message="go", max_turns=3)
    assert talking.requests == 5
    square(budget.session)


@pytest.mark.parametrize("way", ["run", "run_iter", "alone"])
def test_runs_in_a_thread(talking, assistant, tracker, way, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1").attach(writer, critic)
    if way == "run_iter":
        list(writer.run_iter(critic, message="go", max_turns=2))
    elif way == "run":
        response = writer.run(critic, message="go", max_turns=2)
        response.process()
        assert response.summary == "text 2"
    else:
        writer.run(message="go", max_turns=2).process()
    assert talking.requests == (2 if way == "alone" else 3)
    square(budget.session)


async def test_runs_in_a_task(talking, assistant, tracker, square):
    writer, critic = assistant("writer"), assistant("critic")
    budget = tracker("$1").attach(writer, critic)
    response = await writer.a_run(critic, message="go", max_turns=2)
    await response.process()
    assert talking.requests == 3
    square(budget.session)


def test_chats_one_after_another(talking, assistant, proxy, tracker, square):
    user, writer, critic = proxy(), assistant("writer"), assistant("critic")
    budget = tracker("$1").attach(user, writer, critic)
    results = user.initiate_chats(
        [{"recipient": one, "message": "go", "max_turns": 1} for one in (writer, critic)]
    )
    assert [result.summary for result in results] == ["text 0", "text 1"]
    square(budget.session)


async def test_chats_side_by_side(talking, assistant, proxy, tracker, square):
    user, writer, critic = proxy(), assistant("writer"), assistant("critic")
    one, two = tracker("$1").attach(writer), tracker("$1").attach(critic)
    await user.a_initiate_chats(
        [
            {"chat_id": at, "recipient": agent, "message": "go", "max_turns": 1}
            for at, agent in enumerate((writer, critic))
        ]
    )
    assert one.session.balance().spent.llm_calls == two.session.balance().spent.llm_calls == 1
    square(one.session, two.session)


@pytest.mark.parametrize("attached", ["both", "sender", "recipient", "apart"])
async def test_a_summary_by_reflection(
    provider, assistant, proxy, tracker, initiate, attached, square
):
    provider.script(Reply("an answer", **WORK), Reply("a summary", **WORK))
    user, agent = proxy(), assistant()
    budgets = [tracker("$1")]
    if attached in ("both", "sender", "apart"):
        budgets[0].attach(user)
    if attached in ("both", "recipient"):
        budgets[0].attach(agent)
    if attached == "apart":
        budgets.append(tracker("$1").attach(agent))
    result = await initiate(user, agent, message="go", summary_method="reflection_with_llm")
    assert result.summary == "a summary"
    square(*(budget.session for budget in budgets))
    assert budgets[-1].session.balance().spent.llm_calls == 2


@pytest.mark.parametrize("attached", ["before", "between"])
def test_what_a_cache_has_is_free(provider, assistant, proxy, tracker, attached, square):
    user, agent, budget = proxy(), assistant(), tracker("$1")
    with Cache.disk(cache_path_root="cache") as cache:
        if attached == "between":
            user.initiate_chat(agent, message="go", cache=cache)
        budget.attach(agent)
        for _ in range(2):
            result = user.initiate_chat(agent, message="go", cache=cache)
    assert result.summary == "Hello from the test provider."
    assert provider.requests == 1
    assert budget.session.balance().spent.llm_calls == (0 if attached == "between" else 1)
    if attached == "before":
        square(budget.session)


def test_each_configuration_has_its_model(provider, llm, tracker, square):
    provider.script(Reply(status=500), Reply("hello", **WORK))
    agent = ConversableAgent("a", llm_config={"config_list": [llm(), llm(model="gpt-4o-mini")]})
    budget = tracker("$1").attach(agent)
    assert agent.generate_reply(ASK) == "hello"
    assert [bill.model for bill in provider.bills] == ["gpt-4o", "gpt-4o-mini"]
    square(budget.session)
    assert budget.get_report()["breakdown"]["llm"]["by_model"].keys() == {"gpt-4o-mini"}


def test_the_configurations_take_turns(provider, llm, tracker, square):
    models = ["gpt-4o", "gpt-4o-mini", "gpt-4.1"]
    configs = [llm(model=model) for model in models]
    agent = ConversableAgent(
        "a", llm_config={"config_list": configs, "routing_method": "round_robin"}
    )
    budget = tracker("$1").attach(agent)
    for _ in range(4):
        agent.generate_reply(ASK)
    assert [bill.model for bill in provider.bills] == [*models, "gpt-4o"]
    square(budget.session)


@pytest.mark.parametrize("billed", [True, False])
def test_every_attempt_is_accounted_for(provider, assistant, tracker, billed, square):
    provider.script(
        Reply(status=429, retry_after=0),
        Reply(status=504, retry_after=0, billed=billed),
        Reply("hello", **WORK),
    )
    agent = assistant(config={"max_retries": 2})
    budget = tracker("$1").attach(agent)
    assert agent.generate_reply(ASK) == "hello"
    assert provider.requests == 3
    square(budget.session, exact=False)
    assert budget.session.balance().spent.llm_calls == 2  # of the 504 nobody knows


def test_an_error_of_the_provider_costs_nothing(provider, assistant, tracker, guard_sdks, square):
    provider.default = Reply(status=400)
    budget = tracker("$1", guard_sdks=guard_sdks)
    agent = assistant()
    budget.attach(agent)
    with pytest.raises(APIError):
        agent.generate_reply(ASK)
    square(budget.session)


class Canned:
    """A model client of a program's own."""

    usage = (500, 100)

    def __init__(self, config, text="hello"):
        self.model = config["model"]
        self.text = text
        self.asked = []

    def create(self, params):
        self.asked.append(params)
        if self.text is None:
            raise ValueError("no text")
        return SimpleNamespace(
            choices=[SimpleNamespace(message=SimpleNamespace(content=self.text))]
        )

    def message_retrieval(self, response):
        return [choice.message.content for choice in response.choices]

    def cost(self, response):
        return 0

    def get_usage(self, response):
        keys = ("prompt_tokens", "completion_tokens", "total_tokens", "cost", "model")
        return dict(zip(keys, (*self.usage, sum(self.usage), 0, self.model), strict=True))


class Silent(Canned):
    """One that tells nothing of its usage."""

    usage = (0, 0)


class Broken(Canned):
    """One whose usage cannot be read."""

    def get_usage(self, response):
        raise KeyError("usage")


def own(kind, model="gpt-4o", **options):
    config = {"model": model, "model_client_cls": kind.__name__}
    agent = ConversableAgent("own", llm_config={"config_list": [config]})
    return agent, lambda: agent.register_model_client(kind, **options)


@pytest.mark.parametrize("first", ["attach", "register"])
def test_a_client_of_ones_own(tracker, first):
    agent, register = own(Canned)
    if first == "register":
        register()
    budget = tracker("$1").attach(agent)
    if first == "attach":
        register()
    assert agent.generate_reply(ASK) == "hello"
    assert budget.session.spent_nanos == 2_250_000
    assert budget.session.balance().spent.tokens == 600
    assert budget.session.reserved == 0
    client = agent.client._clients[0]
    assert 0 < client.asked[0]["max_tokens"] <= 16_384


def test_a_client_that_is_silent_is_charged_by_what_it_wrote(tracker):
    agent, register = own(Silent)
    register()
    budget = tracker("$1").attach(agent)
    agent.generate_reply(ASK)
    assert 0 < budget.session.spent < 0.01
    assert budget.session.reserved == 0


def test_a_client_that_cannot_be_read_is_charged_in_full(tracker):
    agent, register = own(Broken)
    register()
    budget = tracker("$0.05").attach(agent)
    with pytest.raises(KeyError):
        agent.generate_reply(ASK)
    assert budget.session.spent > 0.02
    assert budget.session.reserved == 0


def test_a_client_that_fails_is_charged_in_full(tracker):
    agent, register = own(Canned, text=None)
    register()
    budget = tracker("$0.05").attach(agent)
    with pytest.raises(ValueError, match="no text"):
        agent.generate_reply(ASK)
    assert budget.session.spent > 0.02
    assert budget.session.reserved == 0


def test_a_client_that_a_reply_function_brings_is_paid_for(llm, tracker):
    agent, register = own(Canned)
    register()
    other = ConversableAgent("other", llm_config=llm())
    other.register_reply([object, None], ConversableAgent.generate_oai_reply, config=agent.client)
    budget = tracker("$1").attach(other)
    assert other.generate_reply(ASK) == "hello"
    assert budget.session.spent_nanos == 2_250_000


def test_what_never_came_to_a_request_is_free(provider, assistant, tracker, square):
    tool = {"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}
    agent = assistant(config={"model": "o1", "tools": [tool]})
    budget = tracker("$10").attach(agent)
    with pytest.raises(ModelToolNotSupportedError):
        agent.generate_reply(ASK)
    assert provider.requests == 0
    square(budget.session)


def test_what_tells_no_usage_is_charged_by_its_cap_at_most(provider, llm, tracker, unguarded):
    provider.default = Reply("x" * 400, usage=False)
    agent = ConversableAgent("a", "Be brief.", llm_config=llm())
    budget = tracker("$0.006", guard_sdks=False).attach(agent)
    agent.generate_reply(ASK)
    assert provider.bill_nanos <= budget.session.spent_nanos <= 6_000_000
    assert budget.session.reserved == 0


def test_a_model_without_a_price_is_refused(tracker):
    agent, register = own(Canned, model="nobody-knows-it")
    register()
    client = agent.client._clients[0]
    tracker("$1").attach(agent)
    with pytest.raises(UnknownModel):
        agent.generate_reply(ASK)
    assert client.asked == []


def test_an_answer_without_end_is_capped(provider, assistant, tracker, guard_sdks, square):
    provider.default = Reply(input_tokens=100, output_tokens=20_000)
    agent = assistant()
    budget = tracker("$0.05", guard_sdks=guard_sdks).attach(agent)
    agent.generate_reply(ASK)
    assert provider.bills[0].output_cap is not None
    assert provider.bills[0].output_tokens < 5_000
    square(budget.session)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_callers_own_cap_is_never_raised(provider, assistant, tracker, guard_sdks, name, square):
    provider.default = Reply(input_tokens=100, output_tokens=20_000)
    agent = assistant(config={name: 77})
    budget = tracker("$1", guard_sdks=guard_sdks).attach(agent)
    agent.generate_reply(ASK)
    assert provider.bills[0].output_cap == 77
    square(budget.session)


async def test_a_task_that_is_cancelled_loses_nothing(provider, assistant, tracker, square):
    import threading

    gate = threading.Event()
    provider.default = Reply("x", gate=gate, **WORK)
    agent = assistant()
    budget = tracker("$1").attach(agent)
    task = asyncio.create_task(agent.a_generate_reply(ASK))
    await asyncio.to_thread(provider.wait_for_requests, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await asyncio.to_thread(provider.wait_idle)
    await asyncio.get_running_loop().shutdown_default_executor()  # waits for what is under way
    square(budget.session)
