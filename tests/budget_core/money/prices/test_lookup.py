import math
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices import data_snapshot
from genai_prices.data import providers
from hypothesis import given, settings
from hypothesis import strategies as st

from budget_core import hooks
from budget_core.errors import InvalidCost, UnknownModel
from budget_core.money.prices import lookup, registry
from budget_core.money.prices.lookup import (
    is_registered,
    known_models,
    rates,
    register_model,
    register_models,
    settle_rates,
)
from budget_core.money.prices.names import ALIASES
from budget_core.money.prices.rates import Rates
from budget_core.money.prices.table import Entry, PriceTable, read_rates
from budget_core.money.usage import Usage

USD = 1_000_000_000
DATA = {provider.id: provider for provider in providers}
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _fresh():
    yield
    registry.clear()
    lookup.forget()


def dollars(model, *args):
    found = rates(model, *args)
    return found.input / USD, found.output / USD


AGENTBUDGET = [
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4o",
    "gpt-4o-mini",
    "o3",
    "o3-mini",
    "o4-mini",
    "o1",
    "claude-opus-4-6",
    "claude-sonnet-4.5",
    "claude-haiku-4.5",
    "claude-3.5-sonnet",
    "claude-3.5-haiku",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.0-flash",
    "gemini-1.5-pro",
    "mistral-large",
    "mistral-small",
    "codestral",
    "command-r-plus",
]
GUARD = [
    "GPT-5.2",
    "GPT-5.1",
    "GPT-5-mini",
    "GPT-5-nano",
    "GPT-4.1",
    "GPT-4o",
    "GPT-4o-mini",
    "o1",
    "o3",
    "o3-pro",
    "o4-mini",
    "gpt-4-turbo",
    "gpt-4",
    "gpt-3.5-turbo",
]


class TestNames:
    @pytest.mark.parametrize("model", AGENTBUDGET + GUARD)
    def test_every_model_that_the_other_libraries_list(self, model):
        assert rates(model) == rates(model.upper())
        assert rates(model).output > 0

    @pytest.mark.parametrize(
        ("model", "price"),
        [
            ("gpt-4o", (2.5, 10)),
            ("gpt-4o-2025-06-15", (2.5, 10)),
            ("gpt-4o-2024-05-13", (5, 15)),  # a dated model with a price of its own
            ("openai/gpt-4o", (2.5, 10)),
            ("azure/gpt-4o", (2.5, 10)),
            ("openrouter/anthropic/claude-sonnet-4.5", (3, 15)),
            ("models/gemini-2.5-pro", (1.25, 10)),
            ("claude-sonnet-4-5", (3, 15)),
            ("claude-sonnet-4-5-20250929", (3, 15)),
            ("claude-sonnet-4-5@20250929", (3, 15)),
            ("claude-3-5-haiku-latest", (0.8, 4)),
            ("claude-opus-4-6", (5, 25)),
            ("gpt-5.2", (1.75, 14)),
            ("gpt-4-0613", (30, 60)),
            ("o3", (2, 8)),  # the price of 2025-06-10, not the first one
            ("command-r-plus", (2.5, 10)),
        ],
    )
    def test_price(self, model, price):
        assert dollars(model) == price

    def test_no_cheaper_namesake(self):
        assert dollars("o1-pro") == (150, 600)
        assert dollars("gpt-4-32k") == (60, 120)

    @pytest.mark.parametrize(
        "model",
        [
            "gpt-4o-ultra-exp",
            "gpt-5.2-turbo-9",
            "o1-ultra",
            "claude-sonnet-4-5-mega",
            "mistral-large-2302",
            "",
            "  ",
            None,
            3,
        ],
    )
    def test_look_alikes_are_unknown(self, model):
        with pytest.raises(UnknownModel, match="register_model"):
            rates(model)
        with pytest.raises(UnknownModel):  # the cached answer
            rates(model)

    def test_bedrock_in_a_region_costs_more(self):
        assert dollars("us.anthropic.claude-sonnet-4-5-20250929-v1:0") == (3.3, 16.5)
        assert dollars("global.anthropic.claude-sonnet-4-5-20250929-v1:0") == (3, 15)
        assert dollars("claude-sonnet-4-5-20250929", "bedrock") == (3.3, 16.5)

    def test_fine_tuned(self):
        assert dollars("ft:gpt-4o-mini-2024-07-18:org::x") == (0.3, 1.2)

    @pytest.mark.parametrize(("alias", "name"), ALIASES.items())
    def test_aliases_lead_to_a_price(self, alias, name):
        assert rates(alias) == rates(name)

    def test_gemini_8b_is_not_its_bigger_sister(self):
        assert dollars("gemini-1.5-flash-8b") == (0.0375, 0.15)


class TestProviders:
    def test_given_provider_comes_first(self):
        assert (
            rates("openai/gpt-oss-120b", "groq")
            == rates("groq/openai/gpt-oss-120b")
            != rates("gpt-oss-120b")
        )
        assert rates("openai/gpt-4o", "openrouter").source == "genai-prices"

    @pytest.mark.parametrize(
        "provider", ["azure", "google_genai", "my-gateway", "openai", "AZURE_AI", "ollama"]
    )
    def test_other_providers_fall_back_to_the_maker(self, provider):
        assert dollars("gpt-4o", provider) == (2.5, 10)

    def test_never_a_resellers_cheaper_price(self):
        cheaper = [
            (p.id, m.id)
            for p in providers
            for m in p.models
            if m.id in {"gpt-4o", "claude-sonnet-4-5", "deepseek-chat"}
            and p.id not in {"openai", "anthropic", "deepseek"}
        ]
        for _, model in cheaper:
            assert rates(model) == rates(
                model, {"g": "openai", "c": "anthropic", "d": "deepseek"}[model[0]]
            )

    def test_of_resellers_the_dearest(self):
        name = "meta-llama/llama-3.3-70b-instruct"
        everyone = [
            read_rates(Entry(p.id, m), None, NOW)
            for p in providers
            for m in p.models
            if m.id.lower() == name
        ]
        assert len(everyone) > 1
        assert rates(name) == max(filter(None, everyone), key=lambda r: r.input + r.output)


class TestUnpriced:
    @pytest.mark.parametrize(
        ("provider", "model"),
        [("mistral", "mistral-nemo:free"), ("google", "gemma-3"), ("openai", "whisper-1")],
    )
    def test_zero_or_no_token_price_is_unknown(self, provider, model):
        assert DATA[provider].find_model(model)
        with pytest.raises(UnknownModel):
            rates(model, provider)

    def test_embeddings_have_no_output_price_but_nothing_is_free(self):
        assert rates("text-embedding-3-small").cost(Usage(1_000_000)) == 20_000_000
        assert rates("text-embedding-3-small").output > 0

    def test_no_model_of_the_table_is_free(self):
        for known in known_models():
            assert known.rates.input > 0, known
            assert known.rates.output > 0, known


class TestSteps:
    def test_gemini_prices_the_whole_request_by_its_size(self):
        found = rates("gemini-2.5-pro")
        assert found.cost(Usage(200_000, 1_000)) == 260_000_000
        assert found.cost(Usage(200_001, 1_000)) == 515_002_500
        assert found.worst_output_rate(200_000) == 10 * USD
        assert found.worst_output_rate(200_001) == 15 * USD

    def test_others(self):
        assert [start for start, _ in rates("claude-sonnet-4-5").steps] == [200_000]
        assert [start for start, _ in rates("gpt-5.4").steps] == [272_000]
        assert rates("claude-opus-4-6").steps == ()  # only its first price had one

    def test_two_steps(self):
        base = Rates.of(1, 10)
        stepped = replace(base, steps=((100, Rates.of(2, 20)), (200, Rates.of(3, 30))))
        assert [stepped.at(n).input // USD for n in (100, 101, 200, 201)] == [1, 2, 2, 3]
        assert stepped.times(2).at(201).input == 6 * USD


class TestTiers:
    def test_known(self):
        assert dollars("gpt-5-mini", None, "flex") == (0.125, 1)
        assert dollars("gpt-5-mini", None, "batch") == (0.125, 1)
        assert dollars("gpt-5-mini", "openai", "priority") == (0.45, 3.6)
        assert dollars("claude-opus-5", None, "fast") == (10, 50)

    def test_unknown_cheaper_tiers_cost_the_standard_price(self):
        assert (
            rates("gpt-4-32k", None, "flex")
            == rates("gpt-4-32k", None, "batch")
            == rates("gpt-4-32k")
        )

    def test_unknown_dearer_tiers_cost_twice_that(self):
        assert dollars("gpt-4", None, "priority") == (60, 120)
        assert dollars("claude-opus-4-6", None, "priority") == (10, 50)

    @pytest.mark.parametrize("word", ["default", "auto", "standard_only", "scale"])
    def test_words_for_standard(self, word):
        assert rates("gpt-4o", None, word) == rates("gpt-4o")

    def test_another_providers_tiers_are_not_lent(self):
        assert dollars("gpt-5-mini", "azure", "batch") == (0.25, 2)


class TestCost:
    def test_rounds_up_once(self):
        assert Rates.of("0.001", "0.001").cost(Usage(1, 1)) == 2
        assert Rates.of("0.0001", "0.0001").cost(Usage(1, 1)) == 1
        assert Rates.of(0, 0).cost(Usage(10**6, 10**6)) == 0

    def test_cache(self):
        found = rates("claude-sonnet-4-5")
        assert found.cost(Usage(1_000, 0, cache_read=1_000)) == 300_000
        assert found.cost(Usage(1_000, 0, cache_write=1_000)) == 3_750_000
        assert found.cost(Usage(1_000, 0, cache_write=1_000, cache_write_1h=1_000)) == 6_000_000

    def test_an_hours_cache_of_claude_costs_twice_the_input(self):
        assert rates("claude-3-5-haiku").cache_write_1h == 2 * rates("claude-3-5-haiku").input

    def test_unpriced_parts_cost_as_input(self):
        found = rates("gpt-4")
        assert (
            found.cost(Usage(100, 0, 100))
            == found.cost(Usage(100, 0, 0, 100))
            == found.cost(Usage(100, 0))
        )

    def test_audio(self):
        found = rates("gpt-realtime")
        assert found.audio_output == 64 * USD == found.worst_output_rate(1)
        assert found.worst_output_rate(1, audio=False) == found.output
        flash = rates("gemini-2.5-flash")
        assert flash.cost(Usage(1_000, 0, audio_input=400)) == 600 * 300 + 400 * 1_000
        # cached audio: no more than the counts force, and then at its own rate
        assert flash.cost(Usage(1_000, 0, cache_read=1_000, audio_input=1_000)) == 1_000 * 100

    def test_fee_a_request(self):
        found = rates("sonar-pro", "perplexity")
        assert found.cost(Usage(1, 0)) == 14_000_000 + 3_000
        assert found.worst_input(1) >= found.cost(Usage(1, 0))

    def test_images_are_charged_as_dear_as_they_can_be(self):
        assert dollars("gemini-2.5-flash-image")[1] == 30

    def test_malformed_parts_never_make_it_negative(self):
        assert rates("gpt-4o").cost(Usage(1, 0, cache_read=10**9)) > 0


def agreeing():
    """Models whose prices a Usage can express in full."""
    ours = {
        "input_mtok",
        "output_mtok",
        "cache_read_mtok",
        "cache_write_mtok",
        "requests_kcount",
        "web_searches_kcount",
        "storage_searches_kcount",
    }
    for provider in providers:
        for model in provider.models:
            priced = {
                key for key, value in vars(model.get_prices(NOW)).items() if value is not None
            }
            found = read_rates(Entry(provider.id, model), None, NOW)
            if found and priced - {"cache_write_1h_mtok"} <= ours and "output_mtok" in priced:
                yield provider, model, priced


USAGES = [
    Usage(1, 1),
    Usage(1_234, 567),
    Usage(99_999, 4_321, 50_001, 777),
    Usage(250_001, 3),
    Usage(300_000, 7, 280_000, 1_001),
]


def test_agrees_with_genai_prices_on_every_model():
    checked = 0
    for provider, model, priced in agreeing():
        for tier, context in (
            (None, None),
            ("batch", {"processing": "batch"}),
            ("flex", {"service_tier": "flex"}),
        ):
            found = read_rates(Entry(provider.id, model), tier, NOW)
            for usage in USAGES:
                parts = {"input_tokens": usage.input, "output_tokens": usage.output}
                if "cache_read_mtok" in priced:
                    parts["cache_read_tokens"] = usage.cache_read
                if "cache_write_mtok" in priced:
                    parts["cache_write_tokens"] = usage.cache_write
                theirs = model.calc_price(
                    GenaiUsage(**parts),
                    provider,
                    genai_request_timestamp=NOW,
                    price_context=context,
                )
                if any(value == 0 for value in vars(theirs.model_price).values()):
                    continue  # $0 for a part is no price, to us
                exact = theirs.total_price * USD
                # a price finer than a nano a million tokens is rounded up before it is multiplied
                assert 0 <= found.cost(usage) - math.ceil(exact) <= (1 if exact % 1 else 0), (
                    provider.id,
                    model.id,
                    usage,
                )
                checked += 1
    assert checked > 15_000


MODELS = [
    "gpt-4o",
    "gpt-5.4",
    "claude-sonnet-4-5",
    "claude-haiku-5-5",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gpt-realtime",
    "sonar-pro",
]
tokens = st.integers(0, 400_000)


@st.composite
def usages(draw):
    whole, output = draw(tokens), draw(tokens)
    read = draw(st.integers(0, whole))
    write = draw(st.integers(0, whole - read))
    hour, reasoning = draw(st.integers(0, write)), draw(st.integers(0, output))
    audio = draw(st.integers(0, whole)), draw(st.integers(0, output))
    return Usage(whole, output, read, write, reasoning, hour, *audio)


@settings(max_examples=300)
@given(st.sampled_from(MODELS), usages(), st.integers(0, 100_000), st.integers(0, 100_000))
def test_more_tokens_never_cost_less(model, usage, more_input, more_output):
    found = rates(model)
    larger = usage._replace(input=usage.input + more_input, output=usage.output + more_output)
    assert found.cost(larger) >= found.cost(usage)


@settings(max_examples=300)
@given(st.sampled_from(MODELS), usages(), st.integers(0, 100_000))
def test_the_worst_case_covers_every_cost(model, usage, slack):
    found = rates(model)
    bound = usage.input + slack
    worst_output = -(-usage.output * found.worst_output_rate(bound) // 1_000_000)
    assert found.worst_input(bound) + worst_output >= found.cost(usage)
    assert found.worst_input(bound) >= found.worst_input(usage.input)
    if not usage.audio_input and not usage.cache_write_1h:
        input_only = usage._replace(output=0, reasoning=0, audio_output=0)
        assert found.worst_input(bound, audio=False, one_hour=False) >= found.cost(input_only)


class TestRegister:
    def test_wins_over_the_table_and_its_dated_and_prefixed_forms(self):
        assert dollars("gpt-4o") == (2.5, 10)
        register_model("GPT-4o", "$1", Decimal(2), cache_read_price_per_million=0.1)
        for name in ("gpt-4o", "gpt-4o-2025-06-15", "openai/gpt-4o", "gpt-4o-2024-05-13"):
            assert rates(name) == Rates.of(1, 2, cache_read=0.1, source="registered")
            assert is_registered(name)
        assert not is_registered("gpt-4o-mini")

    def test_either_spelling_of_claude(self):
        register_model("claude-sonnet-4.5", 1, 2)
        assert dollars("claude-sonnet-4-5-20250929") == (1, 2)
        assert rates("claude-sonnet-4-5").cache_write_1h == 2 * USD

    def test_priced_cache_writes(self):
        register_model("mine", 4, 8, cache_write_price_per_million=5)
        assert (rates("mine").cache_write, rates("mine").cache_write_1h) == (5 * USD, 8 * USD)

    def test_free_on_purpose(self):
        register_model("local", 0, 0)
        assert rates("local").cost(Usage(10**9, 10**9)) == 0

    def test_dearer_tiers_cost_twice_that(self):
        register_model("mine", 1, 2)
        assert dollars("mine", None, "priority") == (2, 4)
        assert dollars("mine", None, "batch") == (1, 2)

    @pytest.mark.parametrize("price", [-1, math.nan, math.inf, True, "much", None, Decimal("-0.1")])
    def test_nonsense(self, price):
        with pytest.raises(InvalidCost):
            register_model("mine", price, 1)
        with pytest.raises(InvalidCost):
            register_model("mine", 1, price)
        assert not is_registered("mine")

    @pytest.mark.parametrize("name", ["", "  ", None, 3])
    def test_bad_names(self, name):
        with pytest.raises(InvalidCost, match="name"):
            register_model(name, 1, 1)

    @pytest.mark.parametrize("most", [0, -1, True, 1.5])
    def test_bad_maximum(self, most):
        with pytest.raises(InvalidCost, match="max_output_tokens"):
            register_model("mine", 1, 1, max_output_tokens=most)

    def test_several(self):
        register_models({"gpt-5": (5.0, 20.0), "gpt-5-mini": (0.5, 2, 0.1)})
        assert dollars("gpt-5") == (5, 20)
        assert rates("gpt-5-mini").cache_read == USD // 10

    @pytest.mark.parametrize("bad", [(1,), (1, 2, 3, 4), "12", (1, -1), 5])
    def test_several_are_all_or_none(self, bad):
        with pytest.raises(InvalidCost):
            register_models({"good": (1, 2), "bad": bad})
        assert not is_registered("good")

    def test_an_answer_from_before_is_not_kept(self, monkeypatch):
        found = PriceTable.rates

        def slow(*args):
            register_model("gpt-4o", 1, 2)  # another thread, meanwhile
            return found(*args)

        monkeypatch.setattr(PriceTable, "rates", slow)
        assert dollars("gpt-4o") == (2.5, 10)
        assert dollars("gpt-4o") == (1, 2)

    def test_while_others_look_up(self):
        stop, wrong = threading.Event(), []

        def look():
            while not stop.is_set():
                if rates("gpt-4o").input == 0:
                    wrong.append(1)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for price in range(1, 300):
            register_model("gpt-4o", price, price)
            assert dollars("gpt-4o") == (price, price)
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong


class TestSettle:
    def test_the_answering_model_counts(self):
        assert settle_rates("gpt-4o", "gpt-4o-2024-05-13").input == 5 * USD
        assert settle_rates("gpt-4o", None) == settle_rates("gpt-4o", "gpt-4o") == rates("gpt-4o")

    def test_registered_for_the_requested_wins(self):
        register_model("gpt-4o", 1, 2)
        assert settle_rates("gpt-4o", "gpt-4-32k").input == USD

    def test_unknown_answer(self):
        assert settle_rates("gpt-4o", "some-deployment") == rates("gpt-4o")
        assert settle_rates("some-deployment", "gpt-4o") == rates("gpt-4o")
        with pytest.raises(UnknownModel):
            settle_rates("a-deployment", "another")

    def test_the_prefix_of_the_request_names_the_provider(self):
        assert (
            settle_rates(
                "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929"
            ).input
            == 33 * USD // 10
        )


class Plugin:
    answer = Rates.of(7, 8)

    @hooks.hookimpl
    def budget_price(self, request):
        self.request = request
        return self.answer


@pytest.fixture
def plugin():
    plugin = Plugin()
    hooks.register(plugin)
    yield plugin
    hooks.unregister(plugin)


class TestHook:
    def test_comes_before_the_table_and_after_the_user(self, plugin):
        assert rates("gpt-4o", "openai", "flex") == plugin.answer
        assert plugin.request == hooks.PriceRequest("gpt-4o", "openai", "flex")
        register_model("gpt-4o", 1, 2)
        assert dollars("gpt-4o") == (1, 2)

    def test_none_leaves_it_to_the_table(self, plugin):
        plugin.answer = None
        assert rates("gpt-4o") == rates("gpt-4o")
        with pytest.raises(UnknownModel):
            rates("no-such-model")

    def test_is_heard_at_once_and_no_longer_than_registered(self, plugin):
        hooks.unregister(plugin)
        assert dollars("gpt-4o") == (2.5, 10)
        hooks.register(plugin)
        assert dollars("gpt-4o") == (7, 8)

    def test_wrong_answers_are_told_and_passed_over(self, plugin, caplog):
        plugin.answer = (1, 2)
        assert dollars("gpt-4o") == (2.5, 10)
        assert "answered budget_price by (1, 2)" in caplog.text


class TestTime:
    def test_prices_by_the_hour(self):
        model = DATA["deepseek"].find_model("deepseek-chat")
        day, night = datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 20, tzinfo=UTC)
        entry = Entry("deepseek", model)
        assert read_rates(entry, None, day).input == 2 * read_rates(entry, None, night).input

    def test_cached_rates_grow_old(self, monkeypatch):
        first = rates("gpt-4o")
        later = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
        monkeypatch.setattr(lookup, "time", lambda: later)
        monkeypatch.setattr(PriceTable, "rates", lambda *_: Rates.of(9, 9))
        assert rates("gpt-4o") == Rates.of(9, 9) != first
        lookup.forget()

    def test_a_newer_snapshot_is_used(self):
        rates("gpt-4o")
        try:
            data_snapshot.set_custom_snapshot(
                data_snapshot.DataSnapshot([DATA["anthropic"]], from_auto_update=True)
            )
            lookup.forget()
            with pytest.raises(UnknownModel):
                rates("gpt-4o")
            assert dollars("claude-opus-4-6", "openai") == (5, 25)
        finally:
            data_snapshot.set_custom_snapshot(None)

    def test_the_cache_is_bounded(self, monkeypatch):
        monkeypatch.setattr(lookup, "_MOST_CACHED", 3)
        for n in range(9):
            with pytest.raises(UnknownModel):
                rates(f"no-such-model-{n}")
        assert len(lookup._cache.entries) <= 3


def test_known_models():
    register_model("mine", 1, 2, max_output_tokens=5)
    every = list(known_models())
    assert every[0][:2] == ("mine", None)
    assert every[0].max_output == 5
    assert len(every) > 1_500
    assert any(
        m.name == "gpt-4o" and m.provider == "openai" and m.max_output == 16_384 for m in every
    )


def test_the_data_is_loaded_at_the_first_look_up_only():
    code = "import sys, budget_core.money.prices.lookup as p; assert 'genai_prices' not in sys.modules; p.rates('gpt-4o'); assert 'genai_prices' in sys.modules"
    subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, timeout=60
    )
