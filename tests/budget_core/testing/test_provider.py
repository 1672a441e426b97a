import logging
import re
import socket
import subprocess
import sys
import threading

import httpx
import pytest

import budget_core.testing
from budget_core.testing import Bill, Gate, Provider, Reply, ToolCall

HELLO = [{"role": "user", "content": "Hello there"}]


def post(provider, **options):
    body = {"model": "gpt-4o", "messages": HELLO, **options}
    return httpx.post(f"{provider.openai_url}/chat/completions", json=body, trust_env=False)


def test_urls(provider):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", provider.url)
    assert provider.anthropic_url == provider.google_url == provider.url
    assert provider.openai_url == f"{provider.url}/v1"


def test_nothing_is_left_behind():
    before = set(threading.enumerate())
    with Provider() as provider:
        port = int(provider.url.rsplit(":", 1)[1])
        client = httpx.Client(trust_env=False)
        client.post(f"{provider.openai_url}/chat/completions", json={})
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    client.close()


def test_it_needs_to_run():
    with pytest.raises(RuntimeError, match="not running"):
        _ = Provider().url


def test_it_runs_once_at_a_time_and_again_later():
    provider = Provider()
    assert provider.start() is provider
    with pytest.raises(RuntimeError, match="already"):
        provider.start()
    post(provider)
    provider.stop()
    provider.stop()
    assert provider.requests == 1
    with provider:
        post(provider)
    assert provider.requests == 2


def test_a_port_may_be_given(provider):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            Provider(port=port).start()
    with Provider(port=port) as other:
        assert other.url.endswith(f":{port}")


def test_stop_breaks_off_what_is_in_flight():
    failures = []

    def ask(url):
        try:
            httpx.post(
                url, json={"model": "gpt-4o", "messages": HELLO}, trust_env=False, timeout=30
            )
        except httpx.TransportError as error:
            failures.append(error)

    with Provider(default=Reply("Hi", delay=60)) as provider:
        thread = threading.Thread(target=ask, args=[f"{provider.openai_url}/chat/completions"])
        thread.start()
        provider.wait_for_requests(1)
    thread.join()
    assert provider.in_flight == 0
    assert provider.bills[0].aborted


def test_a_server_that_cannot_start_says_why(monkeypatch):
    def broken(self):
        raise OSError("no loop today")

    monkeypatch.setattr("uvicorn.Config.load", broken)
    before = set(threading.enumerate())
    with pytest.raises(RuntimeError, match="did not start") as caught:
        Provider().start()
    assert isinstance(caught.value.__cause__, OSError)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.is_alive()]


def test_a_blocked_server_is_reported(monkeypatch):
    monkeypatch.setattr("budget_core.testing.runner.STOP_TIMEOUT", 0.05)
    blocked, release = threading.Event(), threading.Event()

    def block(incoming):
        blocked.set()
        release.wait(10)

    provider = Provider().respond(block).start()
    runner = provider._runner
    thread = threading.Thread(target=_swallow, args=[provider])
    thread.start()
    assert blocked.wait(10)
    with pytest.raises(RuntimeError, match="hangs"):
        provider.stop()
    release.set()
    thread.join()
    runner._thread.join()


def _swallow(provider):
    try:
        post(provider)
    except httpx.TransportError:
        return


def test_missing_dependencies_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "budget_core.testing.runner", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'budget-suite[testing]'")):
        Provider().start()


def test_importing_it_loads_no_server():
    code = (
        "import sys, budget_core.testing; "
        "sys.exit(bool({'starlette', 'uvicorn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)  # noqa: S603
    assert done.returncode == 0


def test_uvicorn_of_others_keeps_its_loggers(caplog):
    logger = logging.getLogger("uvicorn.access")
    before = (logger.handlers[:], logger.propagate, logging.getLogger("uvicorn.error").level)
    dropping = Provider(default=Reply("Hi", drop_after=0))
    with dropping as provider, pytest.raises(httpx.RemoteProtocolError):
        post(provider)
    after = (logger.handlers[:], logger.propagate, logging.getLogger("uvicorn.error").level)
    assert before == after
    assert not [r for r in caplog.records if r.name.startswith(("uvicorn", "budget_core"))]


def test_a_failing_responder_is_told_to_client_and_test():
    def fail(incoming):
        raise AssertionError("no tools expected")

    with pytest.raises(AssertionError, match="no tools"), Provider() as provider:  # noqa: PT012
        provider.respond(fail)
        answer = post(provider)
        assert answer.status_code == 500
        assert "no tools expected" in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert provider.bill_nanos == 0


def test_a_failing_test_inside_the_responder_is_told_too():
    with pytest.raises(pytest.fail.Exception, match="not that"), Provider() as provider:  # noqa: PT012
        provider.respond(lambda incoming: pytest.fail("not that"))
        assert post(provider).status_code == 500


def test_the_error_of_the_test_itself_wins():
    with pytest.raises(KeyError), Provider() as provider:  # noqa: PT012
        provider.errors.append(ValueError("later"))
        raise KeyError


def test_reset(provider):
    provider.respond(lambda incoming: Reply("old")).script(Reply("old"), Reply("old"))
    provider.price("mine", input=1, output=1)
    post(provider)
    provider.errors.append(ValueError("old"))
    provider.reset()
    assert (provider.requests, provider.bill_nanos, provider.bills) == (0, 0, [])
    assert (provider.peak_in_flight, provider.errors) == (0, [])
    answer = post(provider, model="mine").json()
    assert answer["choices"][0]["message"]["content"] == "Hello from the test provider."


def test_reset_forgets_what_is_in_flight(provider):
    gate = Gate(2)
    provider.default = Reply("Hi", gate=gate)
    thread = threading.Thread(target=post, args=[provider])
    thread.start()
    provider.wait_for_requests(1)
    provider.reset()
    assert (provider.requests, provider.in_flight, provider.peak_in_flight) == (0, 1, 1)
    gate.open()
    thread.join()
    provider.wait_idle()
    assert provider.bills == []


def test_waiting_has_an_end(provider):
    with pytest.raises(TimeoutError, match="2 requests: 0 requests arrived"):
        provider.wait_for_requests(2, timeout=0.01)
    provider.wait_idle(timeout=0.01)


def test_a_request_that_never_arrives_whole_does_not_count(provider):
    port = int(provider.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    post(provider)
    assert provider.requests == 1


def test_bills_add_up_exactly(client, provider):
    provider.default = Reply("abcdefghi", cached_tokens=3)
    for model in ("gpt-5", "gpt-5-nano", "o4-mini"):
        client.chat.completions.create(model=model, messages=HELLO, service_tier="flex")
    assert provider.bill_nanos == sum(bill.nanos for bill in provider.bills)
    assert [bill.index for bill in provider.bills] == [0, 1, 2]


@pytest.mark.parametrize("streamed", [False, True])
def test_the_bill_is_written_before_the_client_has_its_answer(client, provider, streamed):
    for number in range(1, 51):
        answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, stream=streamed)
        list(answer)
        assert provider.bill_nanos == number * (7 * 2500 + 8 * 10000)
        assert provider.in_flight == 0
    assert provider.peak_in_flight == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_tokens": 5, "cached_tokens": 6},
        {"input_tokens": 5, "cached_tokens": 3, "cache_write_tokens": 3},
        {"output_tokens": 5, "reasoning_tokens": 6},
        {"output_tokens": -1},
        {"delay": -0.1},
    ],
)
def test_impossible_replies_are_refused_when_they_are_written(wrong):
    with pytest.raises(ValueError):
        Reply(**wrong)


def test_replies_are_values():
    assert Reply(tool_calls=[ToolCall("a")]) == Reply(tool_calls=(ToolCall("a"),))
    assert ToolCall("a", {"é": 1}).json == '{"é": 1}'
    assert Bill(0, "/").cost == 0


def test_all_is_sorted_and_complete():
    names = budget_core.testing.__all__
    assert names == sorted(names)
    assert all(hasattr(budget_core.testing, name) for name in names)
