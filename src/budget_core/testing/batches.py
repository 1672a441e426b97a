"""Batches of either provider: accepted, billed with a fee, and never worked through."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from budget_core.testing.anthropic_messages import MessagesWire
from budget_core.testing.prices import BATCH, BATCHES
from budget_core.testing.wire import Json, Wire

if TYPE_CHECKING:
    from budget_core.testing.answer import Answer

DAY = 24 * 60 * 60


class BatchesWire(Wire):
    """``POST /v1/batches``: OpenAI's."""

    api = "batches"
    required: ClassVar[tuple[str, ...]] = ("input_file_id", "endpoint", "completion_window")
    streams = False
    speaks = False
    default_model = BATCH
    fees = BATCHES

    def messages(self, body: Json) -> list[Json]:  # noqa: ARG002
        """Return nothing: the work is done later."""
        return []

    def body(self, answer: Answer) -> Json:
        asked = answer.incoming.body
        now = int(time.time())
        return {
            "id": f"batch_{answer.incoming.index}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "errors": None,
            "input_file_id": asked["input_file_id"],
            "completion_window": asked["completion_window"],
            "status": "validating",
            "created_at": now,
            "expires_at": now + DAY,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": asked.get("metadata"),
        }


class MessageBatchesWire(BatchesWire):
    """``POST /v1/messages/batches``: Anthropic's."""

    required = ("requests",)

    def body(self, answer: Answer) -> Json:
        now = datetime.now(UTC)
        ends = dict.fromkeys(("canceled", "errored", "expired", "succeeded"), 0)
        return {
            "id": f"msgbatch_{answer.incoming.index}",
            "type": "message_batch",
            "processing_status": "in_progress",
            "request_counts": {"processing": len(answer.incoming.body["requests"]), **ends},
            "created_at": now.isoformat(),
            "expires_at": (now + timedelta(seconds=DAY)).isoformat(),
            "ended_at": None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }

    def error(self, status: int, message: str, code: str | None) -> Json:
        return MessagesWire().error(status, message, code)
