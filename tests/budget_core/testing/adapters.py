"""A framework of a few lines with its adapter: as it should be, and as it should not."""

import json
from contextlib import aclosing, contextmanager, nullcontext

import httpx

from budget_core import BudgetExhausted, CallRequest, Prompt
from budget_core.frameworks.integration import Integration
from budget_core.frameworks.last_word import WRAP_UP
from budget_core.frameworks.truncation import whole
from budget_core.testing.conformance import AdapterConformance

TOOLS = [{"type": "function", "function": {"name": "search"}}]


class Agent(Integration):
    """Asks a model by streams over a bare HTTP client, which no guard knows."""

    def __init__(self, job):
        super().__init__(**job.settings, guard_sdks=False)
        self.job = job
        self.mine = self.session_of(job.agent)
        self.messages = [{"role": "user", "content": job.task}]

    async def run(self):
        """Yield what the model writes, until it calls no tool."""
        while True:
            try:
                call = await self.open(TOOLS)
                async with aclosing(self.ask(call, TOOLS)) as parts:
                    async for part in parts:
                        yield part
                self.check(call)
            except BudgetExhausted:
                if self.job.on_exhausted == "raise":
                    raise
                break
            if not (calls := self.messages[-1].get("tool_calls")):
                return
            for each in calls:
                self.use(each)
        self.messages.append({"role": "user", "content": WRAP_UP})
        async with aclosing(self.ask(await self.last_call(), [])) as parts:
            async for part in parts:
                yield part

    async def open(self, tools):
        return await self.mine.open_call_async(self.asked(tools))

    async def last_call(self):
        with self.session.finalize():
            return await self.open([])

    def asked(self, tools):
        prompt = Prompt(list(self.messages), tools)
        return CallRequest(model=self.job.model, prompt=prompt, agent=self.job.agent)

    def cap(self, call):
        call.wired = True
        return call.cap

    def check(self, call):
        if call.truncated:
            self.messages.pop()
        whole(call, None)

    async def ask(self, call, tools):
        body = {
            "model": self.job.model,
            "messages": self.messages,
            "tools": tools,
            "max_tokens": self.cap(call),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with self.ended(call):
            async with (
                httpx.AsyncClient(base_url=self.job.provider.openai_url) as client,
                client.stream("POST", "/chat/completions", json=body) as answer,
            ):
                if answer.is_error:
                    self.failed(call)
                answer.raise_for_status()
                async for part in self.read(call, answer):
                    yield part

    def ended(self, call):
        """However it ends, silence is charged."""
        return call

    def failed(self, call):
        call.release()

    async def read(self, call, answer):
        text, tool, arguments, usage = "", None, "", None
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            usage = chunk if chunk.get("usage") else usage
            for choice in chunk["choices"]:
                said = choice["delta"].get("content") or ""
                text += said
                for piece in choice["delta"].get("tool_calls") or ():
                    tool = tool or piece
                    arguments += piece["function"].get("arguments", "")
                yield said
        self.settle(call, usage)
        self.messages.append({"role": "assistant", "content": text})
        if tool is not None:
            tool["function"]["arguments"] = arguments
            self.messages[-1]["tool_calls"] = [tool]

    def settle(self, call, usage):
        call.settle(usage)

    def use(self, called):
        request = CallRequest(kind="tool", name="search", cost=self.tool_cost("search"))
        with self.tool_call(request):
            self.answer(called)

    def tool_call(self, request):
        return self.mine.open_call(request)

    def answer(self, called):
        said = self.job.tool(**json.loads(called["function"]["arguments"]))
        self.messages.append({"role": "tool", "tool_call_id": called["id"], "content": said})


class Conformance(AdapterConformance):
    lacks = dict.fromkeys(["run", "stream"], "the framework is asynchronous")
    agent = Agent

    async def arun(self, job):
        agent = self.agent(job)
        async with aclosing(agent.run()) as parts:
            async for _ in parts:
                pass
        return agent.messages[-1]["content"]

    async def astream(self, job):
        async with aclosing(self.agent(job).run()) as parts:
            async for part in parts:
                yield part


class Leaking(Agent):
    def failed(self, call):
        pass

    def ended(self, call):
        return nullcontext()


class DeafToCancelling(Agent):
    @contextmanager
    def ended(self, call):
        try:
            yield
        except Exception:
            call.settle(None)
            raise


DeafToBreaks = DeafToCancelling


class LeakingTools(Agent):
    def tool_call(self, request):
        self.mine.open_call(request)
        return nullcontext()


class CountingTwice(Agent):
    def settle(self, call, usage):
        call.settle(usage)
        self.mine.wrap({**usage, "id": None})


class Unfinished(Agent):
    """Leaves its call to a guard, and never says that it is over."""

    def ended(self, call):
        return nullcontext()

    def settle(self, call, usage):
        call.claim()
        call.settle(usage)


class Believing(Agent):
    """What nobody tells cannot have cost anything."""

    def settle(self, call, usage):
        if usage is None:
            call.release()
        else:
            call.settle(usage)


class Underholding(Agent):
    """Holds next to nothing, and lets the model write."""

    def asked(self, tools):
        return super().asked(tools)._replace(output_cap=1)

    def cap(self, call):
        return self.job.max_tokens


class Hasty(Agent):
    """Looks at what is left, and asks."""

    def asked(self, tools):
        return super().asked(tools)._replace(output_cap=1 if self.mine.remaining > 0.01 else None)

    def cap(self, call):
        return self.job.max_tokens


class SharingTheRoot(Agent):
    def __init__(self, job):
        super().__init__(job)
        self.mine = self.session.lineage[-1]


class WithoutNames(Agent):
    def asked(self, tools):
        return super().asked(tools)._replace(agent=None)


class WithoutTools(Agent):
    def use(self, called):
        self.answer(called)


class WithoutLastWord(Agent):
    def last_call(self):
        return self.open([])


class GoingOn(Agent):
    """Takes a part of an answer for the whole."""

    def check(self, call):
        pass
