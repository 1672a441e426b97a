"""Arguments of ``budget run``: which are ours, and which the script's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Sequence


class LimitLast(TyperCommand):
    """A command whose options stand before a script, or behind its arguments from --limit on."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Bring options that stand last to the front, unless --limit is there already."""
        known = self.make_parser(ctx).parse_args(list(args))[0]
        script, rest = known.get("script"), known.get("args")
        if "limit" not in known and isinstance(script, str) and isinstance(rest, tuple):
            ours = args[: -1 - len(rest)]
            args = args if "--" in ours else [*ours, *_limit_first([script, *rest])]
        return super().parse_args(ctx, args)


def _limit_first(theirs: Sequence[str]) -> list[str]:
    limits = (at for at, arg in enumerate(theirs) if arg.partition("=")[0] == "--limit")
    at = next(limits, len(theirs))
    return [*theirs[at:], "--", *theirs[:at]]
