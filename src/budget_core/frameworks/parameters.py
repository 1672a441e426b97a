"""What a caller asked for: caps on the answer, how many of them, and the request of all that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from budget_core.calls.prompt import unbounded_in
from budget_core.calls.request import CallRequest
from budget_core.frameworks.fingerprints import message_fingerprint
from budget_core.money.prices.output_limits import known_max_output
from budget_core.money.usage import tier_of

if TYPE_CHECKING:
    from budget_core.calls.prompt import Prompt

CAPS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens", "num_predict")
"""Names under which models take their caller's cap, the one that prevails first."""


def model_request(
    model: str, prompt: Prompt, params: Mapping[str, Any], *, cap: Any = None, **about: Any
) -> CallRequest:
    """Return what to open before a model is asked (see `CallRequest`).

    Args:
        model: as it is called.
        prompt: its messages JSON-like, oldest first.
        params: of the call, as providers' APIs name them.
        cap: a cap that is known from elsewhere (see `own_cap`).
        **about: the fields of the request that no parameter tells: who asks, for instance.
    """
    return CallRequest(
        model=model,
        prompt=prompt,
        output_cap=own_cap(model, params, cap),
        n=answers(params),
        tier=tier_of(params.get("service_tier")),
        fingerprint=message_fingerprint(model, prompt.messages),
        unbounded=unbounded_in(params),
        region=params.get("inference_geo"),
        **about,
    )


def own_cap(model: str, params: Mapping[str, Any], said: Any = None) -> int | None:
    """Return the caller's own cap on one answer, None if there is none.

    A cap that does not lie below the model's maximum is none: frameworks send it by default.

    Args:
        model: as it is called.
        params: of the call.
        said: a cap that is known from elsewhere, for where `params` has none.
    """
    caps = (*(params.get(key) for key in CAPS), said)
    cap = next((cap for cap in caps if type(cap) is int and cap > 0), None)
    if cap is None:
        return None
    maximum = known_max_output(model)
    return cap if maximum is None or cap < maximum else None


def answers(params: Mapping[str, Any]) -> int:
    """Return how many answers are asked for, and paid for."""
    asked = [params.get(key) for key in ("n", "best_of", "candidate_count")]
    return max((n for n in asked if type(n) is int and n > 0), default=1)
