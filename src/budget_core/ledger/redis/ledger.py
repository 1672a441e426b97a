"""The ledger on a Redis server: many machines, one function in Lua an operation."""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4
from weakref import finalize

from budget_core.errors import AccountConflict, HoldConflict, InvalidBudget
from budget_core.ledger.audit import Progress, faults
from budget_core.ledger.clock import SYSTEM, Clock
from budget_core.ledger.contract import Ledger, OperationFailed
from budget_core.ledger.heartbeat import keep_alive
from budget_core.ledger.records import (
    Account,
    Balance,
    Denial,
    Entry,
    Headroom,
    Hold,
    LiveHoldView,
    OnExpiry,
    State,
    conflict,
)
from budget_core.ledger.redis import codec
from budget_core.ledger.redis.functions import Functions, connect
from budget_core.ledger.redis.pages import Snapshot, newest_first, oldest_first, scanned
from budget_core.ledger.watchers import Watchers
from budget_core.money.amounts import Amounts
from budget_core.runtime.finalizers import reap

if TYPE_CHECKING:
    import redis

_log = logging.getLogger("budget_core")
_LOOKS: Final = 3
"""How often `verify` looks again at most, until it finds the same fault twice running."""


class RedisLedger(Ledger):
    """Keeps everything on a Redis (7 or newer) or Valkey server, shared by many machines.

    As durable as the server: with ``appendonly yes`` what was answered survives its death. Every
    operation is idempotent, so one whose answer was lost is simply sent again.

    Args:
        server: a URL, or a client of redis-py (of a cluster, too).
        namespace: of the keys, and their hash tag: all of one ledger are in one slot.
        ttl: seconds after which the holds of a process that is not heard of any more expire.
        on_expiry: "charge" what was held by a killed call, as its provider may have billed it, or
            "release" it.
        timeout: seconds to wait for the server.
        keep_entries: how many records to keep. Older ones are folded into a total an account,
            within about a second; their ids are no longer known.
        clock: in place of the server's.
    """

    blocks: bool = True
    outlives: bool = True
    poll: float = 0.25

    def __init__(
        self,
        server: str | redis.Redis = "redis://localhost:6379/0",
        *,
        namespace: str = "budget",
        ttl: float = 60.0,
        on_expiry: OnExpiry = "charge",
        timeout: float = 5.0,
        keep_entries: int = 20_000,
        clock: Clock | None = None,
    ) -> None:
        if on_expiry not in {"charge", "release"} or not namespace or set("{}") & set(namespace):
            raise InvalidBudget(
                'on_expiry= is "charge" or "release", namespace= a name without braces; got '
                f"{on_expiry!r} and {namespace!r}."
            )
        self.options: Mapping[str, Any] = {}
        self.ttl = ttl
        client = connect(server, timeout) if isinstance(server, str) else server
        if client is not server:
            finalize(self, client.close).atexit = False
        self._name = _name_of(client, server)
        self._namespace = namespace
        self._functions = Functions(client, f"{{{namespace}}}", timeout)
        self._on_expiry = on_expiry
        self._keep = keep_entries
        self.clock = clock
        self._pid, self._owner = 0, ""
        self._forgotten: deque[str] = deque()
        self._watchers = Watchers()
        self._resting = self._looked_at = False
        self._cared = float("-inf")

    def open(self, account: Account, *, update: bool = False) -> Balance | Denial:
        answer = self._asked("open", codec.opening(account, update=update))
        if "c" in answer:
            known = codec.account_from(account.id, answer["c"], answer["lasts"])
            raise AccountConflict(conflict(known, account, update=update))
        if update:
            self._wake()
        return self._balance(answer)

    def reserve(
        self,
        hold_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Hold | Denial:
        answer = self._run("reserve", hold_id, names(accounts), codec.text(amounts), final or "")
        if answer == 1:
            return Hold(hold_id, tuple(accounts), amounts)
        return codec.denial_from(self._read(answer, hold_id)["d"])

    def extend(self, hold_id: str, amounts: Amounts, accounts: Sequence[str] = ()) -> Hold | Denial:
        answer = self._asked("extend", hold_id, names(accounts), codec.text(amounts))
        if "d" in answer:
            return codec.denial_from(answer["d"])
        self._wake(answer["path"])
        return Hold(hold_id, tuple(answer["accounts"]), amounts)

    def commit(self, hold_id: str, amounts: Amounts, accounts: Sequence[str]) -> Entry:
        entry = self._entry("commit", hold_id, names(accounts), codec.text(amounts))
        self._wake(entry.path)
        return entry

    def release(self, hold_id: str) -> Entry | None:
        answer = self._run("release", hold_id)
        if not answer:
            return None
        entry = codec.entry_from(self._read(answer))
        self._wake(entry.path)
        return entry

    def charge(
        self,
        charge_id: str,
        accounts: Sequence[str],
        amounts: Amounts,
        *,
        final: str | None = None,
    ) -> Entry:
        told = names(accounts), codec.text(amounts), final or ""
        return self._entry("charge", charge_id, *told)

    def balance(self, account: str) -> Balance:
        return codec.balance_from(self._asked("balance", account)["b"])

    def accounts(self) -> list[Balance]:
        reap()
        told = {}
        for each, _ in scanned(self._page, "accounts"):
            told[each["balance"][0]] = None if each["gone"] else codec.balance_from(each["balance"])
        return sorted(filter(None, told.values()), key=_by_id)

    def describe(self, account: str) -> Account:
        answer = self._asked("describe", account)
        return codec.account_from(account, answer["terms"], answer["lasts"])

    def holds(self, account: str | None = None) -> list[LiveHoldView]:
        reap()
        views = {
            each["id"]: codec.hold_view(each, page["now"])
            for each, page in scanned(self._page, "holds")
            if account is None or account in each["path"]
        }
        return sorted(views.values(), key=lambda view: -view.age)

    def headroom(self, accounts: Sequence[str], *, final: str | None = None) -> Headroom:
        answer = self._run("headroom", names(accounts), final or "")
        room = self._read(answer)
        return Headroom(*(None if x is None else int(x) for x in room))

    def keep_back(self, account: str, amounts: Amounts) -> Amounts:
        answer = self._read(self._run("keep_back", account, codec.text(amounts)))
        self._wake()
        return codec.vector(answer)

    def top_up(self, account: str, amounts: Amounts) -> Balance:
        answer = self._asked("top_up", account, codec.text(amounts), uuid4().hex)
        if "d" in answer:
            raise InvalidBudget(
                f"{account} was allocated from {answer['d'][0]}, which has not enough "
                "left for this top-up. Top that account up first."
            )
        self._wake()
        return codec.balance_from(answer["b"])

    def close(self, account: str, state: State = "closed") -> None:
        answer = self._run("close", account, state)
        if answer != 1:
            self._read(answer)
        self._wake()

    def forget(self, account: str) -> None:
        # called by finalizers, which may run inside an operation: it only queues
        self._forgotten.append(account)

    def entries(self, account: str | None = None) -> Iterator[Entry]:
        reap()
        return _through(account, oldest_first(self._page))

    def last_entries(self, many: int, account: str | None = None) -> list[Entry]:
        reap()
        return list(islice(_through(account, newest_first(self._page)), many))[::-1]

    def verify(self, progress: Progress | None = None) -> list[str]:
        reap()
        found = self._faults(progress)
        for _ in range(_LOOKS):
            if not found:
                break
            # what others held meanwhile was told in parts: the same fault again is one
            again = self._faults(progress)
            if known := [fault for fault in again if fault in found]:
                return known
            found = again
        return []

    def llm_holds(self, account: str, besides: Collection[str] = ()) -> bool:
        answer = self._run("llm_holds", account, names(besides))
        if not isinstance(answer, int):
            self._read(answer)
        return bool(answer == 1)

    def watch(
        self, callback: Callable[[], object], account: str | None = None
    ) -> Callable[[], None]:
        return self._watchers.watch(callback, account)

    def beat(self) -> None:
        """Say that this process is alive, and let the holds of dead ones expire."""
        if self._pid == os.getpid() and not self._resting:
            self._care()

    def close_connection(self) -> None:
        """Let the connections go, and the heartbeat rest, until the next operation."""
        self._resting = True
        self._functions.close()

    def __repr__(self) -> str:
        return f"RedisLedger({self._name!r}, namespace={self._namespace!r})"

    # -- inside ------------------------------------------------------------------------------

    def _run(self, name: str, *arguments: str | int) -> Any:
        if self._pid != os.getpid():
            self._pid, self._owner = os.getpid(), uuid4().hex[:16]
            self._cared = float("-inf")
            self._functions.start_anew()
            keep_alive(self)
        self._resting = False
        if self._forgotten:
            self._drop_forgotten()
        if not 0 <= (self.clock or SYSTEM).uptime() - self._cared < min(self.ttl / 10, 1.0):
            self._care()
        answer = self._send(name, *arguments)
        if not self._looked_at:
            self._looked_at = True
            for risk in self._functions.risks():
                _log.warning("%r may lose money: %s", self, risk)
        return answer

    def _care(self) -> None:
        """Say that we live, bury who does not, and fold old records."""
        self._cared = (self.clock or SYSTEM).uptime()
        while self._send("beat", self.ttl, self._on_expiry, self._keep):
            pass

    def _send(self, name: str, *arguments: str | float) -> Any:
        if self.clock is None:
            return self._functions.run(name, self._owner, *arguments)
        return self._functions.run(f"{name}_at", self._owner, self.clock.now(), *arguments)

    def _asked(self, name: str, key: str, *arguments: str | int) -> dict[str, Any]:
        answer: dict[str, Any] = self._read(self._run(name, key, *arguments), key)
        return answer

    def _entry(self, name: str, hold_id: str, *arguments: str) -> Entry:
        return codec.entry_from(self._read(self._run(name, hold_id, *arguments), hold_id))

    def _read(self, answer: bytes, asked: str = "") -> Any:
        """Return what a script told, or raise what it says; `asked` is a hold's id."""
        told = json.loads(answer)
        if isinstance(told, dict):
            if "k" in told:
                raise KeyError(told["k"])
            if "m" in told:
                raise OperationFailed(f"{told['m']} is missing: {codec.LOST}")
            if "x" in told:
                raise HoldConflict(f"{asked} {told['x']}.")
        return told

    def _balance(self, answer: dict[str, Any]) -> Balance | Denial:
        if "d" in answer:
            return codec.denial_from(answer["d"])
        return codec.balance_from(answer["b"])

    def _page(self, what: str, start: str, many: int) -> dict[str, Any]:
        return self._asked("page", what, start, many)

    def _faults(self, progress: Progress | None) -> list[str]:
        snapshot = Snapshot(self._page)
        found = faults(snapshot.nodes, snapshot.live, snapshot, progress)
        return [f"{key} is missing: {codec.LOST}" for key in self._missing(snapshot)] + list(found)

    def _missing(self, snapshot: Snapshot) -> list[str]:
        prefix = f"{{{self._namespace}}}"
        lost = {"holds": snapshot.has_lost_holds, "log": snapshot.has_lost_records}
        return [f"{prefix}:{key}" for key, is_lost in lost.items() if is_lost]

    def _drop_forgotten(self) -> None:
        ids: list[str] = []
        try:
            while self._forgotten:
                ids.append(self._forgotten.popleft())
            self._run("forget", names(ids))
        except BaseException:
            self._forgotten.extendleft(ids)
            raise

    def _wake(self, path: Sequence[str] | None = None) -> None:
        if self._watchers:
            self._watchers.wake(path)


@lru_cache(4096)
def _names(accounts: tuple[str, ...]) -> str:
    for account in accounts:
        account.encode()  # JSON would hide that it has no UTF-8
    return json.dumps(accounts, separators=(",", ":"))


def names(accounts: Collection[str]) -> str:
    """Return ids as functions read them. Raises KeyError for one that no account can have."""
    try:
        return _names(tuple(accounts))
    except UnicodeEncodeError as error:
        raise KeyError(error.object) from None


def _through(account: str | None, entries: Iterator[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if account is None or account in entry.path)


def _by_id(balance: Balance) -> str:
    return balance.account


def _name_of(client: redis.Redis, server: object) -> str:
    """Name a client's server alike in every process."""
    at = client.get_connection_kwargs()
    scheme = "rediss" if isinstance(server, str) and server.startswith("rediss:") else "redis"
    if path := at.get("path"):
        return f"unix://{path}/{at.get('db') or 0}"
    host = at.get("host") or ("localhost" if isinstance(server, str) else None)
    db = at.get("db") or 0
    return f"{scheme}://{host}:{at.get('port') or 6379}/{db}" if host else repr(client)
