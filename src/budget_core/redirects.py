"""Taking a redirection as the failure that it is."""

from __future__ import annotations

from urllib.request import HTTPRedirectHandler


class NoRedirects(HTTPRedirectHandler):
    """Let urllib follow no redirection: it would leave out the body, and take a key elsewhere."""

    def redirect_request(self, *_: object) -> None:
        """Follow to nowhere, so that the answer is an `HTTPError`."""
        return


__all__ = ["NoRedirects"]
