from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import pytest
from anthropic.types import Message, MessageDeltaUsage, RawMessageStartEvent
from google.genai.types import GenerateContentResponse
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseCompletedEvent

from budget_core import AgentBudget, CallRequest
from budget_core.calls.responses import read_on, read_receipt
from budget_core.calls.usages import read_usage
from budget_core.money.prices.lookup import rates
from budget_core.money.usage import Receipt, Usage, tier_of

CHAT = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "service_tier": "default",
    "choices": [],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 50, "audio_tokens": 10, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 2},
    },
}
CHAT_USAGE = Usage(100, 20, 50, 5, 8, 0, 10, 2)

RESPONSE = {
    "id": "r",
    "object": "response",
    "created_at": 1,
    "model": "gpt-5.2-2025-12-11",
    "service_tier": "flex",
    "status": "completed",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 8},
    },
}

MESSAGE = {
    "id": "m",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "output_tokens": 20,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens_details": {"thinking_tokens": 7},
        "service_tier": "batch",
    },
}
MESSAGE_USAGE = Usage(1310, 20, 1000, 300, 7, 200)

GEMINI = {
    "model_version": "gemini-2.5-flash",
    "usage_metadata": {
        "prompt_token_count": 100,
        "candidates_token_count": 20,
        "thoughts_token_count": 30,
        "tool_use_prompt_token_count": 5,
        "cached_content_token_count": 40,
        "total_token_count": 155,
        "prompt_tokens_details": [
            {"modality": "TEXT", "token_count": 60},
            {"modality": "AUDIO", "token_count": 40},
        ],
    },
}
GEMINI_USAGE = Usage(105, 50, 40, 0, 30, 0, 40, 0, text_input=60, text_output=30)


class TestOpenAI:
    @pytest.mark.parametrize(
        "wrap", [dict, ChatCompletion.model_validate, lambda d: ChatCompletion.construct(**d)]
    )
    def test_chat(self, wrap):
        assert read_receipt(wrap(CHAT)) == Receipt(CHAT_USAGE, "gpt-4o-2024-08-06", None)

    def test_chat_mixed_object_and_dict(self):
        assert read_receipt(SimpleNamespace(usage=CHAT["usage"], model="m")).usage == CHAT_USAGE
        assert read_receipt({"usage": SimpleNamespace(**CHAT["usage"])}).usage == CHAT_USAGE

    def test_chunk_with_usage(self):
        chunk = ChatCompletionChunk.model_validate({**CHAT, "object": "chat.completion.chunk"})
        assert read_receipt(chunk).usage == CHAT_USAGE

    def test_chunk_without_usage_is_unknown(self):
        chunk = {**CHAT, "object": "chat.completion.chunk", "usage": None}
        assert read_receipt(ChatCompletionChunk.model_validate(chunk)) == Receipt(
            None, CHAT["model"]
        )

    @pytest.mark.parametrize("wrap", [dict, Response.model_validate])
    def test_responses(self, wrap):
        expected = Receipt(Usage(100, 20, 50, 0, 8), "gpt-5.2-2025-12-11", "flex")
        assert read_receipt(wrap(RESPONSE)) == expected

    def test_responses_stream_event_carries_the_response(self):
        event = {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}
        expected = read_receipt(RESPONSE)
        assert read_receipt(event) == expected
        assert read_receipt(ResponseCompletedEvent.model_validate(event)) == expected

    def test_responses_event_without_usage(self):
        created = {"type": "response.created", "response": {**RESPONSE, "usage": None}}
        assert read_receipt(created) == Receipt(None)

    def test_embeddings_have_no_output(self):
        body = {
            "object": "list",
            "model": "e",
            "data": [],
            "usage": {"prompt_tokens": 9, "total_tokens": 9},
        }
        assert read_receipt(CreateEmbeddingResponse.model_validate(body)).usage == Usage(9, 0)

    def test_a_prompt_alone_is_unknown(self):
        assert read_usage({"prompt_tokens": 9}) is None

    def test_hidden_reasoning_shows_in_the_total_only(self):
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
        }
        assert read_usage(usage) == Usage(10, 105, reasoning=100)

    def test_extra_fields_of_compatible_servers(self):
        body = {**CHAT, "usage": {**CHAT["usage"], "cost": 0.5}, "x_extra": 1}
        assert read_receipt(ChatCompletion.construct(**body)).usage == CHAT_USAGE


class TestAnthropic:
    @pytest.mark.parametrize("wrap", [dict, Message.model_validate])
    def test_message_adds_the_cache_to_the_input(self, wrap):
        expected = Receipt(MESSAGE_USAGE, "claude-sonnet-4-5-20250929", "batch")
        assert read_receipt(wrap(MESSAGE)) == expected

    def test_message_start_event(self):
        event = RawMessageStartEvent.model_validate({"type": "message_start", "message": MESSAGE})
        assert read_receipt(event).usage == MESSAGE_USAGE

    def test_uncached(self):
        assert read_usage({"input_tokens": 10, "output_tokens": 5}) == Usage(10, 5)

    def test_cache_by_age_alone(self):
        usage = {
            "input_tokens": 1,
            "output_tokens": 1,
            "cache_creation": {"ephemeral_1h_input_tokens": 8},
        }
        assert read_usage(usage) == Usage(9, 1, 0, 8, 0, 8)

    def test_delta_without_input_is_unknown(self):
        assert read_usage(MessageDeltaUsage(output_tokens=5)) is None

    @pytest.mark.parametrize(
        ("said", "tier"), [("standard", None), ("priority", "priority"), (None, None)]
    )
    def test_tier(self, said, tier):
        usage = {**MESSAGE["usage"], "service_tier": said}
        assert read_receipt({**MESSAGE, "usage": usage}).tier == tier

    def test_fast_mode(self):
        usage = {**MESSAGE["usage"], "service_tier": "standard", "speed": "fast"}
        assert read_receipt({**MESSAGE, "usage": usage}).tier == "fast"


def iterated(*steps, **usage):
    return {
        **MESSAGE,
        "usage": {"input_tokens": 23, "output_tokens": 4, **usage, "iterations": [*steps]},
    }


class TestPasses:
    """What Anthropic bills is the sum of ``usage.iterations``; the whole leaves some of them out."""

    COMPACTED = iterated(
        {"type": "compaction", "input_tokens": 180, "output_tokens": 35},
        {"type": "message", "input_tokens": 23, "output_tokens": 4},
    )
    ADVISED = iterated(
        {"type": "message", "input_tokens": 11, "output_tokens": 1},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 82,
         "output_tokens": 16, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3},
        {"type": "message", "input_tokens": 12, "output_tokens": 3},
    )  # fmt: skip
    FELL_BACK = iterated(
        {
            "type": "fallback_message",
            "model": "claude-opus-4-6",
            "input_tokens": 9,
            "output_tokens": 2,
        }
    )

    def test_a_compaction_is_the_model_s_own(self):
        receipt = read_receipt(self.COMPACTED)
        assert (receipt.usage, receipt.others) == (Usage(203, 39), ())

    def test_another_model_is_named_with_what_it_used(self):
        receipt = read_receipt(self.ADVISED)
        assert receipt.usage == Usage(23, 4)
        assert receipt.others == (("claude-opus-4-8", Usage(85, 16, 3)),)

    def test_an_answer_of_another_model_alone_is_its_own(self):
        receipt = read_receipt(self.FELL_BACK)
        assert receipt == Receipt(Usage(9, 2), "claude-opus-4-6", receipt.tier)

    def test_a_stream_tells_them_last(self):
        started = read_on(Receipt(None), {"message": MESSAGE})
        delta = {"type": "message_delta", "usage": self.ADVISED["usage"]}
        assert read_on(started, delta).others == (("claude-opus-4-8", Usage(85, 16, 3)),)

    @pytest.mark.parametrize("way", ["held", "recorded"])
    def test_each_model_is_charged_at_its_own_price(self, way):
        with AgentBudget("$5").session() as session:
            if way == "held":
                session.open_call(CallRequest(model="claude-sonnet-4-5", output_cap=99)).settle(
                    self.ADVISED
                )
            else:
                session.wrap(self.ADVISED)
        own, advisor = rates("claude-sonnet-4-5"), rates("claude-opus-4-8")
        assert session.spent_nanos == own.cost(Usage(23, 4)) + advisor.cost(Usage(85, 16, 3))
        assert session.standing.balance().spent.tokens == 23 + 4 + 85 + 16


class TestGemini:
    @pytest.mark.parametrize("wrap", [dict, GenerateContentResponse.model_validate])
    def test_response(self, wrap):
        assert read_receipt(wrap(GEMINI)) == Receipt(GEMINI_USAGE, "gemini-2.5-flash")

    def test_rest_body_in_camel_case(self):
        body = GenerateContentResponse.model_validate(GEMINI).model_dump(by_alias=True, mode="json")
        assert "usageMetadata" in body
        assert read_receipt(body) == Receipt(GEMINI_USAGE, "gemini-2.5-flash")

    def test_zeros_are_left_out(self):
        assert read_usage({"prompt_token_count": 7, "total_token_count": 7}) == Usage(7, 0)

    def test_traffic_type_is_the_tier(self):
        body = {
            **GEMINI,
            "usage_metadata": {**GEMINI["usage_metadata"], "traffic_type": "ON_DEMAND_FLEX"},
        }
        assert read_receipt(GenerateContentResponse.model_validate(body)).tier == "flex"

    def test_chunk_without_metadata(self):
        assert read_receipt(GenerateContentResponse(model_version="m")) == Receipt(None)


def message(usage=None, **metadata):
    return AIMessage("hi", usage_metadata=usage, response_metadata=metadata)


LC_USAGE = {
    "input_tokens": 1310,
    "output_tokens": 20,
    "total_tokens": 1330,
    "input_token_details": {
        "cache_read": 1000,
        "cache_creation": 0,
        "ephemeral_5m_input_tokens": 100,
        "ephemeral_1h_input_tokens": 200,
    },
    "output_token_details": {"reasoning": 7},
}


class TestLangChain:
    def test_message(self):
        found = read_receipt(message(LC_USAGE, model_name="claude-x", service_tier="default"))
        assert found == Receipt(MESSAGE_USAGE, "claude-x", None)

    def test_streamed_writes_have_no_age(self):
        usage = {**LC_USAGE, "input_token_details": {"cache_read": 1000, "cache_creation": 300}}
        assert read_usage(usage) == Usage(1310, 20, 1000, 300, 7)

    def test_chunk(self):
        chunk = AIMessageChunk("hi", usage_metadata=LC_USAGE)
        assert read_receipt(chunk).usage == MESSAGE_USAGE

    @pytest.mark.parametrize("tier", ["flex", "priority"])
    def test_prefixed_keys_imply_the_tier(self, tier):
        usage = {
            "input_tokens": 100,
            "output_tokens": 20,
            "total_tokens": 120,
            "input_token_details": {f"{tier}_cache_read": 40, tier: 60, "audio": 3},
            "output_token_details": {f"{tier}_reasoning": 5, tier: 15, "audio": 2},
        }
        assert read_receipt(message(usage)) == Receipt(
            Usage(100, 20, 40, 0, 5, 0, 3, 2), None, tier
        )

    def test_tier_of_the_response(self):
        assert read_receipt(message(LC_USAGE, service_tier="priority")).tier == "priority"
        raw = {"usage": {"service_tier": "batch"}}
        assert read_receipt({"usage_metadata": LC_USAGE, "response_metadata": raw}).tier == "batch"

    def test_older_integrations_put_it_in_the_metadata(self):
        found = read_receipt(message(token_usage=CHAT["usage"], model_name="gpt-4o"))
        assert found == Receipt(CHAT_USAGE, "gpt-4o")

    def test_no_usage_at_all(self):
        assert read_receipt(message(model_name="m")) == Receipt(None, "m")

    def test_result_reads_the_first_generation_only(self):
        twin = ChatGeneration(message=message(LC_USAGE))
        assert read_receipt(LLMResult(generations=[[twin, twin]])).usage == MESSAGE_USAGE
        assert read_receipt(ChatResult(generations=[twin, twin])).usage == MESSAGE_USAGE
        assert read_receipt(twin).usage == MESSAGE_USAGE

    def test_result_of_several_prompts_adds_up(self):
        one = [ChatGeneration(message=message(LC_USAGE))]
        assert (
            read_receipt(LLMResult(generations=[one, one])).usage.total == 2 * MESSAGE_USAGE.total
        )

    def test_result_falls_back_to_llm_output(self):
        result = LLMResult(
            generations=[[Generation(text="hi")]],
            llm_output={
                "token_usage": CHAT["usage"],
                "model_name": "gpt-x",
                "service_tier": "flex",
            },
        )
        assert read_receipt(result) == Receipt(CHAT_USAGE, "gpt-x", "flex")

    def test_empty_results(self):
        assert read_receipt(LLMResult(generations=[])) == Receipt(None)
        assert read_receipt(LLMResult(generations=[[]])) == Receipt(None)


class TestMissingIsNotZero:
    @pytest.mark.parametrize(
        "usage",
        [
            None,
            {},
            {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
            {"prompt_tokens": -1, "completion_tokens": 5},
            {"prompt_tokens": 5, "completion_tokens": -1},
            {"prompt_tokens": True, "completion_tokens": 5},
            {"prompt_tokens": 5, "completion_tokens": True},
            {"prompt_tokens": 5.0, "completion_tokens": 5},
            {"prompt_tokens": "5", "completion_tokens": 5},
            {
                "prompt_tokens": 5,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": -1},
            },
            {"input_tokens": 5, "output_tokens": None},
            {"input_tokens": 5, "output_tokens": 5, "cache_read_input_tokens": 0.5},
            {"prompt_token_count": None, "candidates_token_count": 5},
            Usage(0, 0),
            Usage(-1, 5),
        ],
    )
    def test_unknown(self, usage):
        assert read_usage(usage) is None
        assert read_receipt({"usage": usage, "model": "m"}).usage is None

    def test_own_usage_passes_through(self):
        assert read_usage(CHAT_USAGE) == CHAT_USAGE
        assert CHAT_USAGE.total == 120

    def test_a_whole_that_left_its_parts_out_grows(self):
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 50},
        }
        assert read_usage(usage) == Usage(50, 5, cache_read=50)

    @given(st.lists(st.integers(0, 10**7), min_size=9, max_size=9))
    def test_parts_never_exceed_the_whole_and_no_token_is_lost(self, n):
        usage = {
            "prompt_tokens": n[0],
            "completion_tokens": n[1],
            "total_tokens": n[2],
            "prompt_tokens_details": {
                "cached_tokens": n[3],
                "cache_write_tokens": n[4],
                "audio_tokens": n[5],
            },
            "completion_tokens_details": {"reasoning_tokens": n[6], "audio_tokens": n[7]},
        }
        found = read_usage(usage)
        if found is None:
            assert not any(n[:5]) or not n[0] + n[1]
            return
        assert found.cache_read + found.cache_write <= found.input
        assert found.cache_write_1h <= found.cache_write
        assert max(found.reasoning, found.audio_output) <= found.output
        assert found.audio_input <= found.input
        assert found.input >= n[0]
        assert found.output >= n[1]


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)


class Endless:
    response_metadata = None

    @property
    def response(self):
        return self


class TestForeignObjects:
    @pytest.mark.parametrize(
        "thing",
        [
            None,
            "text",
            3,
            [],
            object(),
            Mock(),
            MagicMock(),
            Endless(),
            {"usage": "many"},
            {"response": {}},
        ],
    )
    def test_never_raises(self, thing):
        assert read_receipt(thing) == Receipt(None)
        assert read_usage(thing) is None

    def test_not_even_if_looking_at_it_does(self):
        assert read_receipt(Hostile()) == Receipt(None)
        assert read_usage(Hostile()) is None

    def test_a_mock_with_numbers_is_read(self):
        usage = Mock(prompt_tokens=10, completion_tokens=5)
        assert read_receipt(Mock(usage=usage, model="gpt-4o")) == Receipt(Usage(10, 5), "gpt-4o")

    def test_other_mappings(self):
        from collections import ChainMap

        assert read_receipt(ChainMap(CHAT)).usage == CHAT_USAGE


@pytest.mark.parametrize(
    ("word", "tier"),
    [
        ("flex", "flex"),
        ("BATCH", "batch"),
        ("auto", None),
        ("default", None),
        ("standard_only", None),
        (3, None),
    ],
)
def test_tier_of(word, tier):
    assert tier_of(word) == tier
