"""Who reads: the login name and browser session of the request that this thread serves."""

from __future__ import annotations

import sys

__all__ = ["current_identity"]


def current_identity() -> tuple[str | None, str | None]:
    """(login name, browser session) of the page's request being served; (None, None) for the API.

    gradio keeps the request in a context variable that it sets before each step of a handler, so this
    holds in hooks, and in a generator at every step. gradio is not imported: without a page it is not there.
    """
    context = sys.modules.get("gradio.context")
    local = getattr(context, "LocalContext", None)
    request = local.request.get(None) if local is not None else None
    if request is None:
        return None, None
    username = getattr(request, "username", None)
    session = getattr(request, "session_hash", None)
    return (str(username) if username else None), (str(session) if session else None)
