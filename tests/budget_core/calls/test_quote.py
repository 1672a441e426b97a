import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budget_core import hooks
from budget_core.calls.estimator import Estimator
from budget_core.calls.prompt import UNSEEN_TOKENS, Prompt, measure
from budget_core.calls.quote import COMFORTABLE, COMFORTABLE_REASONING, USEFUL, Quote, quote
from budget_core.calls.request import CallRequest
from budget_core.errors import Unbounded
from budget_core.ledger import Headroom
from budget_core.money.prices.output_limits import DEFAULT_MAX_OUTPUT
from budget_core.money.prices.rates import Rates
from budget_core.money.usage import Usage

ONE_TEN = Rates.of(1, 10)  # 1,000 and 10,000 nanos a token


def room(usd=None, tokens=None):
    return Headroom(usd, tokens, None, None)


def asked(rates=ONE_TEN, *, input_tokens=100, output_cap=None, **options):
    return quote("nosuch", rates, input_tokens=input_tokens, output_cap=output_cap, **options)


RATES = st.builds(
    Rates.of,
    st.integers(0, 100),
    st.integers(0, 100),
)
QUOTES = st.builds(
    quote,
    st.sampled_from(["nosuch", "o3", "gpt-4o-mini"]),
    st.none() | RATES,
    input_tokens=st.integers(0, 10**6),
    output_cap=st.none() | st.integers(0, 10**6),
    n=st.integers(1, 8),
    longest=st.integers(0, 10**5),
)
ROOMS = st.builds(room, st.none() | st.integers(0, 10**12), st.none() | st.integers(0, 10**7))


class TestQuote:
    def test_holds_input_and_output_at_their_worst(self):
        assert asked().amounts(50) == (100 * 1_000 + 50 * 10_000, 150, 1, 0)

    def test_rounds_up(self):
        assert asked(Rates.of("0.000001", "0.000001"), input_tokens=1).amounts(1).usd == 2

    def test_without_a_cap_an_answer_may_be_the_models_longest(self):
        assert asked().most == DEFAULT_MAX_OUTPUT
        assert quote("gpt-4o-mini", None, input_tokens=0, output_cap=None).most == 16_384

    def test_n_answers_may_each_be_that_long(self):
        one, three = asked(output_cap=1_000), asked(output_cap=1_000, n=3)
        assert (three.most, three.comfortable, three.useful) == (3_000, 3_000, 3 * USEFUL)
        assert (one.most, one.useful) == (1_000, USEFUL)

    def test_no_answers_at_all_are_held_as_one(self):
        assert asked(output_cap=1_000, n=0).most == 1_000

    def test_a_cap_of_minus_one_is_none(self):
        assert asked(output_cap=-1) == asked()

    def test_a_tiny_cap_is_useful_enough(self):
        assert (asked(output_cap=5).useful, asked(output_cap=0).useful) == (5, 0)

    def test_comfort_grows_with_what_was_seen(self):
        assert asked().comfortable == COMFORTABLE
        assert asked(longest=100).comfortable == COMFORTABLE
        assert asked(longest=5_000).comfortable == 10_000
        reasoning = quote("o3", ONE_TEN, input_tokens=0, output_cap=None)
        assert reasoning.comfortable == COMFORTABLE_REASONING

    def test_an_hours_cache_write_costs_more(self):
        rates = Rates.of(1, 10, cache_write=1, cache_write_1h=2)
        assert asked(rates, one_hour=True).input_cost == 2 * asked(rates).input_cost

    def test_without_a_price_only_tokens_count(self):
        assert asked(None).amounts(50) == (0, 150, 1, 0)
        assert asked(None).output_for(room(0, 500)) == 400


class TestShare:
    def test_is_half_of_what_is_left(self):
        assert asked().share(room(100_000 + 10_000 * 20_000)) == 10_000

    def test_is_a_comfortable_answer_at_least(self):
        assert asked().share(room(0)) == COMFORTABLE
        assert asked().share(room(100_000 + 10_000 * 3_000)) == COMFORTABLE

    def test_is_the_longest_answer_at_most(self):
        assert asked().share(room(10**13)) == DEFAULT_MAX_OUTPUT

    def test_without_a_limit_is_the_longest_answer(self):
        assert asked().share(room()) == DEFAULT_MAX_OUTPUT
        assert asked(Rates.of(0, 0)).share(room(0)) == DEFAULT_MAX_OUTPUT

    def test_of_a_callers_cap_is_that_exactly(self):
        assert asked(output_cap=7_777).share(room(0)) == 7_777
        assert asked(output_cap=7_777).share(room()) == 7_777

    def test_minds_a_limit_of_tokens(self):
        assert asked().share(room(10**13, 100 + 10_000)) == 5_000
        assert asked(None).share(room(0, 100 + 10_000)) == 5_000


class TestSqueezed:
    def test_is_what_is_left(self):
        assert asked().squeezed(room(100_000 + 10_000 * 300)) == 300
        assert asked().squeezed(room(None, 100 + 300)) == 300

    def test_is_nothing_below_a_useful_answer(self):
        assert asked().squeezed(room(100_000 + 10_000 * USEFUL)) == USEFUL
        assert asked().squeezed(room(100_000 + 10_000 * USEFUL - 1)) is None
        assert asked().squeezed(room(None, 100 + USEFUL - 1)) is None

    def test_is_nothing_where_not_even_the_input_is_paid_for(self):
        assert asked(output_cap=0).squeezed(room(99_999)) is None
        assert asked(output_cap=0).squeezed(room(100_000)) == 0

    def test_is_no_more_than_was_asked_for(self):
        assert asked(output_cap=1_000).squeezed(room(10**12)) == 1_000
        assert asked().squeezed(room()) == DEFAULT_MAX_OUTPUT


class TestAlways:
    @given(QUOTES, ROOMS)
    def test_what_is_squeezed_fits(self, asked, left):
        cut = asked.squeezed(left)
        if cut is not None:
            cost = asked.amounts(cut)
            assert left.usd is None or asked.rates is None or cost.usd <= left.usd
            assert left.tokens is None or cost.tokens <= left.tokens
            assert asked.useful <= cut <= asked.most

    @given(QUOTES, ROOMS)
    def test_a_share_is_never_more_than_was_asked_for(self, asked, left):
        share = asked.share(left)
        assert isinstance(share, int)
        assert 0 <= share <= asked.most
        assert share == asked.most or share >= asked.comfortable

    @given(QUOTES, st.integers(0, 10**12), st.integers(0, 10**12))
    def test_more_room_is_never_less_output(self, asked, one, other):
        small, large = sorted([one, other])
        assert asked.share(room(small)) <= asked.share(room(large))
        assert asked.output_for(room(small)) <= asked.output_for(room(large))
        assert (asked.squeezed(room(small)) or 0) <= (asked.squeezed(room(large)) or 0)

    @given(QUOTES, st.integers(0, 10**6), st.integers(0, 10**6))
    def test_more_output_never_costs_less(self, asked, one, other):
        small, large = sorted([one, other])
        assert asked.amounts(small) <= asked.amounts(large)

    @given(RATES, st.integers(0, 10**10))
    def test_what_room_pays_for_is_as_much_as_it_can(self, rates, left):
        cost, rate = rates.worst_input(100), rates.worst_output_rate(100)
        asked = Quote(rates, 100, cost, rate, 10**9, 0, 0, capped=False)
        most = asked.output_for(room(left))
        if most >= 0 and most != math.inf:
            assert asked.amounts(int(most)).usd <= left < asked.amounts(int(most) + 1).usd


def lenient(**allowed):
    return Estimator(allows_unpriced=True, **allowed)


def bound(prompt, estimator=None, model="m"):
    return (estimator or lenient()).quote(CallRequest(model=model, prompt=prompt))


class TestInputBound:
    PROMPT = Prompt([{"role": "user", "content": "x" * 500}], {"tools": ["t"]})

    def test_of_the_unknown_is_its_bytes_and_what_providers_add(self):
        sizes = measure(self.PROMPT.messages).text + measure(self.PROMPT.context).text
        assert bound(self.PROMPT).input_tokens == sizes + UNSEEN_TOKENS > 500

    def test_of_the_known_is_exact(self):
        estimator = lenient()
        estimator.billed.remember("m", self.PROMPT, 77)
        assert bound(self.PROMPT, estimator).input_tokens == 77

    def test_what_has_no_bound_is_refused_unless_that_is_allowed(self):
        prompt = Prompt([{"image_url": "https://example.com/a.png"}])
        with pytest.raises(Unbounded, match="an image by URL"):
            bound(prompt)
        assert bound(prompt, lenient(allows_unbounded=True)).input_tokens > 0

    def test_what_has_no_bound_is_refused_behind_a_known_beginning_too(self):
        estimator = lenient()
        estimator.billed.remember("m", self.PROMPT, 77)
        longer = [*self.PROMPT.messages, {"image_url": "https://example.com/a.png"}]
        with pytest.raises(Unbounded):
            bound(Prompt(longer, self.PROMPT.context), estimator)

    def test_a_cache_write_for_an_hour_is_seen_and_remembered_once_it_was_billed(self):
        estimator = lenient()
        prompt = Prompt([{"cache_control": {"ttl": "1h"}}])
        assert bound(prompt, estimator).one_hour
        assert not estimator.billed.one_hour
        estimator.learn("m", [prompt], Usage(10, 1), one_hour=True)
        assert estimator.billed.one_hour

    def test_a_plugin_may_know_better(self):
        class Plugin:
            @hooks.hookimpl
            def budget_estimate(self, request):
                return 42 if request.model == "mine" else None

        plugin = Plugin()
        hooks.register(plugin)
        try:
            assert bound(self.PROMPT, model="mine").input_tokens == 42
            assert bound(self.PROMPT, model="other").input_tokens > 500
        finally:
            hooks.unregister(plugin)
