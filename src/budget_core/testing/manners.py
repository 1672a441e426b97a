"""How a server differs from the one whose API it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from budget_core.testing.wire import Refusal


@dataclass(frozen=True)
class Manners:
    """What a server does with parameters that it does not know.

    Attributes:
        ignores: it takes no notice of these.
        refuses: it answers these with a status; beside another one, if that is named after a "+"
            (``{"max_completion_tokens+prediction": 400}``).
    """

    ignores: tuple[str, ...] = ()
    refuses: Mapping[str, int] = field(default_factory=dict)

    def heed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the server reads of a request, or raise Refusal."""
        for names, status in self.refuses.items():
            if all(body.get(name) is not None for name in names.split("+")):
                raise Refusal(status, f"unsupported parameter: '{names}'", "unsupported_parameter")
        return {name: value for name, value in body.items() if name not in self.ignores}
