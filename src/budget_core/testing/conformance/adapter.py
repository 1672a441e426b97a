"""What an author says of an adapter: how it runs an agent, and what it lacks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, cast

import pytest

from budget_core.runtime.plugins import manager
from budget_core.testing.conformance.books import nothing_is_open
from budget_core.testing.conformance.job import Job
from budget_core.testing.conformance.model import Prices
from budget_core.testing.provider import Provider

if TYPE_CHECKING:
    from budget_core.session.session import BudgetSession

Test = TypeVar("Test", bound=Callable[..., object])

WAYS: Final = ("run", "arun", "stream", "astream")
FEATURES: Final = ("last_word", "agents", "whole_answers", "whole_streams", "tools")


def needs(*any_of: str) -> Callable[[Test], Test]:
    def decorate(test: Test) -> Test:
        cast("Any", test).needs = any_of
        return test

    return decorate


class Adapter:
    """Runs agents in the ways that a subclass implements; see `AdapterConformance`."""

    lacks: ClassVar[Mapping[str, str]] = {}
    model: ClassVar[str] = "conformance-model"

    def run(self, job: Job) -> str:
        """Run an agent and return what it says at last; let a refusal out."""
        raise NotImplementedError

    async def arun(self, job: Job) -> str:
        """Async version of `run`."""
        raise NotImplementedError

    def stream(self, job: Job) -> Iterator[Any]:
        """Run an agent, and yield the parts of what it says, whatever they are."""
        raise NotImplementedError

    def astream(self, job: Job) -> AsyncIterator[Any]:
        """Async version of `stream`: an asynchronous generator."""
        raise NotImplementedError

    # -- what is tested ----------------------------------------------------------------------

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        super().__init_subclass__()
        if abstract:
            return
        cls._check_lacks()
        for name in dir(cls):
            any_of = getattr(getattr(cls, name), "needs", ())
            if any_of and cls.lacks.keys() >= set(any_of):
                setattr(cls, name, None)

    @classmethod
    def _check_lacks(cls) -> None:
        known = (*WAYS, *FEATURES)
        if not cls.lacks.keys() <= set(known) or not all(cls.lacks.values()):
            raise TypeError(
                f"{cls.__name__}.lacks names some of {', '.join(known)}, and says why of each; "
                f"got {dict(cls.lacks)}."
            )
        for way in WAYS:
            if (getattr(cls, way) is getattr(Adapter, way)) != (way in cls.lacks):
                raise TypeError(
                    f"{cls.__name__} either implements {way}() or says in its `lacks` why the "
                    "adapter cannot run an agent in this way."
                )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Try each way of running that the adapter has."""
        if "way" in metafunc.fixturenames:
            limited = set(WAYS).intersection(getattr(metafunc.function, "needs", ()))
            ways = [way for way in WAYS if way in (limited or WAYS) and way not in self.lacks]
            metafunc.parametrize("way", ways)

    # -- where it runs -----------------------------------------------------------------------

    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        """Start a provider that has billed nothing, and has a price for the model."""
        with Provider() as provider, self._priced(provider, 2.5):
            yield provider

    @pytest.fixture
    def pennies(self, provider: Provider) -> Iterator[Provider]:
        """Make input free, so that a call costs what it holds: its longest answer."""
        with self._priced(provider, 0):
            yield provider

    @contextlib.contextmanager
    def _priced(self, provider: Provider, price: float) -> Iterator[None]:
        prices = Prices(self.model, price)
        prices.tell(provider)
        manager.register(prices)
        try:
            yield
        finally:
            manager.unregister(prices)

    # -- running -----------------------------------------------------------------------------

    def job(self, provider: Provider, session: BudgetSession, **more: Any) -> Job:
        """Return what is to be done."""
        return Job(provider=provider, session=session, model=self.model, **more)

    def carry_out(self, way: str, job: Job) -> str | None:
        """Do a job in one of the ways; return what was said, where the way tells it."""
        if way in ("arun", "astream"):
            return asyncio.run(self.awaited(way, job))
        said = None
        if way == "run":
            said = self.run(job)
        else:
            for _ in self.stream(job):
                pass
        nothing_is_open()
        return said

    async def awaited(self, way: str, job: Job) -> str | None:
        """Async version of `carry_out`."""
        said = None
        if way == "arun":
            said = await self.arun(job)
        else:
            async for _ in self.astream(job):
                pass
        nothing_is_open()
        return said

    def outcomes(self, way: str, job: Job, times: int = 1) -> list[Any]:
        """Do a job so many times at once; return texts, and errors in their place."""
        if way in ("run", "stream"):
            with ThreadPoolExecutor(times) as pool:
                futures = [pool.submit(self.carry_out, way, job) for _ in range(times)]
            return [future.exception() or future.result() for future in futures]

        async def gathered() -> list[Any]:
            runs = [self.awaited(way, job) for _ in range(times)]
            return await asyncio.gather(*runs, return_exceptions=True)

        return asyncio.run(gathered())

    def break_off(self, way: str, job: Job) -> None:
        """Read a stream until something was asked of the provider, and close it."""
        if way == "stream":
            with contextlib.closing(cast("Any", self.stream(job))) as parts:
                next(part for part in parts if job.provider.requests)
        else:
            asyncio.run(self._break_off(job))

    async def _break_off(self, job: Job) -> None:
        async with contextlib.aclosing(cast("Any", self.astream(job))) as parts:
            async for _ in parts:
                if job.provider.requests:
                    break
