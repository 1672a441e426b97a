"""The old path of `budget_compat`: every module of it can be imported under this name, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from types import ModuleType
from typing import Final

_HERE: Final = f"{__name__}."


class _Alias(MetaPathFinder, Loader):
    """Finds the very module that `budget_compat` has, so that nothing is loaded twice."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        known = fullname.startswith(_HERE) and find_spec(_name(fullname)) is not None
        return spec_from_loader(fullname, self) if known else None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(_name(module.__name__))


def _name(alias: str) -> str:
    return f"budget_compat.{alias.removeprefix(_HERE)}"


__path__ = []
# ahead of the others, which would load a package's modules a second time from its own path
sys.meta_path.insert(0, _Alias())
