"""A busy run of agents that signals interrupt, again and again: prints how many arrived.

Run: ``python interrupted.py TIMES SIGNAL``, where SIGNAL is INT, ALRM, or USR1 for a handler that
raises an `Exception`, as Celery's soft time limit does.
"""

import gc
import itertools
import logging
import os
import random
import signal
import sys
import threading

from budget_core import AgentBudget, CallRequest, Usage, listen

SECONDS = 0.03


class TooLong(Exception):
    """What a time limit raises."""


class Signals:
    """Sends one signal at a time, at a random moment, and says whether its handler has raised."""

    def __init__(self, name):
        self.number = getattr(signal, f"SIG{name}")
        self.expected = KeyboardInterrupt if name == "INT" else TooLong
        self.raised = False
        signal.signal(self.number, self._raise)

    def _raise(self, _number, _frame):
        self.raised = True
        raise self.expected

    def arm(self):
        self.raised = False
        after = random.uniform(0, SECONDS)
        if self.number == signal.SIGALRM:
            signal.setitimer(signal.ITIMER_REAL, after + 1e-6)
        else:
            timer = threading.Timer(after, os.kill, (os.getpid(), self.number))
            timer.daemon = True
            timer.start()


class Stream:
    """A response in pieces that knows itself: it is collected, not dropped."""

    def __init__(self):
        self.itself = self
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        self.pieces = iter([{"model": "gpt-4o", "usage": usage}] * 3)

    def __next__(self):
        return next(self.pieces)


def agent(budget, signals):
    """Spend in every way that leaves garbage."""
    session = budget.session()
    session.itself = session
    child = session.child_session("$1", max_repeated_calls=None)

    @child.track_tool(cost=0.001)
    def search(query):
        yield query

    for number in range(20):
        with session.open_call(CallRequest(kind="tool", name="tool", fingerprint=number)):
            pass
        with child.open_call(CallRequest(model="gpt-4o", input_tokens=10)) as call:
            call.settle(Usage(10, output=10))
        dropped = session.wrap(Stream())
        next(dropped)
        dropped.itself = dropped
        next(search(str(number)))
        if signals.raised:
            return
    session.report()


def run(signals, listener):
    """Work until a signal comes; return if what its handler raised did not arrive."""
    signals.arm()
    while not signals.raised:
        agent(AgentBudget("$100", listeners=[listener]), signals)
        gc.collect()


def main(times, name):
    signals, numbers, arrived = Signals(name), itertools.count(), 0
    logging.disable()  # handlers of logging keep what a signal raises in them
    listen(lambda event: sum(range(100)))
    ballast = [{number: [number]} for number in range(60_000)]  # collections take a while
    gc.set_threshold(300, 3, 3)
    agent(AgentBudget("$100"), signals)  # what is imported at a first call is not ours
    for _ in range(times):
        try:
            run(signals, lambda event: next(numbers))
        except signals.expected:
            arrived += 1
    sys.stdout.write(f"{arrived} of {times}\n")
    del ballast


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
