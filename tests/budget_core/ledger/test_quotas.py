"""Quotas of APIs in every ledger: exact, whoever asks, from however many processes."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from budget_core.errors import QuotaExceeded
from budget_core.ledger import ledger_from
from budget_core.quota import Api, Watch
from budget_core.runtime.waiting import run

ITEMS = "https://api.example.com"
LIMITS = ["40 requests/day", "60 requests/hour", "1000 tokens/day"]

ASK = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from budget_core.errors import QuotaExceeded
from budget_core.quota import Api, Watch
from budget_core.runtime.waiting import run

url, limits = json.loads(sys.argv[1])
watch = Watch(Api("Items", "https://api.example.com", limits), ledger=url)
limiter = watch._watched[0].limiter

def ask(_):
    try:
        limiter.settle(run(limiter.steps(10, 0)), 9)
    except QuotaExceeded:
        return 0
    return 1

print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(ask, range(30))))
"""


def test_32_threads(ledger):
    watch = Watch(Api("Items", ITEMS, LIMITS), ledger=ledger)
    limiter = watch._watched[0].limiter

    def ask(_):
        try:
            permit = run(limiter.steps(10, 0))
        except QuotaExceeded:
            return 0
        limiter.settle(permit, 9)
        return 1

    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(ask, range(100))) == 40
    used = {limit["limit"]: limit["used"] for limit in watch.report()[0]["limits"]}
    assert used == {"40 requests/day": 40, "60 requests/hour": 40, "1,000 tokens/day": 360}
    assert ledger.verify() == []


def _four_processes(url):
    argument = json.dumps([url, LIMITS])
    processes = [
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", ASK, argument],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    return [int(process.communicate(timeout=60)[0]) for process in processes]


def test_4_processes_share_a_file(tmp_path):
    url = f"sqlite:///{tmp_path}/quota.db"
    assert sum(_four_processes(url)) == 40
    ledger = ledger_from(url)
    assert ledger.balance("quota:Items").windows[0].spent == 40
    assert ledger.verify() == []
    ledger.close_connection()


def test_4_processes_share_a_server(redis_server):
    url = f"{redis_server.url}?namespace=quota"
    assert sum(_four_processes(url)) == 40
    ledger = ledger_from(url)
    assert ledger.balance("quota:Items").windows[0].spent == 40
    assert ledger.verify() == []
    ledger.close_connection()
