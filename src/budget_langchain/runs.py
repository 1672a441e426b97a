"""Which call belongs to which of LangChain's runs."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any

from budget_core.calls.outcomes import handled
from budget_core.frameworks import failed
from budget_core.runtime.weak import WeakValues
from budget_langchain.models import sdk_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from budget_core import Call


class Run:
    """A model's or tool's run, and the call that pays for it.

    Attributes:
        owner: the handler that opened the call; it alone meters the stream.
        batch: what the runs of one `generate` have in common, None for a run of its own.
        before: the error that was being handled when it began (see `outcomes.handled`).
        number: in the order of opening.
        paid: another run's call paid for this one as well.
        source: the kind of event by which its stream is metered.
        chat: each run of the batch is a request of its own, made one after the other.
        agents: an agent or a graph goes on with the answer.
        formed: the answer is to have a form, so that a part of it is none.
    """

    __slots__ = (
        "__weakref__", "agents", "batch", "before", "call", "chat", "formed", "number", "owner",
        "paid", "source",
    )  # fmt: skip

    def __init__(self, call: Call, owner: object, batch: object = None, *, chat: bool) -> None:
        self.call = call
        self.owner = owner
        self.batch = batch
        self.chat = chat
        self.before = handled()
        self.paid = self.agents = self.formed = False
        self.source: str | None = None
        self.number = next(_numbers)

    @property
    def open(self) -> bool:
        return not self.call.ended and not self.call.claimed

    def heard(self, source: str) -> bool:
        """Return whether this kind of event is to be metered: the first that shows text.

        Some streams show the same text twice, as tokens and as protocol events.
        """
        self.source = self.source or source
        return self.source == source

    def fail(self, error: BaseException) -> None:
        """End the call with an error of the model's (see `frameworks.failed`)."""
        sdk = None
        try:
            sdk = sdk_behind(error)
        finally:
            failed(self.call, error, self.before, sdk=sdk)

    def end(self, *, unbilled: bool) -> None:
        if unbilled:
            self.call.abort()
        else:
            self.call.finish()


class Offer:
    """A call that was opened before its model run, for that run to take."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.context: Any = None
        self._taken = False
        self._lock = Lock()

    @property
    def taken(self) -> bool:
        return self._taken

    def take(self) -> bool:
        """Take the call; True for the first who asks while it is open."""
        with self._lock:
            if self._taken or self.call.ended or self.call.claimed:
                return False
            self._taken = True
            return True


_numbers = count()
_runs: WeakValues[UUID, Run] = WeakValues()
_offer: ContextVar[Offer | None] = ContextVar("budget_offer", default=None)


def known(run_id: UUID) -> Run | None:
    """Return the run if another handler has opened a call for it: one request is charged once."""
    return _runs.get(run_id)


def remember(run_id: UUID, run: Run) -> None:
    _runs[run_id] = run


@contextmanager
def offering(offer: Offer | None) -> Iterator[None]:
    before = _offer.get()
    _offer.set(offer)
    try:
        yield
    finally:
        _offer.set(before)


def taken_offer() -> Offer | None:
    offer = _offer.get()
    return offer if offer is not None and offer.take() else None
