import gc
import inspect

import pytest

from budget_core import AgentBudget, BudgetExhausted, LoopDetected


@pytest.fixture
def session():
    return AgentBudget("$0.03").session()


def spent(session):
    return session.report()["breakdown"]["tools"]["by_tool"]


def test_a_function_is_paid_for_each_time(session):
    @session.track_tool(cost=0.01)
    def search(query, *, limit=3):
        """Search."""
        assert session.reserved == 0.01
        return [query] * limit

    assert search("a", limit=2) == ["a", "a"]
    assert search("b") == ["b"] * 3
    assert spent(session) == {"search": 0.02}
    assert (search.__name__, search.__doc__) == ("search", "Search.")


async def test_a_coroutine_is_paid_for_each_time(session):
    @session.track_tool(cost=0.01, tool_name="finder")
    async def search(query):
        assert session.reserved == 0.01
        return query

    assert inspect.iscoroutinefunction(search)
    assert await search("a") == "a"
    assert spent(session) == {"finder": 0.01}


def test_a_generator_is_paid_for_once_it_runs(session):
    @session.track_tool(cost=0.01)
    def pages(count):
        yield from range(count)
        return "end"

    unused = pages(3)
    assert session.reserved == 0
    running = pages(3)
    assert next(running) == 0
    assert session.reserved == 0.01
    assert list(running) == [1, 2]
    assert spent(session) == {"pages": 0.01}
    unused.close()
    assert inspect.isgeneratorfunction(pages)


async def test_an_async_generator_is_paid_for_once_it_runs(session):
    @session.track_tool(cost=0.01)
    async def pages(count):
        for page in range(count):
            yield page

    assert [page async for page in pages(3)] == [0, 1, 2]
    assert spent(session) == {"pages": 0.01}
    assert inspect.isasyncgenfunction(pages)


def test_a_generator_that_is_closed_early_is_paid_for(session):
    @session.track_tool(cost=0.01)
    def pages():
        yield 1
        yield 2

    running = pages()
    next(running)
    running.close()
    assert (session.spent, session.reserved) == (0.01, 0)


def test_a_generator_that_is_dropped_in_a_cycle_is_paid_for(session):
    @session.track_tool(cost=0.01)
    def pages():
        yield 1

    running = pages()
    next(running)
    cycle = [running]
    cycle.append(cycle)
    del running, cycle
    gc.collect()
    assert (session.spent, session.reserved) == (0.01, 0)


async def test_an_async_generator_that_is_closed_early_closes_the_tool_too(session):
    closed = []

    @session.track_tool(cost=0.01)
    async def pages():
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    running = pages()
    assert await anext(running) == 1
    await running.aclose()
    assert closed == [True]
    assert (session.spent, session.reserved) == (0.01, 0)


def test_one_that_raises_is_paid_for_all_the_same(session):
    @session.track_tool(cost=0.01)
    def search():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        search()
    assert (session.spent, session.reserved) == (0.01, 0)


def test_one_that_cannot_be_paid_for_does_not_run(session):
    ran = []

    @session.track_tool(cost=0.02)
    def search():
        ran.append(1)

    search()
    with pytest.raises(BudgetExhausted, match="search was refused before it was sent"):
        search()
    assert ran == [1]
    assert session.spent == 0.02


def test_the_same_arguments_again_and_again_are_a_loop():
    session = AgentBudget("$1", max_repeated_calls=3).session()

    @session.track_tool()
    def search(query, **options):
        return query

    for n in range(5):
        search("a", n=n)
    for _ in range(2):
        search("b")
    with pytest.raises(LoopDetected) as caught:
        search("b")
    assert (caught.value.key, caught.value.count) == ("search", 3)


def test_arguments_that_change_in_place_are_no_loop():
    session = AgentBudget("$1", max_repeated_calls=3).session()

    @session.track_tool()
    def step(history):
        history.append("step")

    history = []
    for _ in range(9):
        step(history)


def test_arguments_that_cannot_be_compared_are_no_loop():
    class Array:
        def __eq__(self, other):
            raise ValueError("ambiguous")

        __hash__ = None

    session = AgentBudget("$1", max_repeated_calls=2).session()

    @session.track_tool()
    def step(array):
        return array

    for _ in range(5):
        step(Array())


def test_an_object_without_a_name_is_a_tool():
    class Search:
        def __call__(self, query):
            return query

    session = AgentBudget("$1").session()
    assert session.track_tool(cost=0.01)(Search())("a") == "a"
    assert spent(session) == {"tool": 0.01}
