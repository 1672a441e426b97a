"""A tool loop over each SDK keeps what adapters promise, without a framework in between."""

import json

import anthropic
import openai

from budget_core import BudgetExhausted, wrap_client
from budget_core.frameworks.last_word import WRAP_UP
from budget_core.testing.conformance import AdapterConformance

SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SCHEMA["additionalProperties"] = False


class ToolLoop:
    """What a program does with an SDK; the same for all ways of asking."""

    lacks = {
        "agents": "an SDK's client knows no agents",
        "whole_answers": "a program gets what there is, and is told by on_truncated=",
        "tools": "the program calls its tools itself: session.track_tool pays for them",
    }

    def steps(self, job):
        """Yield what to ask; take the answer, or the refusal; return the last word."""
        messages = [{"role": "user", "content": job.task}]
        asking = {"model": job.model, **self.settings(job)}
        try:
            while True:
                said, more = self.read(job, (yield {**asking, "messages": messages}))
                if len(more) == 1:
                    return said
                messages = [*messages, *more]
        except BudgetExhausted:
            if job.on_exhausted == "raise":
                raise
            last = [*messages, {"role": "user", "content": WRAP_UP}]
            with job.session.finalize():
                answer = yield {**asking, "messages": last, "tool_choice": self.no_tools}
            return self.read(job, answer)[0]

    def run(self, job):
        with self.client(job, self.kinds[0]) as client:
            steps, outcome = self.steps(job), None
            while True:
                try:
                    asked = advance(steps, outcome)
                except StopIteration as end:
                    return end.value
                try:
                    outcome = self.ask(client).create(**asked)
                except BudgetExhausted as error:
                    outcome = error

    async def arun(self, job):
        async with self.client(job, self.kinds[1]) as client:
            steps, outcome = self.steps(job), None
            while True:
                try:
                    asked = advance(steps, outcome)
                except StopIteration as end:
                    return end.value
                try:
                    outcome = await self.ask(client).create(**asked)
                except BudgetExhausted as error:
                    outcome = error

    def stream(self, job):
        with self.client(job, self.kinds[0]) as client:
            steps, outcome = self.steps(job), None
            while True:
                try:
                    asked = advance(steps, outcome)
                except StopIteration:
                    return
                try:
                    with self.ask(client).stream(**asked) as answer:
                        yield from answer
                        outcome = self.whole(answer)
                except BudgetExhausted as error:
                    outcome = error

    async def astream(self, job):
        async with self.client(job, self.kinds[1]) as client:
            steps, outcome = self.steps(job), None
            while True:
                try:
                    asked = advance(steps, outcome)
                except StopIteration:
                    return
                try:
                    async with self.ask(client).stream(**asked) as answer:
                        async for part in answer:
                            yield part
                        outcome = await self.whole(answer)
                except BudgetExhausted as error:
                    outcome = error


def advance(steps, outcome):
    return steps.throw(outcome) if isinstance(outcome, Exception) else steps.send(outcome)


class TestOpenAI(ToolLoop, AdapterConformance):
    kinds = openai.OpenAI, openai.AsyncOpenAI
    no_tools = "none"

    def client(self, job, kind):
        client = kind(base_url=job.provider.openai_url, api_key="test", max_retries=0)
        return wrap_client(client, job.session)

    def settings(self, job):
        function = {"name": "search", "parameters": SCHEMA, "strict": True}
        return {"tools": [{"type": "function", "function": function}]}

    def ask(self, client):
        return client.chat.completions

    def whole(self, answer):
        return answer.get_final_completion()

    def read(self, job, answer):
        message = answer.choices[0].message
        results = [
            {
                "role": "tool",
                "tool_call_id": call.id,
                "content": job.tool(**json.loads(call.function.arguments)),
            }
            for call in message.tool_calls or ()
        ]
        return message.content, [message.model_dump(exclude_none=True), *results]


class TestAnthropic(ToolLoop, AdapterConformance):
    kinds = anthropic.Anthropic, anthropic.AsyncAnthropic
    no_tools = {"type": "none"}

    def client(self, job, kind):
        client = kind(base_url=job.provider.anthropic_url, api_key="test", max_retries=0)
        return wrap_client(client, job.session)

    def settings(self, job):
        return {
            "max_tokens": job.max_tokens,
            "tools": [{"name": "search", "input_schema": SCHEMA}],
        }

    def ask(self, client):
        return client.messages

    def whole(self, answer):
        return answer.get_final_message()

    def read(self, job, answer):
        results = [
            {"type": "tool_result", "tool_use_id": part.id, "content": job.tool(**part.input)}
            for part in answer.content
            if part.type == "tool_use"
        ]
        said = {"role": "assistant", "content": answer.content}
        more = [said, {"role": "user", "content": results}] if results else [said]
        return "".join(part.text for part in answer.content if part.type == "text"), more
