"""Every feature of CrewAI that asks a model: billed is spent, and a limit holds at every call."""

import asyncio
from contextlib import closing, nullcontext

import crewai
import pytest
from crewai import Process
from crewai.flow.flow import Flow, listen, start
from crewai.tasks.task_output import TaskOutput
from pydantic import BaseModel

FEATURES = {}


class Answer(BaseModel):
    answer: str


def feature(run):
    FEATURES[run.__name__] = run
    return run


@feature
def sequential(kit):
    kit.searches()
    kit.crew(kit.agent(tools=[kit.search]), kit.agent("Writer")).kickoff()


@feature
def shared_llm(kit):
    llm = kit.llm()
    kit.crew(kit.agent(llm=llm), kit.agent("Writer", llm=llm)).kickoff()


@feature
def hierarchical(kit):
    def respond(incoming):
        delegated = any(message["role"] == "tool" for message in incoming.messages)
        if "delegate_work_to_coworker" in incoming.tools and not delegated:
            work = {"task": "look it up", "context": "none", "coworker": "Researcher"}
            return kit.calls("delegate_work_to_coworker", **work)
        return kit.reply()

    kit.provider.respond(respond)
    agents = [kit.agent(), kit.agent("Writer")]
    process = {"process": Process.hierarchical, "manager_llm": kit.llm()}
    crewai.Crew(agents=agents, tasks=[kit.task()], **process).kickoff()


@feature
def kickoff_async(kit):
    kit.searches()
    asyncio.run(kit.crew(kit.agent(tools=[kit.search]), kit.agent("Writer")).kickoff_async())


@feature
def akickoff(kit):
    kit.searches()
    asyncio.run(kit.crew(kit.agent(tools=[kit.search]), kit.agent("Writer")).akickoff())


@feature
def for_each(kit):
    kit.crew().kickoff_for_each(inputs=[{"topic": "tides"}, {"topic": "waves"}])


@feature
def for_each_async(kit):
    inputs = [{"topic": "tides"}, {"topic": "waves"}]
    asyncio.run(kit.crew().kickoff_for_each_async(inputs=inputs))


@feature
def async_execution(kit):
    agents = [kit.agent(), kit.agent("Writer"), kit.agent("Editor")]
    tasks = [kit.task(a.role, a, async_execution=a.role != "Editor") for a in agents]
    tasks[2].context = tasks[:2]
    crewai.Crew(agents=agents, tasks=tasks).kickoff()


@feature
def flow(kit):
    class Two(Flow):
        @start()
        def first(self):
            return kit.crew().kickoff().raw

        @listen(first)
        def second(self, text):
            return kit.llm().call(f"Shorten: {text}")

    Two(suppress_flow_events=True).kickoff()


@feature
def lone_agent(kit):
    kit.searches()
    kit.agent(tools=[kit.search]).kickoff("What is a tide?")


@feature
def lone_agent_async(kit):
    kit.searches()
    asyncio.run(kit.agent(tools=[kit.search]).kickoff_async("What is a tide?"))


@feature
def direct_call(kit):
    kit.llm().call("What is a tide?")
    asyncio.run(kit.llm().acall([{"role": "user", "content": "And a wave?"}]))


@feature
def max_iter(kit):
    kit.restless()
    kit.crew(kit.agent(tools=[kit.search], max_iter=2)).kickoff()


@feature
def text_tools(kit):
    def respond(incoming):
        if "Observation: found" in str(incoming.messages):
            return kit.reply("Thought: I know.\nFinal Answer: tides")
        return kit.reply('Thought: Look.\nAction: search\nAction Input: {"query": "tides"}')

    kit.provider.respond(respond)
    llm = kit.llm()
    type(llm).supports_function_calling, before = (
        lambda _self: False,
        type(llm).supports_function_calling,
    )
    try:
        kit.crew(kit.agent(tools=[kit.search], llm=llm)).kickoff()
    finally:
        type(llm).supports_function_calling = before


@feature
def responses_api(kit):
    kit.crew(kit.agent(llm=kit.llm(api="responses"))).kickoff()


@feature
def streaming_llm(kit):
    kit.crew(kit.agent(llm=kit.llm(stream=True)), kit.agent("Writer")).kickoff()


@feature
def streaming_crew(kit):
    stream = kit.crew(stream=True).kickoff()
    list(stream)
    assert stream.result.raw == "done"


@feature
def streaming_crew_async(kit):
    async def read():
        async for _ in await kit.crew(stream=True).akickoff():
            pass

    asyncio.run(read())


@feature
def planning(kit):
    def respond(incoming):
        if "response_format" in incoming.body:
            steps = [{"task_number": n, "task": f"task {n}", "plan": "think"} for n in (1, 2)]
            return kit.reply(str({"list_of_plans_per_task": steps}).replace("'", '"'))
        return kit.reply()

    kit.provider.respond(respond)
    kit.crew(planning=True, planning_llm=kit.llm()).kickoff()


@feature
def reasoning(kit):
    def respond(incoming):
        if "create_reasoning_plan" in incoming.tools:
            return kit.calls("create_reasoning_plan", plan="think", steps=[], ready=True)
        return kit.reply()

    kit.provider.respond(respond)
    kit.crew(kit.agent(planning=True)).kickoff()


@feature
def function_guardrail(kit):
    seen = []

    def twice(output: TaskOutput):
        seen.append(output)
        return len(seen) > 1, output.raw if len(seen) > 1 else "not good enough"

    agent = kit.agent()
    crewai.Crew(agents=[agent], tasks=[kit.task(agent=agent, guardrail=twice)]).kickoff()


@feature
def llm_guardrail(kit):
    def respond(incoming):
        if "response_format" in incoming.body:
            return kit.reply('{"valid": true, "feedback": null}')
        return kit.reply()

    kit.provider.respond(respond)
    agent = kit.agent()
    task = kit.task(agent=agent, guardrail="It is a text.")
    crewai.Crew(agents=[agent], tasks=[task]).kickoff()


def _structured(kit, *, at_once=True, tools=(), **options):
    """Let an agent answer with an object: at once, or in a text that has to be converted."""

    def respond(incoming):
        if incoming.index == 0 and tools:
            return kit.calls("search", query="tides")
        if incoming.tools == ("Answer",):
            return kit.calls("Answer", answer="tides")
        asked = "response_format" in incoming.body
        return kit.reply('{"answer": "tides"}' if asked or at_once else "It is the tides.")

    kit.provider.respond(respond)
    agent = kit.agent(tools=list(tools))
    return crewai.Crew(agents=[agent], tasks=[kit.task(agent=agent, **options)]).kickoff()


@feature
def output_pydantic(kit):
    assert _structured(kit, output_pydantic=Answer).pydantic == Answer(answer="tides")


@feature
def output_json(kit):
    assert _structured(kit, output_json=Answer).json_dict == {"answer": "tides"}


@feature
def converter(kit):
    options = {"at_once": False, "tools": [kit.search]}
    assert _structured(kit, output_pydantic=Answer, **options).pydantic == Answer(answer="tides")


@feature
def instructor(kit):
    options = {"at_once": False, "tools": [kit.search]}
    assert _structured(kit, output_json=Answer, **options).json_dict == {"answer": "tides"}


@feature
def summarization(kit):
    def respond(incoming):
        if incoming.index == 0:
            return kit.calls("search", query="tides " * 200)
        if incoming.index == 1:
            message = "This model's maximum context length is 8192 tokens."
            return kit.reply(message, status=400)
        if incoming.messages[0]["content"].startswith("You are a precise assistant"):
            return kit.reply("<summary>it is about tides</summary>")
        return kit.reply()

    kit.provider.respond(respond)
    kit.crew(kit.agent(tools=[kit.search])).kickoff()


@feature
def sdk_in_a_tool(kit):
    import openai
    from crewai.tools import tool

    @tool("search")
    def search(query: str) -> str:
        """Ask a model."""
        with openai.OpenAI(base_url=kit.provider.openai_url, api_key="k", max_retries=0) as client:
            messages = [{"role": "user", "content": query}]
            answer = client.chat.completions.create(model="gpt-4o", messages=messages)
            return answer.choices[0].message.content

    kit.searches(times=1)
    kit.crew(kit.agent(tools=[search])).kickoff()


@feature
def agent_in_a_tool(kit):
    from crewai.tools import tool

    @tool("search")
    def search(query: str) -> str:
        """Ask another agent."""
        return kit.agent("Helper").kickoff(query).raw

    kit.searches(times=1)
    kit.crew(kit.agent(tools=[search])).kickoff()


@feature
def parallel_tools(kit):
    from budget_core.testing import Reply, ToolCall

    def respond(incoming):
        if any(message["role"] == "tool" for message in incoming.messages):
            return kit.reply()
        calls = [ToolCall("search", {"query": str(n)}) for n in range(3)]
        return Reply(tool_calls=calls, **kit.tokens)

    kit.provider.respond(respond)
    kit.crew(kit.agent(tools=[kit.search])).kickoff()


@feature
def anthropic(kit):
    def respond(incoming):
        return kit.reply() if len(incoming.messages) > 3 else kit.calls("search", query="tides")

    kit.provider.respond(respond)
    kit.crew(kit.agent(tools=[kit.search], llm=kit.claude())).kickoff()


@feature
def provider_error_and_retry(kit):
    kit.provider.script(kit.reply("busy", status=500, retry_after=0), kit.reply(), kit.reply())
    llm = kit.llm(max_retries=2)
    kit.crew(kit.agent(llm=llm)).kickoff()


def _embedder(kit):
    config = {"api_base": kit.provider.openai_url, "api_key": "k"}
    return {"provider": "openai", "config": {**config, "model_name": "text-embedding-3-small"}}


@feature
def knowledge(kit):
    from crewai.knowledge.source.string_knowledge_source import StringKnowledgeSource

    source = StringKnowledgeSource(content="The tide comes twice a day.")
    kit.crew(kit.agent(), knowledge_sources=[source], embedder=_embedder(kit)).kickoff()


@feature
def memory(kit):
    from crewai.memory.unified_memory import Memory

    mind = Memory(llm=kit.llm(), embedder=_embedder(kit))
    with closing(mind):  # it saves in a thread of its own
        kit.crew(kit.agent(), memory=mind).kickoff()


@pytest.mark.parametrize("name", FEATURES)
def test_spent_is_the_bill(name, kit, provider, budget, square):
    with budget() as middleware:
        FEATURES[name](kit)
    assert provider.requests > 0
    square(middleware.session)


WORKED_AROUND = {"memory"}
"""What CrewAI does after the answer, and does without where it is refused."""


@pytest.mark.parametrize("name", FEATURES)
def test_a_limit_holds_at_every_call(name, kit, provider, budget, square, refused):
    with budget(None) as middleware:
        FEATURES[name](kit)
    provider.wait_idle()
    calls = sum(bill.nanos > 0 for bill in provider.bills)
    half = f"${middleware.session.spent / 2:.9f}"
    for limit in [*({"llm_calls": k} for k in range(calls)), {"amount": half}]:
        provider.reset()
        middleware = budget(**{"amount": None, **limit})
        finishes = name in WORKED_AROUND and limit.get("llm_calls", 0) > 2
        with nullcontext() if finishes else refused(), middleware:
            FEATURES[name](kit)
        # what another task was about to get when the crew was stopped is charged as held
        square(middleware.session, exact="async" not in name and name != "memory")
        assert sum(bill.nanos > 0 for bill in provider.bills) <= limit.get("llm_calls", calls)
