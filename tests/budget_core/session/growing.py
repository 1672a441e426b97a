"""Prints how many bytes more are in use after many sessions than after few: python growing.py WAY."""

import gc
import sys
import tracemalloc

from budget_core import AgentBudget, MemoryLedger

FEW, MANY, CROWD = 150, 1_500, 300


def in_use():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def work(child):
    child.track(cost=0.000001, tool_name="search")


def one_after_another(parent, number):
    for _ in range(number):
        with parent.child_session("$1") as child:
            work(child)


def left_to_be_collected(parent, number):
    for _ in range(number):
        work(parent.child_session("$1"))


def at_once(parent, number):
    for _ in range(number // FEW):
        children = [parent.child_session("$1") for _ in range(CROWD)]
        for child in children:
            work(child)
        assert len(parent.children()) >= CROWD
        for child in children:
            child.close()
        del children[:], child
        assert len(parent.report()["children"]) == 100


def main(way):
    parent = AgentBudget("$1000", ledger=MemoryLedger(keep_entries=100)).session()
    way(parent, FEW)
    tracemalloc.start()
    way(parent, FEW)
    few = in_use()
    way(parent, MANY)
    sys.stdout.write(f"{in_use() - few}\n")
    done = parent.report()["other_children"]["count"] + 100
    assert done == (2 * FEW + MANY if way is not at_once else (2 + MANY // FEW) * CROWD)
    assert len(parent.ledger.accounts()) == 1 + len(parent.children())
    assert parent.spent_nanos == done * 1_000
    assert parent.in_flight == 0


main(globals()[sys.argv[1]])
