"""The adapter that docs/adapters.md shows keeps what all adapters promise."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx

from budget_core.testing.conformance import AdapterConformance

PAGE = Path(__file__).parent.parent / "docs" / "adapters.md"
SHOWN = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1]
TOOLS = [{"type": "function", "function": {"name": "search"}}]


class Model:
    """A model of a framework of two functions: this, and the loop in `arun`."""

    def __init__(self, name, client):
        self.name = name
        self.client = client

    async def ask(self, messages, tools, max_tokens=None):
        body = {"model": self.name, "messages": messages, "tools": tools, "max_tokens": max_tokens}
        answer = (await self.client.post("/chat/completions", json=body)).raise_for_status().json()
        usage = answer.get("usage") or {}
        return SimpleNamespace(
            message=answer["choices"][0]["message"],
            input_tokens=usage.get("prompt_tokens", 0),
            output_tokens=usage.get("completion_tokens", 0),
        )


class TestShown(AdapterConformance):
    lacks = {
        "stream": "not shown",
        "astream": "not shown",
        "tools": "not shown",
    }

    @asynccontextmanager
    async def running(self, job):
        shown = {}
        exec(compile(SHOWN, PAGE.name, "exec"), shown)  # noqa: S102
        async with httpx.AsyncClient(base_url=job.provider.openai_url) as client:
            with shown["MyBudget"](**job.settings, on_exhausted=job.on_exhausted):
                yield SimpleNamespace(name=job.agent, model=Model(job.model, client)), shown

    async def arun(self, job):
        messages = [{"role": "user", "content": job.task}]
        async with self.running(job) as (agent, shown):
            while True:
                answer = await shown["ask_model"](agent, messages, TOOLS)
                messages.append(answer.message)
                calls = answer.message.get("tool_calls") or ()
                for call in calls:
                    said = job.tool(**json.loads(call["function"]["arguments"]))
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": said})
                if not calls:
                    return answer.message["content"]

    def run(self, job):
        return asyncio.run(self.arun(job))
