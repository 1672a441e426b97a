"""What a model client is about to send, as the core understands it."""

from budget_autogen.classic.requests import model_request, without_tools


def turn(number, text="found"):
    call = {"id": f"call_{number}", "function": {"name": "search", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": text},
    ]


def test_what_is_asked_for():
    request = model_request(
        {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "x"}],
            "n": 3,
            "max_tokens": 50,
            "service_tier": "flex",
            "tools": [{"type": "function"}],
            "temperature": 0,
            "web_search_options": {"search_context_size": "low"},
        },
        "writer",
    )
    assert (request.model, request.agent, request.n) == ("gpt-4o", "writer", 3)
    assert (request.output_cap, request.tier) == (50, "flex")
    assert request.prompt.context == {"tools": [{"type": "function"}]}
    assert "web search" in request.unbounded


def test_a_completion_has_a_prompt():
    request = model_request({"model": "gpt-3.5-turbo-instruct", "prompt": "x", "best_of": 4}, "a")
    assert list(request.prompt.messages) == ["x"]
    assert request.n == 4
    assert request.unbounded is None


def test_the_same_turn_again_is_the_same_call():
    start = [{"role": "user", "content": "go"}]
    prints = [
        model_request({"model": "gpt-4o", "messages": start + history}, "a").fingerprint
        for history in (turn(1), turn(1) + turn(2), turn(3, "other"))
    ]
    assert prints[0] == prints[1] != prints[2]


def test_a_last_word_has_no_tools():
    given = {"tools": [1], "functions": [1], "tool_choice": "auto", "parallel_tool_calls": True}
    assert without_tools({"model": "m", **given}) == {"model": "m"}
