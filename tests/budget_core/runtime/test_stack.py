"""What is active in a context."""

import contextvars

from budget_core.runtime.stack import Stack, without


def test_what_is_attached_is_active_until_it_is_detached():
    stack = Stack("test")
    one, other = object(), object()
    stack.attach(one)
    with stack.attached(other), stack.attached(one):
        assert stack.get() == (one, other, one)
        stack.detach(one)
        assert stack.get() == (one, other)
        stack.attach(one)
    assert stack.get() == (one,)


def test_a_context_keeps_to_itself_what_it_attaches():
    stack = Stack("test")
    stack.attach("inherited")
    inside = contextvars.copy_context()
    inside.run(stack.attach, "mine")
    assert inside.run(stack.get) == ("inherited", "mine")
    assert stack.get() == ("inherited",)


def test_a_context_that_never_saw_an_item_is_left_as_it_is():
    stack = Stack("test")
    contextvars.Context().run(stack.detach, "gone")
    assert stack.get() == ()
    items = ("a", "b")
    assert without(items, "c") is items
