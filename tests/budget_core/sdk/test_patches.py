"""Patches: all of an SDK's or none, and never silently fewer."""

import importlib
import sys

import pytest

from budget_core.errors import GuardError
from budget_core.runtime.imports import when_imported
from budget_core.sdk.patches import Patches


class Client:
    def send(self, what):
        return what

    async def asend(self, what):
        return what


def _doubled(original, client, what):
    return 2 * original(client, what)


async def _doubled_async(original, client, what):
    return 2 * await original(client, what)


@pytest.fixture
def patches():
    patches = Patches(__name__)
    sys.modules.setdefault(__name__, sys)
    yield patches
    patches.undo()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module, to be imported by the name that this returns."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        importlib.invalidate_caches()
        names.append(name)
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


class TestWrapping:
    def test_stands_in_for_the_method_until_it_is_undone(self, patches):
        patches.wrap(Client, "send", _doubled)
        assert Client().send(2) == 4
        patches.undo()
        assert Client().send(2) == 2
        assert not patches.active

    @pytest.mark.parametrize("name", ["send", "asend"])
    async def test_what_others_have_wrapped_since_stays_theirs(self, patches, monkeypatch, name):
        async def answer():
            answered = getattr(Client(), name)(2)
            return await answered if name == "asend" else answered

        patches.wrap(Client, name, _doubled if name == "send" else _doubled_async)
        ours, heard = Client.__dict__[name], []

        def theirs(client, what):
            heard.append(what)
            return ours(client, what)

        monkeypatch.setattr(Client, name, theirs)
        assert await answer() == 4
        patches.undo()
        assert await answer() == 2
        patches.wrap(Client, name, _doubled if name == "send" else _doubled_async)
        assert await answer() == 4  # and not twice
        assert heard == [2, 2, 2]
        patches.undo()

    async def test_a_coroutine_function_stays_one(self, patches):
        patches.wrap(Client, "asend", _doubled_async)
        assert await Client().asend(2) == 4

    def test_all_or_none(self, patches):
        def install():
            with patches.all_or_none():
                patches.wrap(Client, "send", _doubled)
                patches.expect(sys.modules[Client.__module__], "Client.post", ())

        with pytest.raises(GuardError, match=r"Client\.post is not what"):
            install()
        assert Client().send(2) == 2

    @pytest.mark.parametrize(("path", "parameters"), [("send", ("whom",)), ("post", ())])
    def test_what_has_changed_is_said(self, patches, path, parameters):
        with pytest.raises(GuardError, match="cannot be guarded"):
            patches.expect(Client, path, parameters)


class TestLater:
    CODE = "class Socket:\n    def connect(self, what):\n        return what\n"

    def test_at_the_import(self, patches, module):
        name = module("late_one", self.CODE)
        patches.wrap(Client, "send", _doubled)
        patches.wrap_later(name, "Socket", "connect", _doubled)
        assert importlib.import_module(name).Socket().connect(2) == 4
        patches.undo()
        assert importlib.import_module(name).Socket().connect(2) == 2

    def test_not_once_it_is_undone(self, patches, module):
        name = module("late_two", self.CODE)
        patches.wrap_later(name, "Socket", "connect", _doubled)
        assert importlib.import_module(name).Socket().connect(2) == 2

    def test_a_change_fails_every_import_and_leaves_the_rest_in_force(self, patches, module):
        name = module("late_three", "class Socket: ...\n")
        patches.wrap(Client, "send", _doubled)
        patches.wrap_later(name, "Socket", "connect", _doubled)
        for _ in range(2):
            with pytest.raises(GuardError):
                importlib.import_module(name)
        assert Client().send(2) == 4
        patches.undo()
        assert importlib.import_module(name).Socket

    def test_a_module_that_is_imported_already(self, module):
        name = module("late_four", self.CODE)
        loaded, seen = importlib.import_module(name), []
        when_imported(name, seen.append)
        assert seen == [loaded]
