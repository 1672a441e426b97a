"""Models of all kinds: custom ones, ones without a guard beneath, ones inside each other."""

import asyncio

import crewai
import openai
import pytest
from crewai import BaseLLM
from crewai.hooks.dispatch import HookAborted, InterceptionPoint, scoped_hooks

from budget_core import UnknownModel
from budget_core.testing import Reply

LONG = "x" * 4000


class Local(BaseLLM):
    """Answers by itself, and says what it used if it is told to."""

    def call(self, messages, tools=None, callbacks=None, available_functions=None, **kwargs):
        if self.additional_params.get("usage"):
            self._track_token_usage_internal({"prompt_tokens": 400, "completion_tokens": 50})
        return self.additional_params.get("text", "done")


class Client(BaseLLM):
    """Asks OpenAI's SDK."""

    def call(self, messages, *args, **kwargs):
        with openai.OpenAI(base_url=self.base_url, api_key="test", max_retries=0) as client:
            answer = client.chat.completions.create(model=self.model, messages=messages)
            return answer.choices[0].message.content


class Router(BaseLLM):
    """Asks other models, until one answers."""

    def call(self, messages, *args, **kwargs):
        for llm in self.additional_params["llms"]:
            try:
                return llm.call(messages)
            except openai.APIError:
                continue
        raise RuntimeError("nobody answers")


# -- custom ----------------------------------------------------------------------------------


def test_a_custom_model_is_charged_as_it_says(kit, budget):
    with budget() as middleware:
        kit.crew(kit.agent(llm=Local(model="gpt-4o", usage=True))).kickoff()
    assert middleware.session.spent == 0.0015


def test_one_that_does_not_say_is_charged_no_less_than_it_wrote(kit, budget):
    with budget() as middleware:
        kit.crew(kit.agent(llm=Local(model="gpt-4o", text=LONG))).kickoff()
    assert 0.04 < middleware.session.spent < 0.06
    assert middleware.session.reserved == 0


@pytest.mark.parametrize("calls", [0, 1])
def test_a_custom_model_is_stopped(kit, budget, refused, calls):
    llm = Local(model="gpt-4o")
    with refused(), budget(None, llm_calls=calls):
        kit.crew(kit.agent(llm=llm), kit.agent("Writer", llm=llm)).kickoff()


def test_a_custom_model_without_a_price_is_refused(kit):
    from budget_crewai import CrewAIBudgetMiddleware

    with pytest.raises(UnknownModel), CrewAIBudgetMiddleware("$1"):
        kit.crew(kit.agent(llm=Local(model="mine"))).kickoff()


def test_a_custom_model_over_a_guarded_sdk_is_exact(kit, budget, provider, square):
    with budget() as middleware:
        kit.crew(kit.agent(llm=Client(model="gpt-4o", base_url=provider.openai_url))).kickoff()
    square(middleware.session)


@pytest.mark.parametrize("calls", [0, 1])
def test_models_inside_each_other_are_charged_once(kit, budget, provider, square, refused, calls):
    llm = Router(model="gpt-4o", llms=[kit.llm()])
    with budget() as middleware:
        kit.crew(kit.agent(llm=llm)).kickoff()
    assert provider.requests == 1
    square(middleware.session)
    with refused(), budget(None, llm_calls=calls):
        kit.crew(kit.agent(llm=llm), kit.agent("Writer", llm=llm)).kickoff()


def test_a_model_that_falls_back_on_another_pays_for_both(kit, budget, provider, square):
    provider.script(kit.reply(status=400, billed=True), kit.reply())
    llm = Router(model="gpt-4o", llms=[kit.llm(), kit.llm()])
    with budget() as middleware:
        kit.crew(kit.agent(llm=llm)).kickoff()
    assert provider.requests == 2
    provider.wait_idle()
    assert middleware.session.spent_nanos >= provider.bills[1].nanos
    assert middleware.session.reserved == 0


def test_a_hook_that_denies_a_call_costs_nothing(kit, budget, provider, square):
    def deny(_context):
        raise HookAborted("not today")

    denying = {InterceptionPoint.PRE_MODEL_CALL: [deny]}
    with budget() as middleware:
        with pytest.raises(HookAborted, match="not today"), scoped_hooks(denying):
            kit.llm().call("What is a tide?")
        square(middleware.session)
    assert middleware.session.spent == 0
    assert provider.requests == 0


# -- without a guard beneath -----------------------------------------------------------------


@pytest.fixture
def alone(unguarded, budget):
    def make(*args, **options):
        return budget(*args, guard_sdks=False, **options)

    return make


@pytest.mark.parametrize("options", [{}, {"stream": True}, {"api": "responses"}])
def test_usage_is_what_crewai_says(kit, alone, square, options):
    with alone() as middleware:
        kit.crew(kit.agent(llm=kit.llm(**options)), kit.agent("Writer")).kickoff()
    square(middleware.session)


def test_so_it_is_with_cached_input(kit, alone, provider, square):
    provider.script(Reply("done", input_tokens=2000, cached_tokens=1500, output_tokens=50))
    with alone() as middleware:
        kit.llm().call("What is a tide?")
    square(middleware.session)


@pytest.mark.parametrize("stream", [False, True])
def test_so_it_is_with_anthropic(kit, alone, provider, square, stream):
    usage = {"input_tokens": 3000, "cached_tokens": 1000, "cache_write_tokens": 500}
    provider.script(Reply("done", output_tokens=50, **usage))
    with alone() as middleware:
        kit.claude(stream=stream).call("What is a tide?")
    square(middleware.session)


async def test_so_it_is_in_tasks_of_asyncio(kit, alone, square):
    async with alone() as middleware:
        await asyncio.gather(*(kit.llm().acall(f"What is {n}?") for n in range(4)))
    square(middleware.session)


@pytest.mark.parametrize("calls", [0, 1, 2])
def test_a_crew_is_stopped_all_the_same(kit, alone, provider, refused, square, calls):
    kit.searches()
    with refused(), alone(None, llm_calls=calls) as middleware:
        kit.crew(kit.agent(tools=[kit.search])).kickoff()
    assert provider.requests == calls
    square(middleware.session)


def test_a_stream_is_stopped_in_the_middle(kit, alone, provider, refused):
    provider.default = Reply("tides and waves " * 2000, chunk_delay=0.0002)
    with refused(), alone("$0.02") as middleware:
        kit.llm(stream=True).call("What is a tide?")
    provider.wait_idle()
    assert provider.bills[0].aborted
    assert provider.bill_nanos <= middleware.session.spent_nanos
    assert middleware.session.reserved == 0


@pytest.mark.parametrize(
    ("status", "spent"), [(400, False), (404, False), (500, False), (504, True)]
)
def test_an_error_is_free_where_that_is_certain(kit, alone, provider, status, spent):
    provider.default = Reply("no", status=status)
    with alone() as middleware, pytest.raises((openai.APIError, ValueError)):
        kit.llm().call("What is a tide?")
    assert (middleware.session.spent > 0) is spent
    assert middleware.session.reserved == 0


def test_so_is_a_provider_that_is_not_there(kit, alone):
    llm = crewai.LLM(model="openai/gpt-4o", api_key="k", base_url="http://127.0.0.1:9/v1")
    with alone() as middleware, pytest.raises(ConnectionError):
        llm.call("What is a tide?")
    assert middleware.session.spent == 0


def test_one_that_fails_on_the_way_is_charged(kit, alone, provider):
    provider.default = Reply("done", drop_after=0)
    with alone() as middleware, pytest.raises(ConnectionError):
        kit.llm().call("What is a tide?")
    assert middleware.session.spent > 0
    assert middleware.session.reserved == 0


# -- errors before a request ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llm", "claude", "no key"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_error_before_any_request_is_free(kit, budget, square, monkeypatch, kind, asynchronous):
    if kind == "no key":
        monkeypatch.delenv("OPENAI_API_KEY")
        llm = kit.llm(api_key=None)
    else:
        llm = getattr(kit, kind)()
    messages = [{"role": "user", "content": "hi"} if kind == "no key" else {"role": "user"}]
    with budget("$0.10") as middleware:
        for _ in range(3):
            with pytest.raises(ValueError, match=r"API|content"):
                asyncio.run(llm.acall(messages)) if asynchronous else llm.call(messages)
            assert middleware.session.reserved == 0
    assert kit.provider.requests == 0
    square(middleware.session)


class Unread(BaseLLM):
    """Sends by a client that no guard sees, and cannot read the answer."""

    def call(self, messages, *args, **kwargs):
        import httpx

        url = f"{self.base_url}/chat/completions"
        httpx.post(url, json={"model": "gpt-4o", "messages": messages})
        raise TypeError("unread")


def test_an_error_after_a_request_that_no_guard_saw_is_not(kit, budget):
    llm = Unread(model="gpt-4o", base_url=kit.provider.openai_url)
    with budget("$1") as middleware, pytest.raises(TypeError, match="unread"):
        llm.call([{"role": "user", "content": "hi"}])
    assert middleware.session.spent_nanos >= kit.provider.bill_nanos > 0
    assert middleware.session.reserved == 0
