"""OpenAI's moderations: free, and content with everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from budget_core.testing.openai_chat import prompt_messages
from budget_core.testing.prices import MODERATIONS
from budget_core.testing.wire import Json, Wire

if TYPE_CHECKING:
    from budget_core.testing.answer import Answer

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
SCORE = 1e-5


class ModerationsWire(Wire):
    """``POST /v1/moderations``."""

    api = "moderations"
    required = ("input",)
    streams = False
    speaks = False
    default_model = "omni-moderation-latest"
    fees = MODERATIONS

    def messages(self, body: Json) -> list[Json]:
        return prompt_messages(body["input"])

    def body(self, answer: Answer) -> Json:
        """Return one result for each text, or one for all parts of a multi-modal input."""
        incoming = answer.incoming
        results = [_result() for _ in range(_inputs(incoming.body["input"]))]
        return {"id": f"modr_{incoming.index}", "model": incoming.model, "results": results}


def _inputs(given: Any) -> int:
    return len(given) if isinstance(given, list) and isinstance(given[0], str) else 1


def _result() -> Json:
    return {
        "flagged": False,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, SCORE),
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
