"""Every event of every session, posted in batches to a collector."""

from __future__ import annotations

from budget_core.events.sender import Sender
from budget_core.events.types import Event


class Ingest(Sender):
    """Posts ``{"events": [...]}``, each as reports give it, every five seconds; use as a listener.

    Of 500 that wait, the oldest makes room for the next. What the texts of prompts and answers say
    is in no event.
    """

    def __call__(self, event: Event) -> None:
        self.put(event.as_dict())
