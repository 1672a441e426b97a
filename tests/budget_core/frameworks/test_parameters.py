"""The request of a model's call, as it is read off the call's parameters."""

from budget_core import CallRequest, Prompt
from budget_core.frameworks import message_fingerprint, model_request

MESSAGES = [{"role": "user", "content": "Why is the sea salt?"}]
PROMPT = Prompt(MESSAGES)


def test_it_is_read_off_the_parameters():
    params = {"max_tokens": 50, "n": 3, "service_tier": "flex", "previous_response_id": "resp_1"}
    made = model_request("gpt-4o", PROMPT, params, agent="worker", provider="openai")
    assert made == CallRequest(
        model="gpt-4o",
        provider="openai",
        prompt=PROMPT,
        output_cap=50,
        n=3,
        tier="flex",
        fingerprint=message_fingerprint("gpt-4o", MESSAGES),
        agent="worker",
        unbounded=made.unbounded,
    )
    assert made.unbounded


def test_a_cap_from_elsewhere_counts_where_the_parameters_have_none():
    assert model_request("gpt-4o", PROMPT, {}, cap=70).output_cap == 70
    assert model_request("gpt-4o", PROMPT, {"max_tokens": 50}, cap=70).output_cap == 50


def test_a_cap_that_lies_not_below_the_models_maximum_is_a_default():
    assert model_request("gpt-4o", PROMPT, {"max_tokens": 16_384}).output_cap is None
