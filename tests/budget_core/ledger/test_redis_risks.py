"""What a Redis server may lose is told: its settings at first, and then what is missing."""

import pytest
import redis

from budget_core.ledger import Account, new_id
from budget_core.ledger.contract import OperationFailed
from budget_core.ledger.redis import RedisLedger
from budget_core.money.amounts import Amounts
from budget_core.money.limits import Limits

A_NANO = Amounts(1, 0, 1, 0)
SAFE = ("--appendonly", "yes", "--save", "")


@pytest.fixture
def told(caplog):
    """Return what is told when a ledger on a server is first used."""

    def of(server, url=None):
        caplog.clear()
        ledger = RedisLedger(url or server.url)
        ledger.open(Account("a", None, Limits.of("$1")))
        ledger.balance("a")
        ledger.close_connection()
        ledger.balance("a")
        ledger.close_connection()
        return [each.getMessage() for each in caplog.records if each.name == "budget_core"]

    return of


def test_a_server_that_keeps_everything_is_safe(make_redis_server, told):
    assert told(make_redis_server(*SAFE)) == []
    assert told(make_redis_server("--save", "60 1")) == []


def test_one_that_evicts_is_told_of_once(make_redis_server, told):
    (warning,) = told(make_redis_server(*SAFE, "--maxmemory-policy", "allkeys-lru"))
    assert "maxmemory-policy is allkeys-lru" in warning


def test_one_that_keeps_nothing_is_told_of_once(make_redis_server, told):
    (warning,) = told(make_redis_server("--save", ""))
    assert "keeps nothing on its disk" in warning


def test_one_that_does_not_tell_is_believed(make_redis_server, told):
    server = make_redis_server("--maxmemory-policy", "allkeys-lru", "--save", "")
    with redis.Redis(port=server.port) as client:
        client.execute_command(
            "ACL", "SETUSER", "me", "on", "nopass", "~*", "+@all", "-info", "-config"
        )
    assert told(server, server.url.replace("redis://", "redis://me:none@")) == []


class TestAPartThatIsMissing:
    @pytest.fixture
    def ledger(self, redis_server):
        ledger = RedisLedger(redis_server.url, namespace=f"lost{new_id()}")
        ledger.open(Account("a", None, Limits.of("$1")))
        ledger.charge(new_id(), ("a",), A_NANO)
        ledger.reserve(new_id(), ("a",), A_NANO)
        yield ledger
        ledger.close_connection()

    def lose(self, ledger, part):
        ledger._functions.client.delete(f"{{{ledger._namespace}}}:{part}")

    @pytest.mark.parametrize(("part", "ask"), [
        ("accounts", lambda ledger: ledger.balance("a")),
        ("accounts", lambda ledger: ledger.reserve(new_id(), ("a",), A_NANO)),
        ("accounts", lambda ledger: ledger.commit(new_id(), A_NANO, ("a",))),
        ("accounts", lambda ledger: ledger.open(Account("a", None, Limits.of("$1")))),
        ("cold", lambda ledger: ledger.balance("a")),
        ("cold", lambda ledger: ledger.open(Account("a", None, Limits.of("$1")))),
        ("cold", lambda ledger: ledger.verify()),
    ])  # fmt: skip
    def test_is_named_and_nothing_is_spent(self, ledger, part, ask):
        self.lose(ledger, part)
        with pytest.raises(OperationFailed, match=rf":{part} is missing: the server has evicted"):
            ask(ledger)

    @pytest.mark.parametrize("part", ["holds", "log"])
    def test_is_a_fault(self, ledger, part):
        self.lose(ledger, part)
        assert any(f":{part} is missing" in fault for fault in ledger.verify())

    def test_of_a_new_ledger_nothing_is_missing(self, redis_server):
        ledger = RedisLedger(redis_server.url, namespace=f"new{new_id()}")
        assert ledger.verify() == []
        with pytest.raises(KeyError):
            ledger.balance("a")
        ledger.close_connection()
