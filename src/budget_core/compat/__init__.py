"""The old path of `budget_compat`: every module of it can be imported under this name, too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType
from typing import Final

_HERE: Final = f"{__name__}."


class _Alias(MetaPathFinder, Loader):
    """Finds the very module that `budget_compat` has, so that nothing is loaded twice."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return spec_from_loader(fullname, self) if fullname.startswith(_HERE) else None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        sys.modules[name] = import_module(f"budget_compat.{name.removeprefix(_HERE)}")


__path__ = []
sys.meta_path.append(_Alias())
