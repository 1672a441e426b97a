import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor

from budget_core import AgentBudget
from budget_core.calls import context
from budget_core.calls.request import CallRequest


def open_tool(session, name="t"):
    return session.open_call(CallRequest(kind="tool", name=name))


def open_llm(session):
    return session.open_call(CallRequest(model="gpt-4o-mini", output_cap=10))


def test_an_open_llm_call_is_visible_until_it_ends():
    session = AgentBudget("$5").session()
    outer, inner = open_llm(session), open_llm(session)
    assert context.enclosing_calls() == (outer, inner)
    outer.release()
    assert context.enclosing_calls() == (inner,)
    inner.settle()
    assert context.enclosing_calls() == context.open_calls() == ()


def test_a_tools_call_hides_what_is_outside():
    session = AgentBudget("$5").session()
    llm, tool = open_llm(session), open_tool(session)
    assert context.enclosing_calls() == ()
    inner = open_llm(session)
    assert context.enclosing_calls() == (inner,)
    tool.settle()
    assert context.enclosing_calls() == (llm, inner)
    llm.release()
    inner.release()


def test_a_call_that_ended_elsewhere_is_passed_over_here():
    session = AgentBudget("$5").session()
    call = open_llm(session)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(call.release).result()
    assert context.open_calls() == ()


async def test_tasks_see_what_encloses_them_and_not_each_other():
    session = AgentBudget("$5").session()
    outer = open_llm(session)

    async def work():
        inner = open_llm(session)
        await asyncio.sleep(0)
        seen = context.enclosing_calls()
        inner.release()
        return seen == (outer, inner)

    assert await asyncio.gather(work(), work()) == [True, True]
    outer.release()


def test_a_new_thread_sees_nothing():
    call = open_llm(AgentBudget("$5").session())
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(context.open_calls).result() == ()
        inherited = contextvars.copy_context()
        assert pool.submit(inherited.run, context.open_calls).result() == (call,)
    call.release()


def test_sessions_nest():
    outer, inner = AgentBudget("$5").session(), AgentBudget("$5").session()
    with outer, inner, outer:
        assert context.current_session() is outer
        context.leave(outer)
        assert context.current_session() is inner
        context.enter(outer)
    assert context.current_session() is None


def test_leaving_where_one_never_entered_does_nothing():
    session = AgentBudget("$5").session()
    context.leave(session)
    context.unguard(session)
    assert context.current_session() is None


def test_guards_are_put_up_and_taken_down():
    session = AgentBudget("$5").session()
    context.guard(session)
    assert context.guarded() == (session,)
    context.unguard(session)
    assert context.guarded() == ()


def test_a_session_that_was_closed_in_another_context_refuses_here():
    """What outlives the block of a budget does not run on without one."""
    session = AgentBudget("$5").session()
    context.enter(session)
    context.guard(session)
    contextvars.Context().run(session.close)
    assert context.guarded() == (session,)
    contextvars.Context().run(context.unguard, session, everywhere=True)
    assert context.guarded() == ()
    assert context.current_session() is None
    assert AgentBudget("$1").session().parent is None
