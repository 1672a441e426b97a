"""What the provider's model does in the agents that are tried, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from budget_core.hooks import ModelsRequest, hookimpl
from budget_core.testing.conformance.job import MOST
from budget_core.testing.reply import Incoming, Reply, ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from budget_core.testing.provider import Provider

OUTPUT_PRICE: Final = 10
"""Dollars for a million tokens of output."""
FULL: Final = MOST * OUTPUT_PRICE * 1_000
"""Nano-dollars of the longest answer, which is what a call holds where input is free."""
SCRAP: Final = FULL // 5
"""Nano-dollars that buy no answer: shorter ones than 256 tokens are not asked for."""
_FULL_LENGTH: Final = {"output_tokens": MOST, "reasoning_tokens": MOST - 20}
"""Mostly unseen, so that a stream has few parts."""
ANSWER: Final = Reply("the sea is salt because of rivers", output_tokens=40)


@dataclass(frozen=True)
class Prices:
    """The plugin that knows what a model costs, for as long as a test runs."""

    model: str
    input: float

    @hookimpl
    def budget_models(self, request: ModelsRequest) -> None:
        request.register(self.model, self.input, OUTPUT_PRICE, max_output_tokens=MOST)

    def tell(self, provider: Provider) -> None:
        provider.price(self.model, input=self.input, output=OUTPUT_PRICE)


def searching(steps: int, **reply: Any) -> Callable[[Incoming], Reply]:
    """Search until there are `steps` calls of the model, the last of which is the answer."""

    def respond(incoming: Incoming) -> Reply:
        found = sum(message["content"].count("found #") for message in incoming.messages)
        return _search(found, **reply) if found < steps - 1 else replace(ANSWER, **reply)

    return respond


def restless(seen: list[Incoming], **reply: Any) -> Callable[[Incoming], Reply]:
    """Search for as long as there is a tool, in answers of full length; note what was asked."""

    def respond(incoming: Incoming) -> Reply:
        seen.append(incoming)
        if may_use_tools(incoming):
            return _search(incoming.index, **_FULL_LENGTH, **reply)
        return ANSWER

    return respond


def verbose(asks: Literal["tool", "text"]) -> Callable[[Incoming], Reply]:
    """Write for long, a text or to a tool; told of the budget, answer in short."""
    words = " ".join(f"word{number}" for number in range(200))

    def respond(incoming: Incoming) -> Reply:
        if "budget" in incoming.last_text.lower():
            return ANSWER
        calls = [ToolCall("search", {"query": words})] if asks == "tool" else []
        return Reply("" if calls else words, tool_calls=calls, output_tokens=MOST - 100)

    return respond


def may_use_tools(incoming: Incoming) -> bool:
    """Return whether a request offers tools, and does not forbid them."""
    choice = incoming.body.get("tool_choice")
    return bool(incoming.tools) and choice not in ("none", {"type": "none"})


def _search(number: int, **reply: Any) -> Reply:
    call = ToolCall("search", {"query": f"#{number}"})
    return Reply(**{"tool_calls": [call], "output_tokens": 60, **reply})
