"""What an API says is left, in the many ways that they say it."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from budget_core.errors import QuotaExceeded
from budget_core.quota import Api, RateLimitState, Watch
from budget_core.quota.board import posted
from budget_core.quota.rate_limits import RateLimits, read, retry_after, when

NOW = 1_795_648_000.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("12", NOW + 12),
        ("1.5", NOW + 1.5),
        ("6m0s", NOW + 360),
        ("20ms", NOW + 0.02),
        ("1d2h3m4.5s", NOW + 93784.5),
        (" 0 ", NOW),
        ("1795648060", 1_795_648_060.0),
        ("1795648060123", 1_795_648_060.123),
        ("2026-05-07T12:01:00Z", 1_778_155_260.0),
        ("2026-05-07T12:01:00", 1_778_155_260.0),
        ("Thu, 07 May 2026 12:01:00 GMT", 1_778_155_260.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1" * 400, None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("999999999", None),  # in thirty years
        ("20260507", None),
        ("99999999999", None),
        ("9999-12-31T23:59:59Z", None),
        ("99999999999999d", None),
        ("1h" * 30_000, None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", None),
    ],
)
def test_a_time_is_read_in_every_way_that_is_in_use(value, expected):
    assert when(value, NOW) == expected


@pytest.mark.parametrize(
    ("headers", "rooms"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "43",
                "x-ratelimit-reset-requests": "17s",
                "x-ratelimit-remaining-tokens": "149984",
            },
            {
                "requests": RateLimitState(60, 43, NOW + 17),
                "tokens": RateLimitState(remaining=149984),
            },
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-limit": "50000",
                "anthropic-ratelimit-input-tokens-remaining": "49000",
                "anthropic-ratelimit-requests-reset": "2026-05-07T12:01:00Z",
            },
            {
                "input-tokens": RateLimitState(50000, 49000),
                "requests": RateLimitState(resets_at=1_778_155_260.0),
            },
        ),
        (
            {
                "x-ratelimit-limit": "5000",
                "x-ratelimit-remaining": "4999",
                "x-ratelimit-reset": "1795648060",
            },
            {"requests": RateLimitState(5000, 4999, 1_795_648_060.0)},
        ),
        (
            {"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "7"},
            {"requests": RateLimitState(100, 7)},
        ),
        (
            {"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=100;w=60'},
            {"requests": RateLimitState(100, 50, NOW + 30)},
        ),
        (
            {"ratelimit": '"burst";r=0;t=5, "day";r=7', "ratelimit-policy": '"day";q=9;pk=:x:'},
            {
                "requests:burst": RateLimitState(None, 0, NOW + 5),
                "requests:day": RateLimitState(9, 7),
            },
        ),
        (
            {"ratelimit": "limit=100, remaining=50, reset=5"},
            {"requests": RateLimitState(100, 50, NOW + 5)},
        ),
        ({"ratelimit": '"a";r=-1, "b";r=1e9;t=1, ;;;, "c', "ratelimit-policy": "q=1"}, {}),
        ({"ratelimit": '"a";r=1;t=99999999'}, {"requests:a": RateLimitState(None, 1)}),
        ({"x-ratelimit-remaining-requests": "many", "content-type": "7"}, {}),
    ],
)
def test_headers_of_several_apis(headers, rooms):
    assert read(headers, NOW) == rooms


def test_retry_after():
    assert retry_after({"retry-after": "7"}, NOW) == 7
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}, NOW) == 0.25
    assert retry_after({"retry-after": "Thu, 07 May 2026 12:01:00 GMT"}, NOW) == 0
    assert retry_after({}, NOW) == 0
    assert retry_after({"retry-after": "31536000"}, NOW) == 0
    assert retry_after({"retry-after-ms": "9" * 15}, NOW) == 31 * 86_400


def test_a_clock_that_is_set_back_blocks_nobody():
    limits = RateLimits()
    limits.learn(
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "60", "retry-after": "60"},
        NOW,
        refused=True,
    )
    assert limits.take(NOW) == 60
    assert limits.take(NOW - 3_600) == 0


def test_what_is_under_way_is_taken_off_what_the_api_said():
    limits = RateLimits()
    assert [limits.take(NOW) for _ in range(3)] == [0, 0, 0]
    limits.learn({"x-ratelimit-remaining": "5", "x-ratelimit-reset": "60"}, NOW, refused=False)
    limits.landed()
    assert limits.states(NOW)["requests"].remaining == 3
    assert [limits.take(NOW) for _ in range(4)] == [0, 0, 0, 60]
    assert limits.take(NOW + 60) == 0


def test_a_limit_that_has_reset_is_whole_again():
    limits = RateLimits()
    told = {"x-ratelimit-limit": "9", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60"}
    limits.learn(told, NOW, refused=False)
    assert limits.states(NOW + 59)["requests"].remaining == 0
    assert limits.states(NOW + 60)["requests"].remaining == 9


def left(n, reset="60"):
    return {"x-ratelimit-remaining-requests": str(n), "x-ratelimit-reset-requests": reset}


class TestInUse:
    @pytest.fixture
    def http(self):
        with httpx.Client() as client:
            yield client

    def test_what_the_api_says_is_left_is_all_that_threads_get(self, api, http):
        def get(_):
            try:
                return http.get(api.url).status_code
            except QuotaExceeded:
                return None

        api.headers = left(3)
        with Watch(Api("Items", api.url)), ThreadPoolExecutor(32) as pool:
            http.get(api.url)
            api.headers = {}
            statuses = list(pool.map(get, range(64)))
        assert statuses.count(200) == 3
        assert api.requests == 4

    @pytest.mark.parametrize("status", [403, 429, 503])
    def test_a_429_is_heeded_by_everybody(self, api, http, status):
        api.status, api.headers = status, {"retry-after": "60"}
        with Watch(Api("Items", api.url)):
            http.get(api.url)
            with pytest.raises(QuotaExceeded, match="the API says that nothing is left") as raised:
                http.get(api.url)
        assert 50 < raised.value.retry_after <= 60
        assert api.requests == 1

    def test_it_is_waited_for(self, api, http):
        api.headers = left(0, "50ms")
        with Watch(Api("Items", api.url), on_limit="wait") as watch:
            assert [http.get(api.url).status_code for _ in range(2)] == [200, 200]
        assert watch.report()[0]["waited"] == 1

    def test_it_can_be_disregarded_and_is_still_shown(self, api, http):
        api.headers = left(0)
        with Watch(Api("Items", api.url), learn=False) as watch:
            assert [http.get(api.url).status_code for _ in range(2)] == [200, 200]
        assert watch.report()[0]["headroom"]["requests"]["remaining"] == 0

    def test_it_is_put_up_for_others_on_this_machine(self, api, http, state):
        api.headers = left(43)
        with Watch(Api("Items / 1", api.url), environment="test"):
            for _ in range(3):
                http.get(api.url)
        (report,) = posted()
        assert (report["api"], report["environment"]) == ("Items / 1", "test")
        assert report["headroom"]["requests"]["remaining"] == 43
        assert time.time() - 60 < report["at"] <= time.time()
        (file,) = (state / "budget-suite" / "quota").iterdir()
        assert file.name == "Items%20%2F%201.json"
        file.write_text("half a")
        (file.parent / "other.json").write_text(json.dumps([1]))
        assert list(posted()) == []

    def test_a_disk_that_cannot_be_written_harms_nobody(self, api, http, state):
        (state / "budget-suite").write_text("a file, no folder")
        api.headers = left(43)
        with Watch(Api("Items", api.url)):
            assert http.get(api.url).status_code == 200
        assert list(posted()) == []
