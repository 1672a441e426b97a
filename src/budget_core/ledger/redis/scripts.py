"""One Lua script an operation, sent to a Redis server that may stumble."""

from __future__ import annotations

import re
from collections import deque
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
from budget_core.ledger.ids import shown

_SHARED: Final = ("amounts", "windows", "tree", "records", "holds", "care", "main")
SHORT: Final = ("reserve", "commit")
"""Operations whose usual case has a short way of its own."""
_EITHER: Final = "return plain() or any_case()"
_FUNCTION: Final = re.compile(r"^local function (\w+).*?^end$", re.MULTILINE | re.DOTALL)
_WORD: Final = re.compile(r"(?<![.\w])[a-z_]+")
_COMMENT: Final = re.compile(r"--.*")
_PASSING: Final = (NoConnection, NoAnswer, BusyLoadingError, TryAgainError)
_PAUSES: Final = (0.0, 0.05, 0.1, 0.2, 0.4)


@cache
def _source(part: str) -> str:
    return (files("budget_core.ledger.redis") / "lua" / f"{part}.lua").read_text(encoding="utf-8")


@cache
def _library() -> dict[str, str]:
    """Return the functions that scripts share, each after those that it uses."""
    sources = "\n".join(map(_source, _SHARED))
    return {found[1]: found[0] for found in _FUNCTION.finditer(sources)}


@cache
def script(name: str) -> tuple[str, str]:
    """Return the source of an operation's script, and its SHA-1.

    It has the shared functions that the operation reaches, and no others. Where the operation has
    a short way for its usual case, they are made only if that does not answer.
    """
    library, body = _library(), _source(name)
    reached, unread = set[str](), [body]
    while unread:
        words = set(_WORD.findall(_COMMENT.sub("", unread.pop())))
        found = words & library.keys() - reached
        reached |= found
        unread += [library[each] for each in found]
    whole = [_source("state"), *(text for each, text in library.items() if each in reached), body]
    parts = [_source("head"), _source("entry")]
    if name in SHORT:
        parts += [_source(f"{name}_plain"), "local function any_case()", *whole, "end", _EITHER]
    else:
        parts += whole
    source = "\n".join(parts)
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
            except RedisError as error:
                raise _unavailable(error) from error

    def close(self) -> None:
        """Let the connections go; the next script makes new ones."""
        while self._idle:
            self.client.connection_pool.release(self._idle.pop())
        self.client.close()

    def start_anew(self) -> None:
        """Leave the connections to the process that this one was forked from."""
        self._idle.clear()

    def _run(self, name: str, arguments: tuple[Any, ...]) -> Any:
        source, digest = script(name)
        try:
            return self._ask("EVALSHA", digest, 1, self._prefix, *arguments)
        except NoScriptError:
            return self._ask("EVAL", source, 1, self._prefix, *arguments)

    def _ask(self, *command: Any) -> Any:
        """Ask on a connection that is kept: a turn in a pool takes as long as the question."""
        if not hasattr(self.client, "connection_pool"):  # a cluster's knows whom to ask
            return self.client.execute_command(*command)  # type: ignore[no-untyped-call]
        try:
            line = self._idle.pop()
        except IndexError:
            line = self.client.connection_pool.get_connection()
        try:
            line.send_command(*command)
            return line.read_response(disable_decoding=True)
        finally:
            self._idle.append(line)


def _unavailable(error: RedisError) -> LedgerUnavailable:
    return LedgerUnavailable(str(error) or type(error).__name__)


__all__ = ["Scripts", "connect", "script"]
