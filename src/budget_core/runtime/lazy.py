"""Packages whose public names are imported when they are first used."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # `typing` would be most of what `import budget_core` takes
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any


def lazy(
    package: str,
    homes: Mapping[str, str],
    *,
    within: str | None = None,
    needs: Collection[str] = (),
    extra: str = "",
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and ``__dir__`` of a package, or of a module.

    Args:
        package: its name.
        homes: the module of each public name, within the package.
        within: the package of these modules, if not `package` itself.
        needs: frameworks that may be missing.
        extra: of budget-suite, which installs them.

    Raises:
        ImportError: from ``__getattr__``: a framework is missing; it names the extra.
    """
    space = vars(sys.modules[package])

    def load(name: str) -> Any:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            module = import_module(f"{within or package}.{home}")
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in needs:
                raise
            raise ImportError(
                f"{package}.{name} needs {missing}: pip install 'budget-suite[{extra}]'"
            ) from error
        value = space[name] = getattr(module, name)
        return value

    return load, lambda: sorted({*space, *homes})
