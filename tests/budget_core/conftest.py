import threading

import pytest

from budget_core import MemoryLedger, pricing, register_model, registered, scope


@pytest.fixture(autouse=True)
def _each_in_a_context_of_its_own():
    """A call that a test leaves open encloses nothing of the next one."""
    yield
    for variable in (scope._calls, scope._sessions, scope._guarded, scope._finalizing):
        variable.set(())


@pytest.fixture
def penny():
    """A model whose input is free and whose thousand tokens of output cost a cent."""
    register_model("penny", 0, 10, max_output_tokens=16_384)
    yield "penny"
    registered.clear()
    pricing.forget()


class WatchedLedger(MemoryLedger):
    """Tells who waits: `waiting` is released once for each call that begins to."""

    def __init__(self):
        super().__init__()
        self.waiting = threading.Semaphore(0)
        self.began, self.ended = 0, 0

    def watch(self, callback):
        end = super().watch(callback)
        self.began += 1
        self.waiting.release()

        def counted():
            self.ended += 1
            end()

        return counted


class BlockingLedger(WatchedLedger):
    """A ledger that is asked in threads, and whose answer to a reserve can be held up."""

    blocks = True

    def __init__(self):
        super().__init__()
        self.entered, self.answer, self.released = (threading.Event() for _ in range(3))
        self.answer.set()

    def reserve(self, *args, **options):
        held = super().reserve(*args, **options)
        self.entered.set()
        assert self.answer.wait(30)
        return held

    def release(self, hold_id):
        entry = super().release(hold_id)
        self.released.set()
        return entry


@pytest.fixture
def watched():
    return WatchedLedger()


@pytest.fixture
def blocking():
    return BlockingLedger()
