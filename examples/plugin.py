"""A plugin: how a company counts tokens, what it allows, and what its own model costs.

In an installed package, name the module under the entry-point group ``budget_core``, and every
program in its environment keeps to it. Run: ``python examples/plugin.py``.
"""

import openai

from budget_core import CallRefused, Receipt, Usage, hookimpl, hooks, init
from budget_core.events import Event
from budget_core.testing import Provider, Reply


class HousePolicy:
    """What a company wants of every agent."""

    @hookimpl
    def budget_models(self, request: hooks.ModelsRequest) -> None:
        """Its own model has a price."""
        request.register("house-model", 0.10, 0.40, max_output_tokens=8_192)

    @hookimpl
    def budget_estimate(self, request: hooks.EstimateRequest) -> int | None:
        """Its own model makes a token of a character at most, and 50 of what is around them."""
        if request.model == "house-model":
            return 50 + sum(len(str(message)) for message in request.messages)
        return None

    @hookimpl
    def budget_reserve(self, request: hooks.ReserveRequest) -> int:
        """Nobody writes more than 500 tokens, and nobody asks the dearest model."""
        if request.call.model.startswith("o1"):
            raise CallRefused("House policy: ask gpt-4o in place of o1.")
        return 500

    @hookimpl
    def budget_usage(self, request: hooks.UsageRequest) -> Receipt | None:
        """Its gateway answers in a shape of its own."""
        if isinstance(request.response, dict) and "house_tokens" in request.response:
            return Receipt(Usage(*request.response["house_tokens"]), "house-model")
        return None

    @hookimpl
    def budget_event(self, event: Event) -> None:
        """Somebody wants to see what happens."""
        print(f"{event.kind}: {event.data.get('name')} ${event.data.get('cost', 0)}")


def main() -> None:
    hooks.register(HousePolicy())
    with Provider() as provider, init("$1.00") as session:
        provider.default = Reply("The sea is salt. " * 1_000)
        client = openai.OpenAI(base_url=provider.openai_url, api_key="example")
        for model in ("gpt-4o", "o1"):
            try:
                answer = client.responses.create(model=model, input="Why is the sea salt?")
                print(f"{model} wrote {answer.usage and answer.usage.output_tokens} tokens")
            except CallRefused as error:
                print(f"{model} was not asked. {error}")
        session.wrap({"house_tokens": [1_000, 200]})
        print(f"spent: ${session.spent:.6f}, billed by the provider: ${provider.bill:.6f}")


if __name__ == "__main__":
    main()
