"""What is about to be called."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Literal, NamedTuple

from budget_core.calls.prompt import Prompt


class CallRequest(NamedTuple):
    """What is about to be called. Name the arguments: more may come between them.

    Attributes:
        kind: an LLM call or a tool's.
        model, provider: as the caller names them.
        prompt: what an LLM call sends; its worst input is measured from it.
        input_tokens: a bound on the input, where the caller knows it better than `prompt` tells.
        output_cap: the caller's own cap on one answer; a framework's default is none.
        ceiling: what an answer cannot exceed although its caller asked for no cap: a default.
        least: an answer shorter than this is refused by the provider.
        n: how many answers are asked for.
        tier: "batch", "flex" or "priority".
        name, cost: a tool's name, and its price in nanos.
        fingerprint: what makes two calls the same call, None to be exempt from loop detection.
        agent: who calls, for the report.
        mixin: a class that errors shall also be an instance of (see `AgentBudgetError.recast`).
        unbounded: what of the request cannot be bounded, if anything.
        unpriced: it is billed for something else than tokens; without a usage that has a price it
            is recorded as unpriced.
        region: where it is served, if that has prices of its own.
        bounded: False where its server lets the model think beyond a cap: then it is held at the
            model's maximum while there is money for that.
        beside: output tokens that may be billed beyond the cap: those of a rejected prediction.
        agent_run: what tells a run of the agent from others; hashable. The same call is a loop
            only where one agent makes it in one run.
    """

    kind: Literal["llm", "tool"] = "llm"
    model: str = ""
    provider: str | None = None
    prompt: Prompt | None = None
    input_tokens: int | None = None
    output_cap: int | None = None
    ceiling: int | None = None
    least: int = 0
    n: int = 1
    tier: str | None = None
    name: str = ""
    cost: int = 0
    fingerprint: Any = None
    agent: str | None = None
    mixin: type[BaseException] | None = None
    unbounded: str | None = None
    unpriced: bool = False
    agent_run: Hashable = None
    region: str | None = None
    bounded: bool = True
    beside: int = 0
