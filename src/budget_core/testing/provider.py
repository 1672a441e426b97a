"""A provider on loopback that bills truthfully, scripted by the test that starts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from budget_core.testing.prices import Price, rates
from budget_core.testing.reply import Bill, Reply
from budget_core.testing.script import Script

if TYPE_CHECKING:
    from typing import Self

    from budget_core.testing.manners import Manners
    from budget_core.testing.runner import Runner
    from budget_core.testing.script import Responder

DEFAULT = Reply("Hello from the test provider.")


class Provider:
    """An HTTP server on 127.0.0.1 that speaks OpenAI's, Anthropic's and Google's wire formats.

    Each request takes the next scripted reply; when there is none, the responder is asked; when
    it has none, ``default`` is sent. Every request that arrives is billed by the provider's own
    price list and token count, and what it owes is known before the client has its answer.

    Example::

        with Provider() as provider:
            provider.script(Reply("Hi"), Reply(status=429, retry_after=0))
            client = openai.OpenAI(base_url=provider.openai_url, api_key="test")
            client.chat.completions.create(model="gpt-4o", messages=[...])
            assert provider.bill_nanos == session.spent_nanos

    Leaving the ``with`` block raises what a responder raised, if nothing else did.
    """

    def __init__(self, *, default: Reply = DEFAULT, port: int = 0) -> None:
        self._port = port
        self._script = Script(default)
        self._book = self._script.book
        self._runner: Runner | None = None

    @property
    def default(self) -> Reply:
        """What is answered where no script and no responder has an answer."""
        return self._script.default

    @default.setter
    def default(self, reply: Reply) -> None:
        self._script.default = reply

    @property
    def manners(self) -> Manners:
        """What it does with parameters: nothing but what the API says, unless it is told so."""
        return self._script.manners

    @manners.setter
    def manners(self, manners: Manners) -> None:
        self._script.manners = manners

    @property
    def errors(self) -> list[BaseException]:
        """What responders raised; their clients got a status 500."""
        return self._script.errors

    def start(self) -> Self:
        """Serve on a free port (or the one given) until ``stop``; return the provider."""
        if self._runner is not None:
            raise RuntimeError("the provider is already running")
        try:
            from budget_core.testing.runner import Runner  # noqa: PLC0415 - an extra
            from budget_core.testing.server import build_app  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImportError(
                "the test provider needs starlette and uvicorn: pip install 'budget-suite[testing]'"
            ) from error
        runner = Runner(build_app(self._script), self._port)
        runner.start()
        self._runner = runner
        return self

    def stop(self) -> None:
        """Break off what is in flight and free the port; bills can still be read."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: object, *_: object) -> None:
        self.stop()
        if kind is None and self.errors:
            raise self.errors[0]

    @property
    def url(self) -> str:
        """The root, ``http://127.0.0.1:PORT``: also what Azure clients call the endpoint."""
        if self._runner is None:
            raise RuntimeError("the provider is not running: use it in a with block, or start() it")
        return f"http://127.0.0.1:{self._runner.port}"

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The ``base_url`` for Anthropic clients."""
        return self.url

    @property
    def google_url(self) -> str:
        """The ``base_url`` for Google's clients, in their ``HttpOptions``."""
        return self.url

    def script(self, *replies: Reply) -> Self:
        """Append replies; requests take them in the order of their arrival."""
        self._script.extend(replies)
        return self

    def respond(self, responder: Responder | None) -> Self:
        """Ask a function for each reply that is not scripted; None from it means the default.

        It runs on the server's thread, may be a coroutine function, and must not block.
        """
        self._script.responder = responder
        return self

    def price(
        self,
        model: str,
        *,
        input: Price,  # noqa: A002 - the word of every price list
        output: Price,
        cache_read: Price | None = None,
        cache_write: Price | None = None,
    ) -> Self:
        """Make a model known, or change its price; dollars per million tokens."""
        self._script.catalogue.add(model, rates(input, output, cache_read, cache_write))
        return self

    def reset(self) -> None:
        """Forget bills, script, responder and errors; prices and the default stay."""
        self._script.reset()

    @property
    def models(self) -> list[str]:
        """The names of all models that are sold by the token, sorted."""
        return self._script.catalogue.models()

    @property
    def bill(self) -> float:
        """What all requests owe, in dollars."""
        return self.bill_nanos / 1e9

    @property
    def bill_nanos(self) -> int:
        """What all requests owe, exactly, in nano-dollars."""
        return self._book.nanos

    @property
    def bills(self) -> list[Bill]:
        """One bill for each request that arrived, billed or not, in the order of arrival."""
        return self._book.bills

    @property
    def requests(self) -> int:
        """How many requests arrived (the list of models is not counted)."""
        return self._book.requests

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._book.in_flight

    @property
    def peak_in_flight(self) -> int:
        """The largest number of requests that were being answered at the same time."""
        return self._book.peak

    def wait_for_requests(self, n: int, timeout: float = 10.0) -> None:
        """Block until ``n`` requests arrived; raise TimeoutError after ``timeout`` seconds."""
        self._book.wait(f"{n} requests", lambda: self._book.requests >= n, timeout)

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Block until nothing is in flight; raise TimeoutError after ``timeout`` seconds."""
        self._book.wait("the end of all requests", lambda: self._book.in_flight == 0, timeout)
