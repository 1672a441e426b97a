"""What `quotawatch` documents, and limits that hold if you want them to.

>>> from budget_compat.quotawatch import QuotaWatch
>>> from budget_compat.quotawatch.types import QuotaWatchConfig, ApiConfig
>>> openai = ApiConfig(name="OpenAI", base_url="https://api.openai.com")
>>> watching = QuotaWatch.init(QuotaWatchConfig(api_key="qw_live_…", apis=[openai]))
>>> QuotaWatch.get_instance() is watching
True
>>> watching.destroy()

docs/migrating.md lists what is different.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from threading import Lock
from typing import Any, ClassVar

from budget_compat.quotawatch.types import ApiConfig, ApiLimits, QuotaWatchConfig
from budget_core.events.sender import Sender, listed
from budget_core.quota import Watch

__all__ = ["ApiConfig", "ApiLimits", "QuotaWatch", "QuotaWatchConfig"]


class QuotaWatch:
    """Watches the APIs of its configuration, and reports each request in the background.

    Attributes:
        config: as it was given.
        watch: the `budget_core.quota.Watch` beneath, for all that it can do beside.
    """

    _instance: ClassVar[QuotaWatch | None] = None
    _lock: ClassVar[Lock] = Lock()

    def __init__(self, config: QuotaWatchConfig) -> None:
        self.config = config
        self._sender = Sender(
            f"{config.ingest_url.rstrip('/')}/v1/ingest",
            buffer=config.buffer_size,
            interval=config.flush_interval_seconds,
            shape=partial(listed, projectApiKey=config.api_key),
        )
        self.watch = Watch(
            *(api.api() for api in config.apis),
            environment=config.environment,
            ledger=config.ledger,
            on_limit=config.on_limit,
            on_call=lambda call: self.record(call.as_dict()),
        ).start()

    @classmethod
    def init(cls, config: QuotaWatchConfig) -> QuotaWatch:
        """Begin to watch; what was begun before is returned as it is."""
        with cls._lock:
            cls._instance = cls._instance or cls(config)
            return cls._instance

    @classmethod
    def get_instance(cls) -> QuotaWatch | None:
        """Return what `init` began, or None."""
        return cls._instance

    def record(self, event: Mapping[str, Any]) -> None:
        """Report a request that no watched client made."""
        self._sender.put(event)

    def flush(self) -> None:
        """Send what waits; gives up after five seconds, and then it still waits."""
        self._sender.flush()

    def destroy(self) -> None:
        """Send what waits, for five seconds at most, and end."""
        with self._lock:
            if QuotaWatch._instance is self:
                QuotaWatch._instance = None
        self.watch.stop()
        self._sender.close()
