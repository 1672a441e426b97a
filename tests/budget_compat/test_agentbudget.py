"""The documentation of `agentbudget` is true of this package, with nothing but the import changed.

The snippets stand here as they stand there.
"""

import asyncio
import json
import threading

import anthropic
import openai
import pytest
from google import genai

import budget_core
from budget_compat import agentbudget
from budget_core.sdk import dropin
from budget_core.testing import Reply

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _torn_down():
    yield
    for session in tuple(dropin._open):  # those of async tests, too
        dropin.teardown(session)
    agentbudget.teardown()


@pytest.fixture
def client(run):
    with openai.OpenAI() as client:
        yield client


@pytest.fixture
async def async_client(run):
    async with openai.AsyncOpenAI() as client:
        yield client


def chat(client, content="Hello", **options):
    question = [{"role": "user", "content": content}]
    return client.chat.completions.create(model="gpt-4o", messages=question, **options)


# -- drop-in mode --------------------------------------------------------------------------------

QUICKSTART = """
import agentbudget
import openai
from google import genai

agentbudget.init("$5.00")

# Your existing code — no changes needed
client = openai.OpenAI()
response = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Hello"}]
)

print(agentbudget.spent())      # e.g. 0.0035
print(agentbudget.remaining())  # e.g. 4.9965
print(agentbudget.report())     # Full cost breakdown

agentbudget.teardown()  # Stop tracking, get final report
"""


def test_quickstart(run, provider, capsys):
    run(QUICKSTART)
    spent, remaining, report = capsys.readouterr().out.splitlines()
    assert float(spent) == provider.bill > 0
    assert float(remaining) == 5 - provider.bill
    assert f"'total_spent': {provider.bill}" in report
    assert agentbudget.get_session() is None
    chat(openai.OpenAI())
    assert agentbudget.spent() == 0  # tracking has stopped


def test_the_api_of_drop_in_mode(client, provider):
    session = agentbudget.init("$5.00")
    assert isinstance(session, agentbudget.BudgetSession)
    assert agentbudget.get_session() is session
    chat(client)
    assert agentbudget.track({"hits": 3}, 0.01, "serp") == {"hits": 3}
    assert agentbudget.spent() == session.spent == pytest.approx(provider.bill + 0.01)
    assert agentbudget.remaining() == pytest.approx(5 - session.spent)
    assert agentbudget.report()["breakdown"]["tools"]["by_tool"] == {"serp": 0.01}
    report = agentbudget.teardown()
    assert report["total_spent_nanos"] == provider.bill_nanos + 10_000_000


def test_every_documented_name_is_there():
    documented = {
        "AgentBudget", "BudgetSession", "AsyncBudgetSession", "init", "spent", "remaining",
        "report", "track", "wrap_client", "get_session", "teardown", "register_model",
        "register_models", "BudgetExhausted", "LoopDetected", "InvalidBudget", "InvalidCost",
        "AgentBudgetError",
    }  # fmt: skip
    assert set(agentbudget.__all__) == documented
    assert all(hasattr(agentbudget, name) for name in documented)


def test_without_init_there_is_nothing_to_tell():
    assert agentbudget.spent() == 0.0
    assert agentbudget.remaining() == 0.0
    assert agentbudget.report() is None
    assert agentbudget.get_session() is None
    assert agentbudget.teardown() is None
    with pytest.raises(agentbudget.AgentBudgetError):
        agentbudget.track("result", cost=0.01)


def test_a_second_init_replaces_the_first(client, provider):
    first = agentbudget.init("$5.00", session_id="first")
    chat(client)
    spent = first.spent
    second = agentbudget.init("$7.00", session_id="second")
    assert first.closed
    assert second.parent is None
    assert agentbudget.report()["session_id"] == "second"
    chat(client)
    assert first.spent == spent
    assert second.spent_nanos + first.spent_nanos == provider.bill_nanos
    assert agentbudget.teardown()["budget"] == 7
    assert agentbudget.teardown() is None


def test_a_budget_that_cannot_be_read_replaces_nothing():
    session = agentbudget.init("$5.00")
    with pytest.raises(agentbudget.InvalidBudget):
        agentbudget.init("five dollars")
    assert agentbudget.get_session() is session


async def test_concurrent_requests_each_have_their_own_budget(async_client, provider):
    sessions = {}

    async def request(dollars):
        sessions[dollars] = agentbudget.init(dollars)
        for _ in range(dollars):
            await chat(async_client, f"{dollars} dollars")
        assert agentbudget.get_session() is sessions[dollars]
        return agentbudget.teardown()

    reports = await asyncio.gather(*map(request, (1, 2, 3)))
    assert [report["budget"] for report in reports] == [1, 2, 3]
    assert [report["breakdown"]["llm"]["calls"] for report in reports] == [1, 2, 3]
    assert sum(report["total_spent_nanos"] for report in reports) == provider.bill_nanos


async def test_a_task_does_not_end_what_its_parent_began():
    session = agentbudget.init("$5.00")
    assert await asyncio.create_task(_teardown()) is None
    assert agentbudget.get_session() is session
    assert not session.closed
    assert agentbudget.teardown()["session_id"] == session.id


async def _teardown():
    return agentbudget.teardown()


def test_a_thread_pays_with_the_budget_that_is_open(client, provider):
    session = agentbudget.init("$5.00")
    thread = threading.Thread(target=chat, args=(client,))
    thread.start()
    thread.join()
    assert session.spent_nanos == provider.bill_nanos > 0


def test_two_budgets_of_other_threads_are_not_reported_as_nothing(run):
    def begin(ready, done):
        agentbudget.init("$5.00")
        ready.set()
        done.wait(10)
        agentbudget.teardown()

    done = threading.Event()
    threads = []
    for _ in range(2):
        ready = threading.Event()
        threads.append(threading.Thread(target=begin, args=(ready, done)))
        threads[-1].start()
        assert ready.wait(10)
    try:
        with pytest.raises(budget_core.AmbiguousBudget):
            agentbudget.spent()
    finally:
        done.set()
        for thread in threads:
            thread.join()


# -- manual mode ---------------------------------------------------------------------------------

MANUAL = """
from agentbudget import AgentBudget

budget = AgentBudget(max_spend="$5.00")

with budget.session() as session:
    response = session.wrap(
        client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Analyze this..."}]
        )
    )

    data = session.track(call_serp_api(query), cost=0.01, tool_name="serp")

print(session.report())
"""


def test_manual_mode(run, client, provider, capsys):
    found = run(MANUAL, client=client, call_serp_api=str.upper, query="salt")
    assert found["data"] == "SALT"
    assert found["response"].usage.completion_tokens == 40
    assert found["session"].spent_nanos == provider.bill_nanos + 10_000_000
    assert f"'total_spent': {found['session'].spent}" in capsys.readouterr().out


ENVELOPE = """
from agentbudget import AgentBudget

# All of these work:
AgentBudget(max_spend="$5.00")
AgentBudget(max_spend="5.00")
AgentBudget(max_spend=5.0)
AgentBudget(max_spend=5)
"""


def test_budget_envelope(run):
    run(ENVELOPE)
    for amount in ("$5.00", "5.00", 5.0, 5):
        assert agentbudget.AgentBudget(max_spend=amount).max_spend == 5.0
        assert isinstance(agentbudget.AgentBudget(amount).max_spend, float)


def test_cost_sources(client, provider):
    with agentbudget.AgentBudget("$5.00").session() as session:
        session.wrap(chat(client))
        assert session.spent_nanos == provider.bill_nanos
        session.track("result", cost=0.01)

        @session.track_tool(cost=0.02)
        def search(query):
            return f"about {query}"

        assert search("salt") == "about salt"
    assert session.spent_nanos == provider.bill_nanos + 30_000_000


CIRCUIT_BREAKER = """
from agentbudget import AgentBudget

budget = AgentBudget(
    max_spend="$5.00",
    soft_limit=0.9,               # Warn at 90%
    max_repeated_calls=10,        # Trip after 10 repeated calls
    loop_window_seconds=60.0,     # Within a 60-second window
    on_soft_limit=lambda r: print("Warning: 90% budget used"),
    on_hard_limit=lambda r: alert_ops_team(r),
    on_loop_detected=lambda r: print("Loop detected!"),
)
"""


def test_circuit_breaker_soft_and_hard_limit(run, capsys):
    alerts = []
    budget = run(CIRCUIT_BREAKER, alert_ops_team=alerts.append)["budget"]
    with budget.session() as session:
        session.track(cost=4.4)
        assert capsys.readouterr().out == ""
        session.track(cost=0.1)
        session.track(cost=0.1)
        assert capsys.readouterr().out == "Warning: 90% budget used\n"
        assert not alerts
        with pytest.raises(agentbudget.BudgetExhausted):
            session.track(cost=0.5)
    assert [alert["total_spent"] for alert in alerts] == [5.1]
    assert session.report()["terminated_by"] == "budget_exhausted"


def test_circuit_breaker_loop(run, client, provider, capsys):
    budget = run(CIRCUIT_BREAKER, alert_ops_team=print)["budget"]
    with budget.session() as session:
        wrapped = agentbudget.wrap_client(client, session)
        for _ in range(9):
            chat(wrapped)
        with pytest.raises(agentbudget.LoopDetected) as caught:
            chat(wrapped)
    assert provider.requests == 9  # the tenth was refused
    assert caught.value.key == "gpt-4o"
    assert capsys.readouterr().out == "Loop detected!\n"
    assert session.report()["terminated_by"] == "loop_detected"


def test_ten_different_questions_are_no_loop(run, client, provider):
    session = agentbudget.init("$5.00")
    for number in range(12):
        chat(client, f"Question {number}")
    assert provider.requests == 12
    assert session.spent_nanos == provider.bill_nanos


REPORT = """
{
    "session_id": "sess_abc123",
    "budget": 5.00,
    "total_spent": 3.42,
    "remaining": 1.58,
    "breakdown": {
        "llm": {"total": 3.12, "calls": 8, "by_model": {"gpt-4o": 2.80}},
        "tools": {"total": 0.30, "calls": 6, "by_tool": {"serp_api": 0.05}}
    },
    "duration_seconds": 34.2,
    "terminated_by": null,
    "events": [...]
}
"""


def test_cost_report(client):
    documented = json.loads(REPORT.replace("[...]", "[]"))
    with agentbudget.AgentBudget("$5.00").session() as session:
        session.wrap(chat(client))
        session.track("result", cost=0.05, tool_name="serp_api")
    report = json.loads(json.dumps(session.report()))
    _has_the_shape(report, documented)
    assert report["session_id"].startswith("sess_")
    assert len(report["events"]) == 2


def _has_the_shape(found, documented):
    for key, value in documented.items():
        assert isinstance(found[key], type(value)), key
        if isinstance(value, dict):
            _has_the_shape(found[key], value)


# -- streams -------------------------------------------------------------------------------------

STREAM = """
import agentbudget
import openai
from google import genai

agentbudget.init("$5.00")
client = openai.OpenAI()

stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Summarize this report"}],
    stream=True,  # include_usage is added automatically for OpenAI
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="")

print(agentbudget.spent())  # cost recorded after the stream
"""


def test_stream(run, provider, capsys):
    provider.default = Reply("A short summary.")
    run(STREAM)
    assert capsys.readouterr().out == f"A short summary.{provider.bill}\n"
    assert provider.bills[0].body["stream_options"] == {"include_usage": True}
    assert agentbudget.get_session().spent_nanos == provider.bill_nanos > 0


def test_a_stream_that_is_left_early_is_charged(run, client, provider):
    session = agentbudget.init("$5.00")
    provider.default = Reply("word " * 200)
    with chat(client, stream=True) as stream:
        for _ in stream:
            break
    provider.wait_idle()
    assert session.reserved == 0
    assert session.spent_nanos >= provider.bill_nanos > 0


STREAM_ASYNC = """
# async for
async for chunk in await client.chat.completions.create(
    stream=True, ...
):
    process(chunk)
"""

STREAM_CONTEXT = """
# context manager
with client.chat.completions.create(stream=True, ...) as stream:
    for chunk in stream:
        process(chunk)
"""


async def test_stream_async_for(arun, async_client, provider):
    session = agentbudget.init("$5.00")
    chunks = []
    await arun(STREAM_ASYNC, client=async_client, process=chunks.append)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks).strip()
    assert session.spent_nanos == provider.bill_nanos > 0


def test_stream_as_context_manager(run, client, provider):
    session = agentbudget.init("$5.00")
    chunks = []
    run(STREAM_CONTEXT, client=client, process=chunks.append)
    assert len(chunks) > 2
    assert session.spent_nanos == provider.bill_nanos > 0


@pytest.mark.parametrize("ask", ["stream", "helper"])
def test_anthropic_streams(run, provider, ask):
    session = agentbudget.init("$5.00")
    request = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": HELLO}
    with anthropic.Anthropic() as client:
        if ask == "stream":
            for _ in client.messages.create(stream=True, **request):
                pass
        else:
            with client.messages.stream(**request) as stream:
                assert "".join(stream.text_stream).strip()
    assert session.spent_nanos == provider.bill_nanos > 0


PATHS = {
    "parse": lambda client: client.chat.completions.parse(model="gpt-4o", messages=HELLO),
    "raw": lambda client: client.chat.completions.with_raw_response.create(
        model="gpt-4o", messages=HELLO
    ),
    "responses": lambda client: client.responses.create(model="gpt-4o", input="Hello"),
    "embeddings": lambda client: client.embeddings.create(
        model="text-embedding-3-small", input="salt " * 100
    ),
    "completions": lambda client: client.completions.create(
        model="gpt-3.5-turbo-instruct", prompt="Hello"
    ),
}


@pytest.mark.parametrize("path", PATHS)
def test_what_the_other_library_counts_as_free(client, provider, path):
    session = agentbudget.init("$5.00")
    PATHS[path](client)
    assert session.spent_nanos == provider.bill_nanos > 0


# -- one client ----------------------------------------------------------------------------------

PER_CLIENT = """
import agentbudget
from agentbudget import AgentBudget
import openai
from google import genai

budget = AgentBudget(max_spend="$5.00")
with budget.session() as session:
    # Only this instance is tracked
    client = agentbudget.wrap_client(openai.OpenAI(), session)
    response = client.chat.completions.create(...)  # tracked

    other = openai.OpenAI()
    other.chat.completions.create(...)              # NOT tracked
"""


def test_per_client_tracking(run, provider):
    session = run(PER_CLIENT)["session"]
    tracked, other = provider.bills
    assert session.spent_nanos == tracked.nanos == other.nanos > 0


async def test_every_kind_of_client_can_be_wrapped(client, async_client, provider):
    request = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": HELLO}
    with agentbudget.AgentBudget("$5.00").session() as session:
        chat(agentbudget.wrap_client(client, session))
        await chat(agentbudget.wrap_client(async_client, session))
        with anthropic.Anthropic() as claude:
            agentbudget.wrap_client(claude, session).messages.create(**request)
        async with anthropic.AsyncAnthropic() as claude:
            await agentbudget.wrap_client(claude, session).messages.create(**request)
    assert provider.requests == 4
    assert session.spent_nanos == provider.bill_nanos


def test_a_wrapped_client_within_init_counts_once(client, provider):
    session = agentbudget.init("$5.00")
    session.wrap(chat(agentbudget.wrap_client(client, session)))
    assert session.spent_nanos == provider.bill_nanos > 0


# -- the reserve ---------------------------------------------------------------------------------

RESERVE = """
from agentbudget import AgentBudget

budget = AgentBudget(
    max_spend="$1.00",
    finalization_reserve=0.05,  # hard limit at $0.95, $0.05 reserved for final call
)
"""

RESERVE_CHECK = """
def run_agent():
    with budget.session() as session:
        # ... do work ...
        work(session)

        if session.would_exceed(estimated_final_cost):
            return "Budget nearly exhausted — here is what was completed: ..."

        # Safe to proceed
        response = session.wrap(client.chat.completions.create(...))
        return response

result = run_agent()
"""


@pytest.mark.parametrize(("work", "told"), [(0.94, True), (0.5, False)])
def test_finalization_reserve(run, client, provider, work, told):
    budget = run(RESERVE)["budget"]
    assert budget.max_spend == 1.0
    result = run(
        RESERVE_CHECK,
        budget=budget,
        client=client,
        estimated_final_cost=0.02,
        work=lambda session: session.track(cost=work),
    )["result"]
    assert isinstance(result, str) is told
    assert provider.requests == (0 if told else 1)


def test_the_hard_limit_fires_early_and_the_reserve_pays_for_the_last_call(run, client, provider):
    budget = run(RESERVE)["budget"]
    with budget.session() as session:
        session.track(cost=0.9499)
        wrapped = agentbudget.wrap_client(client, session)
        with pytest.raises(agentbudget.BudgetExhausted):
            chat(wrapped, max_tokens=1_000)
        assert not provider.requests
        with session.finalize():
            chat(wrapped, max_tokens=1_000)
    assert session.spent_nanos == provider.bill_nanos + 949_900_000
    assert session.spent < 1


# -- async ---------------------------------------------------------------------------------------

ASYNC = """
from agentbudget import AgentBudget

budget = AgentBudget(max_spend="$5.00")

async with budget.async_session() as session:
    response = await session.wrap_async(
        client.chat.completions.acreate(
            model="gpt-4o",
            messages=[{"role": "user", "content": "Hello"}]
        )
    )

    @session.track_tool(cost=0.01)
    async def async_search(query):
        return await api.search(query)
"""


async def test_async(arun, async_client, provider):
    class Api:
        async def search(self, query):
            return f"about {query}"

    found = await arun(
        ASYNC + "\n    found = await async_search('salt')", client=async_client, api=Api()
    )
    assert found["found"] == "about salt"
    session = found["session"]
    assert isinstance(session, agentbudget.AsyncBudgetSession)
    assert session.spent_nanos == provider.bill_nanos + 10_000_000


# -- nesting -------------------------------------------------------------------------------------

NESTED = """
with budget.session() as parent:
    child = parent.child_session(max_spend=2.0)
    with child:
        child.track("result", cost=1.50, tool_name="sub_task")

    print(parent.spent)      # 1.50
    print(parent.remaining)  # 8.50
"""


def test_nested(run, capsys):
    run(NESTED, budget=agentbudget.AgentBudget("$10.00"))
    assert capsys.readouterr().out == "1.5\n8.5\n"


def test_a_child_is_capped_at_what_its_parent_has_left():
    with agentbudget.AgentBudget("$1.00").session() as parent:
        parent.track(cost=0.4)
        child = parent.child_session(max_spend=2.0)
        assert child.report()["budget"] == 0.6


def test_children_cannot_spend_the_same_money_twice():
    with agentbudget.AgentBudget("$2.00").session() as parent:
        first, second = (parent.child_session(max_spend=2.0) for _ in range(2))
        first.track(cost=1.5)
        assert parent.spent == 1.5  # at once, not when the child ends
        assert second.would_exceed(1.5)


# -- callbacks and errors ------------------------------------------------------------------------

CALLBACKS = """
from agentbudget import AgentBudget

budget = AgentBudget(
    max_spend="$5.00",
    on_soft_limit=lambda r: logger.warning(f"90% used: {r}"),
    on_hard_limit=lambda r: alert_ops_team(r),
    on_loop_detected=lambda r: logger.error(f"Loop: {r}"),
)
"""


class Logger(list):
    warning = error = list.append


def test_event_callbacks(run, client, provider):
    logger, alerts = Logger(), []
    budget = run(CALLBACKS, logger=logger, alert_ops_team=alerts.append)["budget"]
    with budget.session() as session:
        session.track(cost=4.6)
        wrapped = agentbudget.wrap_client(client, session)
        for _ in range(9):
            chat(wrapped)
        with pytest.raises(agentbudget.LoopDetected):
            chat(wrapped)
        with pytest.raises(agentbudget.BudgetExhausted):
            session.track(cost=1)
    assert [line.split(":")[0] for line in logger] == ["90% used", "Loop"]
    assert len(alerts) == 1
    assert alerts[0]["total_spent"] > 5


WEBHOOKS = """
from agentbudget import AgentBudget

budget = AgentBudget(
    max_spend="$5.00",
    webhook_url="https://your-app.com/api/budget-events",
)
"""


def test_webhooks(run, receiver):
    budget = run(WEBHOOKS.replace("https://your-app.com/", receiver.url))["budget"]
    with budget.session() as session:
        session.track(cost=4.6)
        with pytest.raises(agentbudget.BudgetExhausted):
            session.track(cost=1)
    told = {}
    while "hard_limit" not in told:
        got = receiver.next()
        assert got.path == "/api/budget-events"
        told[got.json["event_type"]] = got.json
    assert told.keys() == {"warning", "soft_limit", "hard_limit"}
    assert told["soft_limit"]["session_id"] == session.id
    assert told["soft_limit"]["data"]["total_spent"] == 4.6


def test_when_webhook_url_is_also_set_both_the_callback_and_the_webhook_fire(run, receiver):
    alerts = []
    session = agentbudget.init(
        "$5.00", webhook_url=receiver.url, warning_thresholds=(), on_soft_limit=alerts.append
    )
    session.track(cost=4.6)
    assert receiver.next().json["data"]["total_spent"] == alerts[0]["total_spent"] == 4.6


def test_exceptions():
    errors = agentbudget.AgentBudgetError
    for kind in ("BudgetExhausted", "LoopDetected", "InvalidBudget", "InvalidCost"):
        assert issubclass(getattr(agentbudget, kind), errors)
        assert getattr(agentbudget, kind) is getattr(budget_core, kind)
    with pytest.raises(agentbudget.InvalidBudget):
        agentbudget.AgentBudget("five dollars")
    with agentbudget.AgentBudget("$1").session() as session:
        for cost in (-1, float("nan"), float("inf")):
            with pytest.raises(agentbudget.InvalidCost):
                session.track("result", cost=cost)
            with pytest.raises(agentbudget.InvalidCost):
                session.would_exceed(cost)
        with pytest.raises(agentbudget.BudgetExhausted) as caught:
            session.track("paid", cost=1.5)
    assert (caught.value.spent, caught.value.limit) == (1.5, 1)
    assert caught.value.result == "paid"
    assert session.spent == 1.5


# -- prices --------------------------------------------------------------------------------------

REGISTER = """
import agentbudget

agentbudget.register_model(
    "gpt-5",
    input_price_per_million=5.00,
    output_price_per_million=20.00,
)
"""

REGISTER_BATCH = """
import agentbudget

agentbudget.register_models({
    "gpt-5": (5.00, 20.00),
    "gpt-5-mini": (0.50, 2.00),
})
"""


@pytest.mark.parametrize("snippet", [REGISTER, REGISTER_BATCH])
def test_custom_prices(run, client, provider, snippet):
    run(snippet)
    provider.price("gpt-5", input=5, output=20)
    session = agentbudget.init("$5.00")
    client.chat.completions.create(model="gpt-5", messages=HELLO)
    assert session.spent_nanos == provider.bill_nanos > 0


@pytest.mark.parametrize("name", ["gpt-4o-2025-06-15", "openai/gpt-4o", "my-finetune"])
def test_names_are_resolved_in_the_documented_order(client, provider, name):
    agentbudget.register_model("my-finetune", 3, 12)
    rates = {"my-finetune": (3, 12)}.get(name, (2.5, 10))
    provider.price(name, input=rates[0], output=rates[1])
    session = agentbudget.init("$5.00")
    client.chat.completions.create(model=name, messages=HELLO)
    assert session.spent_nanos == provider.bill_nanos > 0


def test_a_model_without_a_price_is_refused(client, provider):
    agentbudget.init("$5.00")
    with pytest.raises(budget_core.UnknownModel, match="register_model"):
        client.chat.completions.create(model="nobody-knows-this", messages=HELLO)
    assert not provider.requests


# -- LangChain -----------------------------------------------------------------------------------

LANGCHAIN = """
from agentbudget.integrations.langchain import LangChainBudgetCallback

# Use as a context manager so the session is finalized.
with LangChainBudgetCallback(budget="$5.00") as callback:
    agent.invoke(
        {"input": "Research competitors in the CRM space"},
        config={"callbacks": [callback]},
    )

print(callback.get_report())
"""


def test_langchain(run, provider, capsys):
    from langchain_core.runnables import RunnableLambda
    from langchain_openai import ChatOpenAI

    agent = RunnableLambda(lambda state: state["input"]) | ChatOpenAI(model="gpt-4o")
    callback = run(LANGCHAIN, agent=agent)["callback"]
    assert callback.session.spent_nanos == provider.bill_nanos > 0
    assert f"'total_spent': {provider.bill}" in capsys.readouterr().out


# -- AutoGen -------------------------------------------------------------------------------------

AUTOGEN = """
from agentbudget.integrations.autogen import BudgetedAssistantAgent, BudgetedUserProxyAgent

assistant = BudgetedAssistantAgent(name="assistant", budget="$5.00")
user = BudgetedUserProxyAgent(name="user", budget="$5.00")

user.initiate_chat(
    assistant,
    message="Research competitors in the CRM space"
)

print(assistant.get_report())
"""

AUTOGEN_TRACKER = """
from agentbudget.integrations.autogen import AutoGenBudgetTracker

tracker = AutoGenBudgetTracker(budget="$5.00")
tracker.attach(existing_assistant)

# BudgetExhausted is raised automatically when the limit is hit
print(tracker.get_report())
"""


def test_autogen(run, provider, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.openai_url)
    assistant = run(AUTOGEN)["assistant"]
    assert assistant.session.spent_nanos == provider.bill_nanos > 0
    assert f"'total_spent': {provider.bill}" in capsys.readouterr().out


def test_autogen_tracker(run, provider):
    from autogen import AssistantAgent

    config = {"model": "gpt-4o", "api_key": "test", "base_url": provider.openai_url}
    assistant = AssistantAgent("assistant", llm_config=config)
    tracker = run(AUTOGEN_TRACKER, existing_assistant=assistant)["tracker"]
    assistant.generate_reply(HELLO)
    assert tracker.session.spent_nanos == provider.bill_nanos > 0
    tracker.session.track(cost=4.9982)
    with pytest.raises(agentbudget.BudgetExhausted):
        assistant.generate_reply(HELLO)
    assert provider.requests == 1


def test_only_the_import_is_changed(with_our_import):
    changed = with_our_import(PER_CLIENT + LANGCHAIN)
    assert "import budget_compat.agentbudget as agentbudget\n" in changed
    assert "from budget_compat.agentbudget import AgentBudget\n" in changed
    assert "from budget_compat.agentbudget.integrations.langchain import" in changed


@pytest.mark.parametrize("sdk", ["openai", "anthropic", "google"])
def test_wrap_client_changes_the_client_itself(provider, sdk):
    """Whoever does not use what it returns has a budget all the same, as there."""
    with agentbudget.AgentBudget("$1").session() as session:
        if sdk == "openai":
            client = openai.OpenAI(base_url=provider.openai_url, api_key="test")
            ask = lambda c: c.chat.completions.create(  # noqa: E731
                model="gpt-4o", messages=[{"role": "user", "content": "hi"}]
            )
        elif sdk == "anthropic":
            client = anthropic.Anthropic(base_url=provider.anthropic_url, api_key="test")
            ask = lambda c: c.messages.create(  # noqa: E731
                model="claude-sonnet-4-6",
                max_tokens=50,
                messages=[{"role": "user", "content": "hi"}],
            )
        else:
            client = genai.Client(api_key="test", http_options={"base_url": provider.google_url})
            ask = lambda c: c.models.generate_content(  # noqa: E731
                model="gemini-2.5-flash", contents="hi"
            )
        assert agentbudget.wrap_client(client, session) is client
        ask(client)
        if sdk != "google":
            ask(client.with_options(timeout=20))
            assert provider.requests == 2
        assert session.spent_nanos == provider.bill_nanos > 0
        if sdk != "google":
            client.close()


class TestLoopsByName:
    """As agentbudget 0.4.0 does, what is recorded of one name too often is a loop."""

    class Response:
        model = "gpt-4o"

        class usage:
            prompt_tokens = 10
            completion_tokens = 5

    def test_track(self):
        told = []
        budget = agentbudget.AgentBudget("$5", max_repeated_calls=3, on_loop_detected=told.append)
        with budget.session() as session:
            session.track("a", cost=0.001, tool_name="search")
            session.track("b", cost=0.001, tool_name="other")
            session.track("c", cost=0.001, tool_name="search")
            with pytest.raises(agentbudget.LoopDetected) as caught:
                session.track("d", cost=0.001, tool_name="search")
            assert (caught.value.key, caught.value.result) == ("search", "d")
            assert session.spent == 0.004
            assert session.terminated_by == "loop_detected"
            for _ in range(5):
                session.track(cost=0.001)
        assert len(told) == 1

    def test_wrap(self):
        with agentbudget.AgentBudget("$5", max_repeated_calls=3).session() as session:
            for _ in range(2):
                session.wrap(self.Response())
            with pytest.raises(agentbudget.LoopDetected, match="gpt-4o"):
                session.wrap(self.Response())
            assert session.report()["breakdown"]["llm"]["calls"] == 3

    def test_under_init(self):
        session = agentbudget.init("$5", max_repeated_calls=2)
        try:
            agentbudget.track("a", cost=0.001, tool_name="search")
            with pytest.raises(agentbudget.LoopDetected):
                agentbudget.track("b", cost=0.001, tool_name="search")
            assert session.spent == 0.002
        finally:
            agentbudget.teardown()

    async def test_track_tool(self):
        with agentbudget.AgentBudget("$5", max_repeated_calls=3).session() as session:

            @session.track_tool(cost=0.01)
            def search(n):
                return n

            @session.track_tool(cost=0.01, tool_name="look")
            async def look_up(n):
                return n

            assert [search(1), search(2), await look_up(1), await look_up(2)] == [1, 2, 1, 2]
            with pytest.raises(agentbudget.LoopDetected, match="search"):
                search(3)
            with pytest.raises(agentbudget.LoopDetected, match="look"):
                await look_up(3)
            assert session.spent == 0.06

    def test_none_watches_nothing(self):
        with agentbudget.AgentBudget("$5", max_repeated_calls=None).session() as session:
            for _ in range(30):
                session.track(cost=0.001, tool_name="search")
