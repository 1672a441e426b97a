"""What is seen of an API's use, by whatever client, and what is not."""

import socket
import subprocess
import sys

import httpx
import pytest
import requests

from budget_core.errors import GuardError, InvalidBudget
from budget_core.quota import Api, ApiCall, Watch

KEY = "sk-very-secret"
RATES = {"x-ratelimit-remaining-requests": "43", "x-ratelimit-reset-requests": "12s"}


@pytest.fixture
def seen():
    return []


@pytest.fixture
def watch(api, seen):
    with Watch(Api("Items", api.url), environment="test", on_call=seen.append) as watching:
        yield watching


def test_every_client_is_seen(api, watch, seen, post):
    api.headers = RATES
    headers = {"authorization": f"Bearer {KEY}"}
    assert post(f"{api.url}/v1/items?key={KEY}", json={"text": KEY}, headers=headers) == 200
    (call,) = seen
    assert call == ApiCall(
        api="Items",
        endpoint="/v1/items",
        method="POST",
        status=200,
        latency_ms=call.latency_ms,
        at=call.at,
        environment="test",
        hit429=False,
        rate_limit_headers=RATES,
    )
    assert 0 < call.latency_ms < 10_000
    assert KEY not in repr(call)
    assert "hidden" not in repr(call)


def test_a_path_is_told_without_what_is_personal_or_secret(api, seen, watch, post):
    assert post(f"{api.url}/v1/users/ann%40example.com/keys/{'ghp_' + 'a1B2' * 9}/use") == 200
    assert [call.endpoint for call in seen] == ["/v1/users/*/keys/*/use"]


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999/", "http://h:port/"])
def test_a_url_that_cannot_be_read_is_its_client_s_to_refuse(watch, post, url):
    with pytest.raises(Exception, match=r".") as watched:
        post(url)
    watch.stop()
    with pytest.raises(Exception, match=r".") as alone:
        post(url)
    assert (type(watched.value), str(watched.value)) == (type(alone.value), str(alone.value))


def test_a_base_url_s_secrets_are_not_kept(api):
    watched = Api("Items", f"{api.url.replace('//', '//user:secret@')}/v1?key=secret#secret")
    assert watched == Api("Items", f"{api.url}/v1")
    assert Api("Books", "https://b\u00fccher.example").base_url == "https://xn--bcher-kva.example"


def test_a_refusal_by_the_api_is_told_apart(api, watch, seen, post):
    api.status, api.headers = 429, {"Retry-After": "7"}
    assert post(f"{api.url}/v1/items") == 429
    assert (seen[0].status, seen[0].hit429) == (429, True)
    assert seen[0].rate_limit_headers == {"retry-after": "7"}
    (report,) = watch.report()
    assert (report["requests"], report["errors"], report["hit429"]) == (1, 1, 1)


def test_a_request_without_an_answer_is_one_of_status_0(seen, post):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with (
            Watch(Api("Nobody", url, ["5 requests/day"]), on_call=seen.append) as watch,
            pytest.raises(Exception, match=r".") as raised,
        ):
            post(f"{url}/v1")
    assert "budget_core" not in type(raised.value).__module__
    assert [call.status for call in seen] == [0]
    assert watch.report()[0]["errors"] == 1


def test_other_apis_are_none_of_its_business(api, seen, post):
    port = int(api.url.rpartition(":")[2])
    others = [
        f"http://127.0.0.1:{port - 1}",
        f"http://127.0.0.1.example.com:{port}",
        f"https://127.0.0.1:{port}",
        f"{api.url}/v1/it",
    ]
    with Watch(*(Api(url, url) for url in others), on_call=seen.append):
        assert post(f"{api.url}/v1/items") == 200
    assert seen == []


def test_of_two_that_claim_a_url_the_longer_has_it(api, seen):
    apis = [Api("all", api.url), Api("items", f"{api.url}/v1/items/"), Api("v1", f"{api.url}/v1")]
    with Watch(*apis, on_call=seen.append):
        for path in ("/v1/items/7", "/v1/items", "/v1/itemsmore", "/v2"):
            httpx.get(api.url + path)
    assert [call.api for call in seen] == ["items", "items", "v1", "all"]


@pytest.mark.parametrize("get", [requests.get, lambda url: httpx.get(url, follow_redirects=True)])
def test_a_redirect_is_two_requests(api, watch, seen, get):
    assert get(f"{api.url}/moved").status_code == 200
    assert [(call.endpoint, call.status) for call in seen] == [("/moved", 307), ("/v1/items", 200)]
    assert api.paths == ["/moved", "/v1/items"]


def test_a_client_that_sends_by_another_is_seen_once(api, watch, seen):
    def by_requests(request):
        return httpx.Response(requests.get(str(request.url), timeout=10).status_code)

    with httpx.Client(transport=httpx.MockTransport(by_requests)) as client:
        assert client.get(f"{api.url}/v1/items").status_code == 200
    assert len(seen) == 1


def test_several_watches_see_the_same_request(api, watch, seen):
    others = []
    with Watch(Api("again", api.url), on_call=others.append):
        httpx.get(f"{api.url}/v1/items")
    httpx.get(f"{api.url}/v1/items")
    assert [call.api for call in seen] == ["Items", "Items"]
    assert [call.api for call in others] == ["again"]


def test_a_callback_that_raises_harms_nobody(api, caplog):
    with Watch(Api("Items", api.url), on_call=lambda call: 1 / 0):
        assert httpx.get(f"{api.url}/v1/items").status_code == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_client_made_before_is_seen_and_after_the_end_nothing_is(api, seen):
    before = requests.adapters.HTTPAdapter.send, httpx.Client._send_single_request
    with httpx.Client() as client:
        with Watch(Api("Items", api.url), on_call=seen.append):
            client.get(f"{api.url}/v1/items")
        client.get(f"{api.url}/v1/items")
    assert len(seen) == 1
    assert before == (requests.adapters.HTTPAdapter.send, httpx.Client._send_single_request)


def test_a_watch_that_cannot_begin_leaves_nothing_behind(api, seen, monkeypatch):
    before = requests.adapters.HTTPAdapter.send
    watch = Watch(Api("Items", api.url), on_call=seen.append)
    with monkeypatch.context() as other:
        other.setattr(httpx.Client, "_send_single_request", lambda self: None)
        with pytest.raises(GuardError, match="cannot be guarded"):
            watch.start()
    assert requests.adapters.HTTPAdapter.send is before
    with Watch(Api("Others", "http://127.0.0.1:1")):
        requests.get(api.url, timeout=10)
    assert seen == []


def test_clients_that_are_imported_later_are_seen(api):
    script = (
        "from budget_core.quota import Api, Watch\n"
        f"with Watch(Api('Items', {api.url!r})) as watch:\n"
        "    import sys\n"
        "    assert not {'requests', 'httpx', 'aiohttp'} & sys.modules.keys()\n"
        "    import requests\n"
        f"    requests.get({api.url!r} + '/v1')\n"
        "    print(watch.report()[0]['requests'])"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_json_record_is_named_as_quotawatch_names_it(api, watch, seen):
    api.headers = RATES
    httpx.post(f"{api.url}/v1/items")
    record = seen[0].as_dict()
    assert record == {
        "api": "Items",
        "endpoint": "/v1/items",
        "method": "POST",
        "status": 200,
        "latencyMs": round(seen[0].latency_ms),
        "timestamp": record["timestamp"],
        "environment": "test",
        "hit429": False,
        "rateLimitHeaders": RATES,
    }


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (["$5/day"], "requests or tokens per second"),
        (["60 requests"], "requests or tokens per second"),
        (["60 requests/fortnight"], "no period that is known"),
        (["5 tool calls/day"], "requests or tokens per second"),
        (["5 requests/day", "6 requests/day"], "Two limits of one unit and period"),
    ],
)
def test_limits_that_are_none(limits, message):
    with pytest.raises(InvalidBudget, match=message):
        Api("Items", "https://example.com", limits)


def test_settings_that_are_none():
    for url in ("example.com", "https://", "https://[", "https://h:99999"):
        with pytest.raises(InvalidBudget, match="names no host"):
            Api("Items", url)
    with pytest.raises(InvalidBudget, match="a name of its own"):
        Watch(Api("a", "https://example.com"), Api("a", "https://example.org"))
    with pytest.raises(InvalidBudget, match="on_limit="):
        Watch(on_limit="perhaps")
