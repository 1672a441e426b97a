import re
import subprocess
import sys
import traceback

import pytest

from budget_core import hooks
from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.ledger import MemoryLedger, ledger_from
from budget_core.ledger.ids import shown
from budget_core.ledger.redis import RedisLedger


def test_none_and_memory_are_fresh_ones():
    first, second = ledger_from(None), ledger_from("memory://")
    assert isinstance(first, MemoryLedger)
    assert first is not second


def test_a_ledger_is_itself():
    ledger = MemoryLedger()
    assert ledger_from(ledger) is ledger


def test_a_scheme_that_nobody_knows_is_refused():
    with pytest.raises(InvalidBudget, match="nosuch://there"):
        ledger_from("nosuch://there")


@pytest.mark.parametrize("answer", [MemoryLedger(), "no ledger"], ids=["ledger", "nonsense"])
def test_a_plugin_may_know_it(answer):
    class Plugin:
        @hooks.hookimpl
        def budget_ledger(self, request):
            return answer if request.url == "mine://" else None

    plugin = Plugin()
    hooks.register(plugin)
    try:
        if isinstance(answer, MemoryLedger):
            assert ledger_from("mine://") is answer
        else:
            with pytest.raises(InvalidBudget):
                ledger_from("mine://")
        with pytest.raises(InvalidBudget):
            ledger_from("other://")
    finally:
        hooks.unregister(plugin)


def test_a_forked_process_makes_ids_of_its_own():
    script = """
import os
from budget_core.ledger import new_id
new_id()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, new_id().encode())
    os._exit(0)
os.wait()
print(os.read(read, 99).decode() != new_id())
"""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "True"


SECRET = "hunter2"  # noqa: S105
URLS = [
    f"redis://:{SECRET}?{SECRET}@host/0",
    f"redis://:a?{SECRET}@host:6379/0?ttl=5",
    f"redis://user:a?ttl={SECRET}@host/0",
    f"redis://:a/{SECRET}@host/0",
    f"redis://:a#{SECRET}@host/0",
    f"redis://:1?{SECRET}@host/0",
    f"redis://{SECRET}/a@host/0",
    f"redis://{SECRET}?a@host/0",
    f"redis://:{SECRET}",
    f"redis://:{SECRET}:{SECRET}@host:port/0",
    f"redis://host/0?{SECRET}=1",
    f"redis://host/0?ttl={SECRET}",
    f"redis://host/0?ttl=-1&password={SECRET}",
    f"redis://host/0?on_expiry={SECRET}",
    f"redis://host/0?namespace={{{SECRET}}}",
    f"redis://host/0?keep_entries={SECRET}",
    f"redis://[{SECRET}/0",
    f"rediss://:x{SECRET}\n@@[/0",
    f"sqlite://user:{SECRET}@host/budgets.db",
    f"sqlite://{SECRET}:x@/",
    f"sqlite://[{SECRET}",
    f"sqlite:///\0{SECRET}",
    f"sqlite:///budgets.db?{SECRET}=1",
    f"sqlite:///budgets.db?durability={SECRET}",
    f"sqlite:///budgets.db?timeout={SECRET}",
    f"sqlite:///?{SECRET}@x",
    f"nosuch://:{SECRET}@there/{SECRET}?{SECRET}#{SECRET}",
    f"nosuch://:a?{SECRET}@there",
    f"nosuch:{SECRET}",
    SECRET,
]


@pytest.mark.parametrize("url", URLS)
def test_an_error_tells_no_secret(url, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    for given in (url, None):
        monkeypatch.setenv("BUDGET_LEDGER", url.replace("\0", "\x01"))
        if given is None and "\0" in url:
            continue
        with pytest.raises(InvalidBudget) as refused:
            ledger_from(given)
        shown = "".join(traceback.format_exception(refused.value, chain=True))
        assert SECRET not in shown.replace(f'"{url}"', "")
        assert SECRET not in repr(refused.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url", [f"redis://user:{SECRET}@127.0.0.1:9/0", f"redis://:{SECRET}%40%3F%2F@127.0.0.1:9/0"]
)
def test_a_server_that_is_away_is_told_without_its_password(url):
    ledger = ledger_from(f"{url}?timeout=0.01&namespace=away")
    with pytest.raises(LedgerUnavailable) as refused:
        ledger.balance("a")
    shown = "".join(traceback.format_exception(refused.value, chain=True))
    assert SECRET not in shown + repr(ledger)
    assert "127.0.0.1:9" in repr(ledger)


def test_other_settings_of_a_ledger_in_use_are_not_shown(tmp_path):
    first = ledger_from(f"sqlite:///{tmp_path}/budgets.db?ttl=41")
    with pytest.raises(InvalidBudget, match="with another ttl and on_expiry") as refused:
        ledger_from(f"sqlite:///{tmp_path}/budgets.db?ttl=43&on_expiry=release")
    assert not {"41", "43", "release"} & set(re.findall(r"\w+", str(refused.value)))
    del first


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://host:6379/0?ttl=5", "redis://host:6379"),
        ("rediss://user:pass@host.example/0", "rediss://host.example"),
        ("redis://:p@ss@[::1]:6379/0", "redis://[::1]:6379"),
        ("redis://:p?ss@host/0", "redis://…"),
        ("sqlite:///budgets.db", "sqlite://…"),
        ("budgets.db", "…"),
    ],
)
def test_what_is_shown_of_a_url(url, told):
    assert shown(url) == told


def test_two_databases_of_a_server_are_told_apart():
    """By their names journals are kept, too."""
    names = {
        repr(RedisLedger(f"redis://:{SECRET}@127.0.0.1{rest}")) for rest in ("/0", ":7/0", "/1", "")
    }
    assert len(names) == 3  # "" is database 0
    assert not any(SECRET in name for name in names)
    with pytest.raises(InvalidBudget):
        RedisLedger(f"redis://{SECRET}/a@host/0")
