"""The ledger on a Redis server."""

from budget_core.ledger.redis.ledger import RedisLedger

__all__ = ["RedisLedger"]
