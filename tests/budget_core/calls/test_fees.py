"""What an answer tells to be billed beside its tokens; prices are worked out by hand."""

import logging
from types import SimpleNamespace

import pytest
from anthropic.types import Message
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from openai.types.responses import Response

from budget_core import AgentBudget, CallRequest, UnknownModel
from budget_core.calls.fees import told_nanos
from budget_core.calls.responses import read_on, read_receipt
from budget_core.calls.usages import read_usage
from budget_core.money.usage import Receipt, Usage
from budget_langchain.outcomes import read_result


def claude(**used):
    usage = {"input_tokens": 500, "output_tokens": 50, "server_tool_use": used}
    return {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-6",
            "content": [], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}  # fmt: skip


def response(*output, model="gpt-5"):
    usage = {"input_tokens": 500, "output_tokens": 50, "total_tokens": 550,
             "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    return {"id": "r", "object": "response", "created_at": 1, "model": model, "output": [*output],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": usage}  # fmt: skip


def searched(action="search"):
    inner = {"type": action, "query": "x", "url": "https://x", "pattern": "x"}
    return {"id": "w", "type": "web_search_call", "status": "completed", "action": inner}


def gemini(model="gemini-2.5-flash", **grounding):
    counts = {"promptTokenCount": 500, "candidatesTokenCount": 50, "totalTokenCount": 550}
    candidate = {"content": {"parts": [{"text": "x"}]}, "groundingMetadata": grounding}
    return {"candidates": [candidate], "modelVersion": model, "usageMetadata": counts}


def fees(answer):
    return dict(read_receipt(answer).fees)


class TestAnthropic:
    @pytest.mark.parametrize("wrap", [dict, Message.model_validate])
    def test_searches_are_counted_and_fetches_are_free(self, wrap):
        told = wrap(claude(web_search_requests=3, web_fetch_requests=2))
        assert fees(told) == {"web_searches": 3}

    def test_what_has_no_price_is_named(self):
        assert fees(claude(code_execution_requests=2)) == {"code_execution_requests": 2}

    def test_none_is_none(self):
        assert fees(claude(web_search_requests=0)) == {}
        assert fees({**claude(), "usage": {"input_tokens": 1, "output_tokens": 1}}) == {}

    def test_a_stream_tells_a_count_that_runs_on(self):
        known = read_on(Receipt(None), {"message": claude(web_search_requests=1)})
        last = {"usage": {"output_tokens": 50, "server_tool_use": {"web_search_requests": 3}}}
        assert read_on(known, last).fees == (("web_searches", 3),)
        assert read_on(read_on(known, last), {"type": "message_stop"}).fees == (
            ("web_searches", 3),
        )


class TestOpenAI:
    @pytest.mark.parametrize("wrap", [dict, Response.model_validate])
    def test_of_what_a_search_does_only_searching_is_billed(self, wrap):
        told = response(searched(), searched("open_page"), searched("find_in_page"), searched())
        assert fees(wrap(told)) == {"web_searches": 2}

    def test_a_search_that_does_not_say_what_it_did(self):
        assert fees(response({"type": "web_search_call", "id": "w"})) == {"web_searches": 1}

    def test_file_searches(self):
        assert fees(response({"type": "file_search_call", "id": "f"})) == {"storage_searches": 1}

    @pytest.mark.parametrize(
        "kind", ["code_interpreter_call", "image_generation_call", "x_search_call"]
    )
    def test_a_tool_without_a_price_is_named(self, kind):
        assert fees(response({"type": kind, "id": "t"}, {"type": kind, "id": "u"})) == {kind: 2}

    @pytest.mark.parametrize("kind", ["function_call", "message", "reasoning", "mcp_call"])
    def test_what_costs_its_tokens_alone(self, kind):
        assert fees(response({"type": kind, "id": "t"})) == {}

    def test_a_shell_costs_something_where_it_runs_at_the_provider(self):
        shell = {"type": "shell_call", "environment": {"type": "container_reference"}}
        assert fees(response(shell)) == {"shell_call": 1}
        assert fees(response({"type": "shell_call", "environment": {"type": "local"}})) == {}

    def test_a_stream_tells_them_at_its_end(self):
        event = {"type": "response.completed", "response": response(searched())}
        assert read_on(Receipt(None), event).fees == (("web_searches", 1),)

    def test_a_model_that_searches_by_itself(self):
        usage = {"prompt_tokens": 9, "completion_tokens": 9}
        chat = {"model": "gpt-4o-search-preview-2025-03-11", "choices": [], "usage": usage}
        assert fees(chat) == {"web_searches": 1}
        assert fees({**chat, "model": "gpt-4o"}) == {}


class TestGemini:
    def test_before_3_a_prompt_is_billed_however_many_queries(self):
        assert fees(gemini(webSearchQueries=["x", "y"])) == {"web_searches": 1}

    def test_from_3_on_each_query_once_and_no_empty_one(self):
        told = gemini("gemini-3-flash-preview", webSearchQueries=["x", "", "y", "x"])
        assert fees(told) == {"web_searches": 2}

    def test_pages_without_queries_are_a_search(self):
        chunks = [{"web": {"uri": "https://x"}}]
        assert fees(gemini("gemini-3-pro-preview", groundingChunks=chunks)) == {"web_searches": 1}

    def test_maps_have_no_known_price(self):
        assert fees(gemini(groundingChunks=[{"maps": {"uri": "x"}}])) == {"maps_searches": 1}

    def test_nothing_found_costs_nothing(self):
        assert fees(gemini(searchEntryPoint={})) == {}

    def test_a_stream_may_tell_it_without_usage(self):
        chunk = gemini(webSearchQueries=["x"])
        del chunk["usageMetadata"]
        last = read_on(read_on(Receipt(None), chunk), gemini())
        assert (last.fees, last.usage) == ((("web_searches", 1),), Usage(500, 50))

    def test_langchain_keeps_it_in_its_metadata(self):
        usage = {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}
        about = {
            "model_name": "gemini-3-flash-preview",
            "grounding_metadata": {"web_search_queries": ["x", "y"]},
        }
        told = AIMessage("hi", usage_metadata=usage, response_metadata=about)
        assert fees(told) == {"web_searches": 2}


def test_openrouter_tells_them_as_anthropic_does():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 9,
        "server_tool_use": SimpleNamespace(web_search_requests=2),
    }
    assert fees({"model": "m", "choices": [], "usage": usage}) == {"web_searches": 2}


CHARGED = {
    "Claude, 3 searches": (claude(web_search_requests=3), (500 * 3 + 50 * 15) * 1_000 + 30_000_000),
    "GPT, 2 searches": (response(searched(), searched()), 500 * 1_250 + 50 * 10_000 + 20_000_000),
    "GPT, a file search": (
        response({"type": "file_search_call"}),
        500 * 1_250 + 50 * 10_000 + 2_500_000,
    ),
    "Gemini 2.5, grounded": (gemini(webSearchQueries=["x", "y"]), 500 * 300 + 50 * 2_500 + 35_000_000),
    "Gemini 3, 2 queries": (
        gemini("gemini-3-flash-preview", webSearchQueries=["x", "y"]),
        500 * 500 + 50 * 3_000 + 28_000_000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ["held", "recorded"])
@pytest.mark.parametrize("told", CHARGED)
def test_a_fee_is_charged_beside_the_tokens(way, told):
    answer, nanos = CHARGED[told]
    with AgentBudget("$5").session() as session:
        settle(session, answer, way)
    assert (session.spent_nanos, session.report()["unpriced_calls"]) == (nanos, 0)


@pytest.mark.parametrize("way", ["held", "recorded"])
@pytest.mark.parametrize(
    "answer",
    [
        claude(code_execution_requests=1),
        response({"type": "code_interpreter_call"}),
        gemini(groundingChunks=[{"maps": {}}, {"maps": {"uri": "x"}}]),
    ],
    ids=["Claude", "GPT", "Gemini"],
)
def test_a_fee_without_a_price_is_recorded_as_unpriced_beside_its_tokens(caplog, way, answer):
    with AgentBudget("$5").session() as session, caplog.at_level(logging.WARNING):
        settle(session, answer, way)
    assert session.report()["unpriced_calls"] == 1
    assert session.spent_nanos > 0
    assert "No price is known for" in caplog.text


def settle(session, answer, way):
    model = answer.get("model") or answer["modelVersion"]
    if way == "held":
        session.open_call(CallRequest(model=model, output_cap=99)).settle(answer)
    else:
        session.wrap(answer)


@pytest.mark.parametrize("dollars", [None, "x", float("nan"), "Infinity", [], {}])
def test_what_is_no_amount_of_dollars(dollars):
    assert told_nanos(dollars) is None


class TestAudio:
    """Audio costs many times what text does: its tokens are never charged at the price of text."""

    def test_a_transcription_at_its_own_price(self):
        usage = {"type": "tokens", "input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
                 "input_token_details": {"text_tokens": 10, "audio_tokens": 90}}  # fmt: skip
        assert read_usage(usage) == Usage(100, 20, audio_input=90, text_input=10)
        with AgentBudget("$5").session() as session:
            session.open_call(CallRequest(model="gpt-4o-transcribe", output_cap=99)).settle(
                {"text": "x", "usage": usage}
            )
        assert session.spent_nanos == 10 * 2_500 + 90 * 6_000 + 20 * 10_000

    SPOKEN = {"prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
              "completion_tokens_details": {"audio_tokens": 15}}  # fmt: skip

    @pytest.mark.parametrize("model", ["gpt-4o-audio-preview", "gpt-4o-mini-audio-preview"])
    def test_audio_without_a_price_is_an_unknown_model_where_it_is_recorded(self, model):
        with AgentBudget("$5").session() as session:
            with pytest.raises(UnknownModel, match="audio"):
                session.wrap({"model": model, "choices": [], "usage": self.SPOKEN})
            report = session.report()
        assert (report["unpriced_calls"], report["breakdown"]["llm"]["calls"]) == (1, 1)

    def test_audio_that_was_not_asked_for_is_recorded_as_unpriced(self):
        with AgentBudget("$5").session() as session:
            call = session.open_call(CallRequest(model="gpt-4o-audio-preview", output_cap=99))
            call.settle({"model": "gpt-4o-audio-preview", "choices": [], "usage": self.SPOKEN})
        assert session.report()["unpriced_calls"] == 1

    def test_audio_with_a_price_is_charged_at_it(self):
        with AgentBudget("$5").session() as session:
            session.wrap({"model": "gpt-audio", "choices": [], "usage": self.SPOKEN})
        assert session.spent_nanos == 50 * 2_500 + 5 * 10_000 + 15 * 64_000

    def test_google_bills_audio_as_text_where_it_names_no_other_price(self):
        told = gemini("gemini-2.5-pro")
        told["usageMetadata"]["promptTokensDetails"] = [{"modality": "AUDIO", "tokenCount": 500}]
        with AgentBudget("$5").session() as session:
            session.wrap(told)
        assert session.spent_nanos == 500 * 1_250 + 50 * 10_000
        assert session.report()["unpriced_calls"] == 0

    def test_mistral_tells_audio_beside_the_prompt(self):
        usage = {"prompt_tokens": 4, "completion_tokens": 635, "total_tokens": 3264,
                 "prompt_audio_seconds": 203}  # fmt: skip
        assert read_usage(usage) == Usage(2629, 635, audio_input=2625)
        assert fees({"model": "voxtral", "usage": usage}) == {"audio_seconds": 203}


class TestCaches:
    """Gateways tell what was read from a cache, and written to one, in places of their own."""

    CHAT = {"prompt_tokens": 1000, "completion_tokens": 5, "total_tokens": 1005}

    @pytest.mark.parametrize(
        "told",
        [
            {"prompt_cache_hit_tokens": 600, "prompt_cache_miss_tokens": 400},
            {"cached_tokens": 600},
            {"num_cached_tokens": 600},
            {"cache_read_input_tokens": 600},
            {"prompt_token_details": {"cached_tokens": 600}},
            {"cached_tokens": 600, "prompt_tokens_details": {"cached_tokens": 600}},
        ],
        ids=["DeepSeek", "Moonshot", "Mistral", "LiteLLM", "Mistral's details", "twice"],
    )
    def test_reads(self, told):
        assert read_usage({**self.CHAT, **told}) == Usage(1000, 5, cache_read=600)

    @pytest.mark.parametrize(
        ("told", "hour"),
        [
            ({"prompt_tokens_details": {"cache_write_tokens": 300}}, 0),
            ({"prompt_tokens_details": {"cache_creation_tokens": 300}}, 0),
            ({"cache_creation_input_tokens": 300}, 0),
            ({"prompt_tokens_details": {"cache_creation_tokens": 300, "cache_creation_token_details":
                {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}}}, 200),
            ({"cache_creation": {"ephemeral_1h_input_tokens": 300}}, 300),
        ],
        ids=["OpenRouter", "LiteLLM", "LiteLLM at the top", "by age", "Anthropic's, by age"],
    )  # fmt: skip
    def test_writes(self, told, hour):
        expected = Usage(1000, 5, cache_write=300, cache_write_1h=hour)
        assert read_usage({**self.CHAT, **told}) == expected

    def test_a_write_is_charged_at_the_price_of_writes(self):
        details = {"cache_creation_tokens": 300,
                   "cache_creation_token_details": {"ephemeral_1h_input_tokens": 200}}  # fmt: skip
        told = {**self.CHAT, "prompt_tokens_details": details}
        with AgentBudget("$5").session() as session:
            session.wrap({"model": "claude-sonnet-4-6", "choices": [], "usage": told})
        assert session.spent_nanos == 700 * 3_000 + 100 * 3_750 + 200 * 6_000 + 5 * 15_000

    def test_nonsense_is_not_zero(self):
        assert read_usage({**self.CHAT, "cached_tokens": -1}) is None


class TestAStreamOfGeminis:
    """Its last counts are the answer's, also where those before were higher."""

    def counts(self, prompt, answer):
        told = {"promptTokenCount": prompt, "candidatesTokenCount": answer}
        return {"usageMetadata": {**told, "totalTokenCount": prompt + answer}}

    def test_lower_counts_in_the_end(self):
        known = read_on(Receipt(None), self.counts(100, 60))
        assert read_on(known, self.counts(100, 50)).usage == Usage(100, 50)

    def test_others_only_grow(self):
        known = read_on(Receipt(None), {"message": claude()})
        assert read_on(known, {"usage": {"output_tokens": 9}}).usage == Usage(500, 50)


def test_langchain_s_results_keep_what_is_billed_beside_tokens():
    usage = {"input_tokens": 500, "output_tokens": 50, "total_tokens": 550}
    raw = {"usage": {**claude()["usage"], "server_tool_use": {"web_search_requests": 3},
                     "inference_geo": "us", "cost": 0.5}, "model_name": "claude-sonnet-4-6"}  # fmt: skip
    message = AIMessage("hi", usage_metadata=usage, response_metadata=raw)
    result = LLMResult(generations=[[ChatGeneration(message=message)]] * 2)
    found = read_result(result)
    assert (found.fees, found.region, found.cost) == ((("web_searches", 6),), "us", 10**9)


@pytest.mark.parametrize(("answered", "nanos"), [("gpt-4o-2024-08-06", 450_000), ("mine-2", 0)])
def test_a_deployment_s_answer_may_name_a_model_that_has_a_price(answered, nanos):
    with AgentBudget("$5", unknown_model="allow").session() as session:
        call = session.open_call(CallRequest(model="my-deployment", provider="azure"))
        usage = {"prompt_tokens": 100, "completion_tokens": 20}
        call.settle({"model": answered, "choices": [], "usage": usage})
    assert session.spent_nanos == nanos
    assert session.report()["unpriced_calls"] == (nanos == 0)
