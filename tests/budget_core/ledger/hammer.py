"""A process that reserves and commits as fast as it can: ``hammer.py URL LEAF SECONDS SEED SAY``.

It prints "ready", waits for a line on stdin, and then, if SAY is "each", prints each commit that
was acknowledged ("ID COST") until its time is over; then "done OPERATIONS SPENT".
"""

import os
import random
import sys
import time

from budget_core.ledger import Hold, ledger_from, new_id
from budget_core.money.amounts import Amounts


def main(url, leaf, seconds, seed, say):
    ledger, chance = ledger_from(url), random.Random(seed)
    ledger.balance(leaf)
    print("ready", flush=True)
    sys.stdin.readline()
    until, operations, spent = time.monotonic() + float(seconds), 0, 0
    while time.monotonic() < until:
        operations += 1
        hold = ledger.reserve(new_id(), (leaf,), Amounts(10, 10, 1))
        if not isinstance(hold, Hold):
            continue
        operations += 1
        cost = chance.randrange(12)
        if cost == 11:
            ledger.release(hold.id)
            continue
        ledger.commit(hold.id, Amounts(cost, cost, 1), (leaf,))
        spent += cost
        if say == "each":
            os.write(1, f"{hold.id} {cost}\n".encode())
    print(f"done {operations} {spent}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
