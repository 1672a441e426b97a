import subprocess
import sys

import pytest

from budget_core import hooks
from budget_core.errors import InvalidBudget
from budget_core.ledger import MemoryLedger, ledger_from


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
