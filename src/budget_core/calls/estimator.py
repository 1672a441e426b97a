"""What calls may cost and what they came to: prices, and what was learnt of prompts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from budget_core.calls.billed import BilledPrompts, Bound
from budget_core.calls.prompt import UNSEEN_TOKENS, Prompt, measure
from budget_core.calls.quote import Quote, quote
from budget_core.errors import Unbounded, UnknownModel
from budget_core.money.amounts import Amounts
from budget_core.money.prices.lookup import rates, settle_rates
from budget_core.money.prices.output_limits import DEFAULT_MAX_OUTPUT
from budget_core.money.prices.rates import Rates
from budget_core.money.prices.regions import surcharged
from budget_core.runtime.plugins import asking
from budget_core.runtime.signals import pass_on

if TYPE_CHECKING:
    from budget_core.calls.request import CallRequest
    from budget_core.money.usage import Receipt, Usage

WRAP_UP_TOKENS = 1_024
"""The instruction and the answer of a last call, as "auto" reserves count them."""
_EMPTY = Prompt(())
_GEO = "anthropic"
"""Whose requests and answers name a region, whatever host they go to (``inference_geo``)."""
_log = logging.getLogger("budget_core")


class Estimator:
    """Prices calls; what it learns of prompts and answers is shared with the payer's parents.

    Args:
        allows_unpriced: models without a price may run.
        allows_unbounded: what has no worst case may run.
        told_costs: what a provider itself says an answer came to counts, in place of prices.
        charges_holds: an answer that was broken off is charged its whole hold.
        above: the parent's.

    Attributes:
        billed: the prompts whose true input is known.
        longest: the longest answer seen of each model, in tokens.
        recent: the longest of its latest answers: one that is shorter brings it down by a quarter
            of the difference.
        regions: where each model ran last, as its answers tell: a default of one's workspace.
    """

    def __init__(
        self,
        *,
        allows_unpriced: bool = False,
        allows_unbounded: bool = False,
        told_costs: bool = False,
        charges_holds: bool = False,
        above: Estimator | None = None,
    ) -> None:
        self._allows_unpriced = allows_unpriced
        self.allows_unbounded: bool = allows_unbounded
        self.told_costs: bool = told_costs
        self.charges_holds: bool = charges_holds
        self.billed: BilledPrompts = above.billed if above else BilledPrompts()
        self.longest: dict[str, int] = above.longest if above else {}
        self.recent: dict[str, int] = above.recent if above else {}
        self.regions: dict[str, str] = above.regions if above else {}

    def quote(self, request: CallRequest) -> Quote:
        """Return a request's worst case.

        Raises:
            UnknownModel: it has no price, and that is not allowed.
            Unbounded: part of it cannot be bounded, and that is not allowed.
        """
        if request.unbounded and not self.allows_unbounded:
            raise Unbounded(request.unbounded)
        tokens, one_hour, audio = request.input_tokens, self.billed.one_hour, False
        if tokens is None:
            prompt = request.prompt or _EMPTY
            bound = self.billed.bound(request.model, prompt) or self._bound(request, prompt)
            tokens, one_hour, audio = bound.tokens, one_hour or bound.one_hour, bound.audio
        price: Rates | None
        try:
            price = standard = rates(request.model, request.provider)
            if request.tier is not None:
                tiered = rates(request.model, request.provider, request.tier)
                # a provider may serve a request at the standard tier after all
                price = max(standard, tiered, key=_dearness)
        except UnknownModel:
            if not (self._allows_unpriced or request.unpriced):
                raise
            price = None
        if price is not None and (region := request.region or self.regions.get(request.model)):
            price = surcharged(price, request.provider or _GEO, region, request.model)
        unheard = audio and price is not None and not (price.hears or price.speaks)
        if unheard and not self._allows_unpriced:
            raise UnknownModel(request.model, request.provider, what="audio of ")
        return quote(
            request.model,
            price,
            input_tokens=tokens,
            output_cap=request.output_cap,
            ceiling=request.ceiling,
            least=request.least,
            n=request.n,
            longest=self.longest.get(request.model, 0) if request.bounded else DEFAULT_MAX_OUTPUT,
            one_hour=one_hour,
            beside=request.beside,
        )

    def price(self, request: CallRequest, receipt: Receipt, held: Quote | None) -> Came | None:
        """Return what an ended call came to, as its receipt says; None if it does not say."""
        usage = receipt.usage
        if request.kind == "tool":
            return Came(Amounts(usd=request.cost, tool_calls=1))
        if usage is None:
            return None
        if self.told_costs and receipt.cost is not None:
            return told_cost(receipt, usage, receipt.cost)
        if held is not None and held.rates is None:
            return self._unheld(request, receipt, usage)
        price = None if held is None else held.rates  # as it was when the call was held
        other = receipt.tier or request.tier or receipt.model not in (None, request.model)
        if price is None or other or price.dearest is not None or receipt.region:
            price = self._settling(request, receipt, held)
            if region := receipt.region or request.region:
                price = surcharged(price, request.provider or _GEO, region, request.model)
                self.regions[request.model] = region
        if receipt.others or receipt.fees or usage.audio_input or usage.audio_output:
            return came_to(receipt, usage, price, request.provider)
        amounts = tuple.__new__(Amounts, (price.cost(usage), usage.input + usage.output, 1, 0))
        return tuple.__new__(Came, (amounts, True, None))

    def learn(
        self, model: str, prompts: Sequence[Prompt], usage: Usage, *, one_hour: bool = False
    ) -> None:
        """Remember what a prompt was billed for, so that the next one is bounded exactly."""
        self.billed.one_hour |= one_hour
        for prompt in prompts:
            self.billed.remember(model, prompt, usage.input)
        output, recent = usage.output, self.recent.get(model, 0)
        if output > self.longest.get(model, 0):
            self.longest[model] = output
        self.recent[model] = max(output, recent - (recent - output) // 4)

    def one_more(self, price: Rates, usage: Usage) -> Amounts:
        tokens = usage.input + usage.output + WRAP_UP_TOKENS
        output = -(-price.worst_output_rate(tokens) * WRAP_UP_TOKENS // 1_000_000)
        cost = price.worst_input(tokens, audio=False, one_hour=self.billed.one_hour) + output
        return Amounts(cost, tokens + WRAP_UP_TOKENS, 1, 0)

    def _bound(self, request: CallRequest, prompt: Prompt) -> Bound:
        """Bound an input that is not known: what a plugin says, else bytes + `UNSEEN_TOKENS`."""
        model, provider = request.model, request.provider
        if asking.listening("budget_estimate"):
            about = EstimateRequest(model, provider, prompt.messages, prompt.context)
            answer = asking.first("budget_estimate", about, sound=_is_bound, passing=Unbounded)
            if answer is not None:
                return Bound(answer)
        messages, context = measure(prompt.messages), measure(prompt.context)
        unbounded = messages.unbounded or context.unbounded
        if unbounded and not self.allows_unbounded:
            raise Unbounded(unbounded)
        return Bound(
            messages.tokens(model) + context.tokens(model) + UNSEEN_TOKENS,
            messages.one_hour or context.one_hour,
            messages.audio or context.audio,
        )

    def _unheld(self, request: CallRequest, receipt: Receipt, usage: Usage) -> Came:
        """Price a call that ran unpriced: the answer may name a model that is known."""
        try:
            price = settle_rates(request.model, receipt.model, request.provider, receipt.tier)
        except UnknownModel:
            return Came(Amounts(0, usage.total, 1, 0), priced=False)
        return came_to(receipt, usage, price, request.provider)

    def _settling(self, request: CallRequest, receipt: Receipt, quoted: Quote | None) -> Rates:
        try:
            return settle_rates(request.model, receipt.model, request.provider, receipt.tier)
        except Exception as error:
            pass_on(error)
            held = quoted.rates if quoted is not None else None
            if held is None:
                raise
            _log.exception("No price for %s any more; the one it was held at counts", request.model)
            return held


class Came(NamedTuple):
    """What an ended call came to.

    Attributes:
        priced: False if a part of it has no known price.
        source: "provider" if that is what the provider itself says.
    """

    amounts: Amounts
    priced: bool = True
    source: str | None = None


def told_cost(receipt: Receipt, usage: Usage, nanos: int) -> Came:
    """Return what an answer came to as the provider itself says."""
    tokens = usage.total + sum(other.total for _, other in receipt.others)
    return Came(Amounts(nanos, tokens, 1, 0), source="provider")


def came_to(receipt: Receipt, usage: Usage, price: Rates, provider: str | None) -> Came:
    """Return what an answer came to: its tokens at `price`, other models', and what is beside."""
    cost, tokens, priced = price.cost(usage), usage.input + usage.output, True
    if receipt.others:
        beside, more = _others_cost(receipt, provider, price)
        cost, tokens = cost + beside, tokens + more
    if receipt.fees:
        beside, unknown = price.beside(receipt.fees)
        cost, priced = cost + beside, not unknown
        if unknown:
            _log.warning("No price is known for %s: recorded as unpriced", ", ".join(unknown))
    if price.silent(usage):
        priced = False
        _log.warning("No price is known for audio of %s: recorded as unpriced", receipt.model)
    return tuple.__new__(Came, (tuple.__new__(Amounts, (cost, tokens, 1, 0)), priced, None))


def _others_cost(receipt: Receipt, provider: str | None, price: Rates) -> tuple[int, int]:
    """Return the nanos and tokens of what other models used for an answer.

    One without a price of its own counts at `price`, that of the model that was asked.
    """
    cost = tokens = 0
    for model, usage in receipt.others:
        try:
            own = rates(model, provider, receipt.tier)
        except UnknownModel:
            _log.warning("No price for %s, which another model asked: that one's counts", model)
            own = price
        cost += own.cost(usage)
        tokens += usage.total
    return cost, tokens


def _dearness(price: Rates) -> tuple[int, int]:
    return price.output, price.worst_input(1_000_000)


def _is_bound(answer: Any) -> bool:
    return type(answer) is int and answer >= 0


@dataclass(frozen=True, slots=True)
class EstimateRequest:
    """Whose input tokens are to be bounded: `messages` and all else that counts, JSON-like."""

    model: str
    provider: str | None
    messages: Sequence[Any]
    context: Any = None
