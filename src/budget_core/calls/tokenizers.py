"""OpenAI's own tokenizers for the bound on a first prompt: a fourth of its bytes, in English.

Plugged in where they are installed: ``pip install 'budget-suite[tokens]'``. Asked where a request
goes to OpenAI or Azure itself: what others serve under the same names, others count. Their
vocabularies take a second and 100 MB, when the first prompt is measured.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from budget_core.calls.prompt import UNSEEN_TOKENS, Count, measure
from budget_core.money.prices.names import candidates
from budget_core.runtime.plugins.markers import hookimpl

if TYPE_CHECKING:
    from budget_core.calls.estimator import EstimateRequest

_TOKENIZERS: Final = "bpe_openai"
_PROVIDERS: Final = ("openai", "azure")
_VOCABULARIES: Final = {
    "gpt-3.5-turbo-": "cl100k_base",
    "gpt-4-": "cl100k_base",
    "text-embedding-3-": "cl100k_base",
    "chatgpt-4o-": "o200k_base",
    "gpt-4.1-": "o200k_base",
    "gpt-4o-": "o200k_base",
    "gpt-5-": "o200k_base",
    "o1-": "o200k_base",
    "o3-": "o200k_base",
    "o4-": "o200k_base",
}
"""By how a model's name begins, as in tiktoken; of others it is not known."""
_PIECE: Final = 50_000
"""Characters that are counted at once: a tokenizer refuses very long texts."""

if find_spec(_TOKENIZERS) is not None:

    @hookimpl
    def budget_estimate(request: EstimateRequest) -> int | None:
        count = _count_for(request.model) if request.provider in _PROVIDERS else None
        if count is None:
            return None
        sizes = [measure(part, count) for part in (request.messages, request.context)]
        if any(size.unbounded or size.audio for size in sizes):
            return None  # for the core to refuse, or not
        return sum(size.tokens(request.model) for size in sizes) + UNSEEN_TOKENS


def _count_for(model: str) -> Count | None:
    for name in candidates(model):
        for start, vocabulary in _VOCABULARIES.items():
            if f"{name}-".removeprefix("ft:").startswith(start):
                return _counter(vocabulary)
    return None


@cache
def _counter(vocabulary: str) -> Count:
    # imported by its name: it takes a second, and few have it
    encode = import_module(_TOKENIZERS).get_encoding(vocabulary).encode_ordinary

    def count(text: str) -> int:
        return sum(len(encode(text[at : at + _PIECE])) for at in range(0, len(text), _PIECE))

    return count
