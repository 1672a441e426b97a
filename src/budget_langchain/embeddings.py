"""`BudgetedEmbeddings`: LangChain has no callbacks for embedding models, so they are wrapped."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from langchain_core.embeddings import Embeddings

from budget_core import BudgetSession, CallRequest, Prompt, Usage, register_model
from budget_core.frameworks import ending, guarding, sender_of
from budget_core.frameworks.outcomes import unsent
from budget_core.sdk.installing import guard_loaded
from budget_langchain.errors import bubble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budget_core import Call
    from budget_core.money.usd import Money
    from budget_langchain.callback import LangChainBudgetCallback

_WAYS: Final = ("embed_documents", "embed_query", "aembed_documents", "aembed_query")


class BudgetedEmbeddings(Embeddings):
    """An embedding model that is paid for: texts are held by their size before they are sent.

    Where an SDK guard is beneath (OpenAI), what is charged is what the provider says. Elsewhere
    LangChain tells nothing of usage, so the bound is charged: one token a UTF-8 byte.

    >>> embeddings = BudgetedEmbeddings(OpenAIEmbeddings(), session)  # doctest: +SKIP
    >>> vectors = embeddings.embed_documents(["…"])  # doctest: +SKIP

    Args:
        embeddings: the model to wrap.
        budget: the session or callback whose money it is.
        model: its name; by default what `embeddings` calls its model.
        price_per_million: dollars for a million tokens, for a model that has no known price.
        guard_sdks: guard the provider SDKs beneath, so that usage is exact.

    Raises:
        BudgetExhausted, UnknownModel: from the call that is refused, before it is sent.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        budget: BudgetSession | LangChainBudgetCallback,
        model: str | None = None,
        *,
        price_per_million: Money | None = None,
        guard_sdks: bool = True,
    ) -> None:
        self.embeddings = embeddings
        self.session = budget if isinstance(budget, BudgetSession) else budget.session
        self.model = model or _name_of(embeddings)
        self._guard_sdks = guard_sdks
        if price_per_million is not None:
            register_model(self.model, price_per_million, 0)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; no documents cost nothing."""
        if not texts:
            return self.embeddings.embed_documents(texts)
        call = self.session.open_call(self._request(texts))
        with self._paying(call):
            return self.embeddings.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query."""
        call = self.session.open_call(self._request([text]))
        with self._paying(call):
            return self.embeddings.embed_query(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; no documents cost nothing."""
        if not texts:
            return await self.embeddings.aembed_documents(texts)
        call = await self.session.open_call_async(self._request(texts))
        with self._paying(call):
            return await self.embeddings.aembed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query."""
        call = await self.session.open_call_async(self._request([text]))
        with self._paying(call):
            return await self.embeddings.aembed_query(text)

    def __getattr__(self, name: str) -> Any:
        """Be the wrapped model in everything else."""
        if name.startswith("__") or name == "embeddings":
            raise AttributeError(name)
        return getattr(self.embeddings, name)

    def _request(self, texts: Sequence[str]) -> CallRequest:
        if self._guard_sdks:
            guard_loaded()
        return CallRequest(
            model=self.model,
            prompt=Prompt(list(texts)),
            input_tokens=sum(len(text.encode(errors="replace")) + 1 for text in texts),
            output_cap=0,
            mixin=bubble(),
        )

    @contextmanager
    def _paying(self, call: Call) -> Iterator[None]:
        # a model may split the texts over several requests: the guard claims the others too
        with unsent(call):
            sdk = sender_of(self.embeddings, Embeddings, *_WAYS)
        with guarding(self.session), ending(call, sdk=sdk):
            yield
            call.finish(Usage(input=call.quote.input_tokens if call.quote else 0))


def _name_of(embeddings: Embeddings) -> str:
    for name in ("model", "model_name", "model_id", "deployment"):
        if isinstance(found := getattr(embeddings, name, None), str) and found:
            return found
    return type(embeddings).__name__
