"""What a session looks at before a call is sent, and after: risks in prompts, and anomalies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from budget_core.errors import AnomalyDetected, RiskDetected
from budget_core.events import ask
from budget_core.session.screening.anomalies import Anomalies
from budget_core.session.screening.risk import RISKS, analyze_text

if TYPE_CHECKING:
    from budget_core.calls.payer import PaidCall
    from budget_core.session.log import SessionLog
    from budget_core.session.policy import Policy
    from budget_core.session.screening.anomalies import Anomaly

_KNOWN_TEXTS: Final = 1_024
_INLINE: Final = re.compile(r"data:[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(?:;[A-Za-z0-9=.-]+)*;base64,")
_CARDS: Final = range(10**12, 10**19)
"""Numbers that may be a card's."""


class Screening:
    """The screening of one session, if its policy asks for any. It keeps hashes, never a text."""

    def __init__(self, policy: Policy, log: SessionLog) -> None:
        self._policy = policy
        self._log = log
        self._lock = Lock()
        self._tags: dict[int, tuple[str, ...]] = {}
        self._anomalies = Anomalies()
        self._refusing: Anomaly | None = None

    def refusing(self) -> AnomalyDetected | None:
        """Return why every call is refused: it left its baseline, which was not accepted."""
        if self._refusing is None:
            return None
        return AnomalyDetected(*self._refusing, self._log.session_id)

    def prompt(self, call: str, prompt: Any) -> tuple[str, ...]:
        """Return the tags of what a prompt holds; those of texts that are new are told.

        Raises:
            RiskDetected: it holds some, and they are to be refused.
        """
        found, news = self._search(prompt)
        refused = self._policy.on_risk == "refuse" and self._policy.mode == "enforce"
        if news or (found and refused):
            self._log.emit("risk", tags=found, where="prompt", name=call, refused=refused)
        if found and refused:
            raise RiskDetected(found, self._log.session_id)
        return tuple(found)

    def answer(self, call: PaidCall, answer: Any) -> None:
        """Add the tags of what an answer holds to those of its call; it is paid for already."""
        found, news = self._search(answer)
        if news:
            name = call.request.model
            self._log.emit("risk", tags=found, where="answer", name=name, refused=False)
        call.risks = tuple(_in_order({*call.risks, *found}))

    def settled(self, call: PaidCall) -> None:
        self._tell(self._anomalies.settled(call))

    def failed(self, call: PaidCall) -> None:
        self._tell(self._anomalies.failed(call))

    def accept(self) -> None:
        self._refusing = None

    def _search(self, value: Any) -> tuple[list[str], bool]:
        found, news = set[str](), False
        for text in texts_in(value):
            known = self._tags.get(key := hash(text))
            if known is None:
                known = _tags_of(text, self._policy)
                news = news or bool(known)
                with self._lock:
                    if len(self._tags) >= _KNOWN_TEXTS:
                        del self._tags[next(iter(self._tags))]
                    self._tags[key] = known
            found.update(known)
        return _in_order(found), news

    def _tell(self, news: list[Anomaly]) -> None:
        refused = self._policy.on_anomaly == "refuse" and self._policy.mode == "enforce"
        for one in news:
            self._log.emit("anomaly", **one._asdict(), refused=refused)
            if refused:
                self._refusing = self._refusing or one


def _tags_of(text: str, policy: Policy) -> tuple[str, ...]:
    more = (ask(detect, lambda: text) or () for detect in policy.risk_detectors)
    return (*analyze_text(text), *chain.from_iterable(more))


def texts_in(value: Any) -> Iterator[str]:
    """Return the texts of JSON-like `value`, without inline media; names and long numbers, too."""
    if isinstance(value, str):
        if _INLINE.match(value) is None:
            yield value
    elif isinstance(value, int):
        if value in _CARDS:
            yield str(value)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from texts_in(name)
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)
    elif hasattr(value, "model_dump") and not isinstance(value, type):
        yield from texts_in(value.model_dump())


def _in_order(tags: set[str]) -> list[str]:
    return [*(risk for risk in RISKS if risk in tags), *sorted(tags.difference(RISKS))]
