"""The tools of the agents that are tried; frameworks read their annotations as they stand."""


class BrokenTool(Exception):
    """What a tool raises that is to fail."""


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


def broken() -> object:
    """Return a tool like `search` that fails."""

    def search(query: str) -> str:
        """Search the web."""
        raise BrokenTool(f"no connection, so nothing of {query} was found")

    return search
