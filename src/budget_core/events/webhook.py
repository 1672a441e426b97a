"""Webhooks: limits that are met, loops and warnings, posted with the session's report.

Bodies are those of agentbudget, and a little more; headers are those of the `Standard Webhooks
<https://www.standardwebhooks.com>`_ specification, which has libraries to verify signatures.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from functools import partial
from operator import itemgetter
from threading import Lock
from time import time
from typing import Any, Final
from uuid import uuid4
from weakref import WeakValueDictionary

from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.events.sender import Sender
from budget_core.events.types import Event, SessionView
from budget_core.runtime.forks import in_child

_SECRET: Final = "whsec_"  # noqa: S105  what a secret in base64 begins with
_known: WeakValueDictionary[tuple[str, str | None], Webhook] = WeakValueDictionary()
_making = Lock()

KINDS: Final = frozenset({"warning", "soft_limit", "hard_limit", "loop_detected"})
"""What is posted."""


class Webhook(Sender):
    """Posts limits, warnings and loops; use it as a listener.

    The body has `event_type`, `session_id`, `timestamp`, `details` of the event, and the report
    as `data`. The header ``webhook-id`` is the same in every attempt at one event.

    Args:
        url: where to; it may contain a secret, which is never logged.
        secret: signs the bodies by HMAC-SHA256; ``whsec_`` and base64, or any other text.
        pause: seconds before the second of five attempts.

    Raises:
        InvalidBudget: the URL or the secret cannot be read.
    """

    def __init__(self, url: str, *, secret: str | None = None, pause: float = 1.0) -> None:
        headers = partial(_headers, None if secret is None else _key(secret))
        super().__init__(
            url, headers=headers, batch=1, interval=0, buffer=100, pause=pause, shape=itemgetter(0)
        )

    def __call__(self, event: Event) -> None:
        if event.kind in KINDS and event.session is not None:
            self.put(
                {
                    "event_type": event.kind,
                    "session_id": event.session_id,
                    "timestamp": event.at,
                    "details": event.data,
                    "data": _report(event.session),
                }
            )


def webhook(url: str, secret: str | None = None) -> Webhook:
    """Return the one webhook of this process for a URL, so that it has one thread."""
    with _making:
        found = _known.get((url, secret))
        if found is None:
            found = _known[url, secret] = Webhook(url, secret=secret)
        return found


def _fresh() -> None:
    global _making  # noqa: PLW0603  another thread may have held it when this process was forked
    _making = Lock()


in_child(_fresh)


def _report(session: SessionView) -> dict[str, Any]:
    """Return the report, or nothing while the ledger is away: the event is told all the same."""
    try:
        return session.report()
    except LedgerUnavailable:
        return {}


def _headers(key: bytes | None, body: bytes) -> dict[str, str]:
    message, at = f"msg_{uuid4().hex}", str(int(time()))
    headers = {"webhook-id": message, "webhook-timestamp": at}
    if key is not None:
        signed = hmac.digest(key, f"{message}.{at}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{b64encode(signed).decode()}"
    return headers


def _key(secret: str) -> bytes:
    key = secret.encode()
    if secret.startswith(_SECRET):
        text = secret.removeprefix(_SECRET)
        try:
            key = b64decode(text + "=" * (-len(text) % 4), validate=True)
        except Base64Error:
            raise InvalidBudget("webhook_secret= is no base64 behind its 'whsec_'.") from None
    if not key:
        raise InvalidBudget("webhook_secret= is empty; None leaves webhooks unsigned.")
    return key
