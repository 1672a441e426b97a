"""One Lua script an operation, sent to a Redis server that may stumble."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from time import monotonic, sleep
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, NoScriptError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.ledger.resolve import shown

_COMMON: Final = ("head", "amounts", "windows", "tree", "holds", "main")
_PASSING: Final = (NoConnection, NoAnswer, BusyLoadingError, TryAgainError)
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4)


@cache
def script(name: str) -> tuple[str, str]:
    """Return the source of an operation's script, and its SHA-1."""
    folder = files("budget_core.ledger.redis") / "lua"
    source = "\n".join(
        (folder / f"{part}.lua").read_text(encoding="utf-8") for part in (*_COMMON, name)
    )
    return source, sha1(source.encode(), usedforsecurity=False).hexdigest()


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client whose every wait is bounded. It connects when it is first needed.

    Raises:
        InvalidBudget: the URL names no server.
    """
    try:
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
    except ValueError as error:
        raise InvalidBudget(
            f"{shown(url)!r} names no server: {error}. Write 'redis://localhost:6379/0'."
        ) from None


class Scripts:
    """Runs scripts, again if their answers were lost: each is idempotent.

    Args:
        client: of a server, or of a cluster.
        prefix: of all keys, a hash tag, so that they are in one slot.
        timeout: seconds after which a server that does not answer is given up.
    """

    def __init__(self, client: redis.Redis, prefix: str, timeout: float) -> None:
        self.client = client
        self._prefix = prefix
        self._timeout = timeout

    def run(self, name: str, head: Sequence[Any], arguments: Any, due: str) -> Any:
        """Return what a script answers.

        Raises:
            LedgerUnavailable: the server cannot be reached, or refuses.
        """
        text = json.dumps(arguments, separators=(",", ":"))
        until, attempt = monotonic() + self._timeout, 0
        while True:
            try:
                return self._run(name, (*head, text, due))
            except _PASSING as error:
                pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                attempt += 1
                if monotonic() + pause >= until:
                    raise _unavailable(error) from error
                sleep(pause)
            except RedisError as error:
                raise _unavailable(error) from error

    def _run(self, name: str, arguments: Sequence[Any]) -> Any:
        source, digest = script(name)
        ask: Callable[..., Any] = self.client.execute_command
        try:
            return ask("EVALSHA", digest, 1, self._prefix, *arguments)
        except NoScriptError:
            return ask("EVAL", source, 1, self._prefix, *arguments)


def _unavailable(error: RedisError) -> LedgerUnavailable:
    return LedgerUnavailable(str(error) or type(error).__name__)


__all__ = ["Scripts", "connect", "script"]
