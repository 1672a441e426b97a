"""One function an operation, called on a Redis server that may stumble."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import cache
from hashlib import sha1
from importlib.resources import files
from time import monotonic, sleep
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    MovedError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from budget_core.errors import InvalidBudget, LedgerUnavailable
from budget_core.ledger.contract import OperationFailed
from budget_core.ledger.ids import ambiguous, shown

_SHARED: Final = (
    "head", "entry", "state", "amounts", "windows", "tree", "records", "holds", "care",
    "main",
)  # fmt: skip
SHORT: Final = ("reserve_plain", "commit_plain")
"""The short ways of operations whose usual case has one."""
_OPERATIONS: Final = (
    "balance", "beat", "charge", "close", "commit", "describe",
    "extend", "forget", "headroom", "keep_back", "llm_holds", "open", "page", "release", "reserve",
    "top_up",
)  # fmt: skip
_PLAIN: dict[str, Any] = {}
"""No question about maintenance in a handshake: it takes the lock of `logging`, too."""
with suppress(ImportError):  # it came with redis 7
    from redis.maint_notifications import MaintNotificationsConfig

    _PLAIN["maint_notifications_config"] = MaintNotificationsConfig(enabled=False)
_PASSING: Final = (NoConnection, NoAnswer, BusyLoadingError, TryAgainError)
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4)


@cache
def _source(part: str) -> str:
    return (files("budget_core.ledger.redis") / "lua" / f"{part}.lua").read_text(encoding="utf-8")


@cache
def library() -> tuple[str, str]:
    """Return the source of the library of functions, and what its functions' names begin with.

    Both tell its version, as processes of several versions may share a server.
    """
    shared = [_source(part) for part in _SHARED]
    operations = [f"do\n{_source(part)}end" for part in (*SHORT, *_OPERATIONS)]
    source = "\n".join([*shared, *operations])
    name = f"budget_{sha1(source.encode(), usedforsecurity=False).hexdigest()[:12]}"
    return f"#!lua name={name}\nlocal PREFIX = '{name}_'\n{source}", f"{name}_"


def connect(url: str, timeout: float) -> redis.Redis:
    """Return a client whose every wait is bounded. It connects when it is first needed.

    Raises:
        InvalidBudget: the URL names no server.
    """
    try:
        if ambiguous(url):
            raise ValueError  # noqa: TRY301
        return redis.Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            **_PLAIN,
        )
    except ValueError:  # what it says may quote a password
        raise InvalidBudget(
            f"{shown(url)!r} names no server. Write 'redis://localhost:6379/0'."
        ) from None


class Functions:
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
        self._idle: deque[Any] = deque()

    def run(self, name: str, *arguments: str | float) -> Any:
        """Return what a script answers.

        Raises:
            LedgerUnavailable: the server cannot be reached, or refuses.
        """
        until, attempt = monotonic() + self._timeout, 0
        while True:
            try:
                return self._run(name, arguments)
            except _PASSING as error:
                pause = _PAUSES[min(attempt, len(_PAUSES) - 1)]
                attempt += 1
                if monotonic() + pause >= until:
                    raise _unavailable(error) from error
                sleep(pause)
            except MovedError as error:
                raise OperationFailed(
                    "the server is one of a cluster, and this ledger is on another: make the "
                    "ledger of a client of all, RedisLedger(redis.RedisCluster(...))"
                ) from error
            except ResponseError as error:
                raise OperationFailed(str(error)) from error
            except UnicodeEncodeError as error:
                raise KeyError(error.object) from None  # no account has such a name
            except RedisError as error:
                raise _unavailable(error) from error

    def risks(self) -> list[str]:
        """Return what of the server's settings may lose money, as far as it tells of them."""
        if getattr(self.client, "connection_pool", None) is None:
            return []
        found = []
        policy = self._told("INFO", "memory", b"maxmemory_policy:")
        if policy not in {b"", b"noeviction"}:
            found.append(
                f"maxmemory-policy is {policy.decode()}: a server that is full evicts what was "
                "spent. Set it to noeviction."
            )
        if self._told("INFO", "persistence", b"aof_enabled:") == b"0" and self._saves() == b"":
            found.append(
                "it keeps nothing on its disk, so that a restart forgets what was spent. Set "
                "appendonly yes."
            )
        return found

    def _told(self, command: str, section: str, name: bytes) -> bytes:
        with suppress(RedisError):
            for line in bytes(self._ask(command, section)).splitlines():
                if line.startswith(name):
                    return line[len(name) :].strip()
        return b""

    def _saves(self) -> bytes | None:
        with suppress(RedisError):
            told = self._ask("CONFIG", "GET", "save")
            values = list(told.values() if isinstance(told, dict) else told[1::2])
            return bytes(values[0]) if values else None
        return None

    def close(self) -> None:
        """Let the connections go; the next function makes new ones."""
        while self._idle:
            self._idle.pop().disconnect()
        self.client.close()

    def start_anew(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        self._idle.clear()

    def _run(self, name: str, arguments: tuple[Any, ...]) -> Any:
        source, prefix = library()
        command = ("FCALL", f"{prefix}{name}", 1, self._prefix, *arguments)
        try:
            return self._ask(*command)
        except ResponseError as error:
            if "Function not found" not in str(error):
                raise
        self.client.function_load(source, replace=True)
        return self._ask(*command)

    def _ask(self, *command: Any) -> Any:
        """Ask on a connection of our own: to take one from a pool takes as long as the question.

        It is kept only if its answer was read whole. An interrupt may come anywhere: the answer
        that it leaves unread would be taken for that to the next question.
        """
        pool = getattr(self.client, "connection_pool", None)
        if pool is None:
            return self._ask_cluster(*command)
        try:
            line = self._idle.pop()
        except IndexError:
            line = _connected(pool)
        try:
            line.send_command(*command)
            answer = line.read_response(disable_decoding=True)
        except ResponseError:
            self._idle.append(line)
            raise
        except BaseException:
            line.disconnect()
            raise
        self._idle.append(line)
        return answer

    def _ask_cluster(self, *command: Any) -> Any:
        try:
            return self.client.execute_command(*command)  # type: ignore[no-untyped-call]
        except Exception:
            raise
        except BaseException:  # one may have been given back with its answer unread
            self.client.disconnect_connection_pools()  # type: ignore[attr-defined]
            raise


def _connected(pool: Any) -> Any:
    """Return a connection that nothing else uses: authenticated, in its database, or none."""
    line = pool.connection_class(**pool.connection_kwargs)
    try:
        line.connect()
    except BaseException:
        line.disconnect()
        raise
    return line


def _unavailable(error: RedisError) -> LedgerUnavailable:
    return LedgerUnavailable(str(error) or type(error).__name__)
