"""Refuses requests that came by another name than this machine's own.

A page on the internet can have its own name point to 127.0.0.1 and then read an answer from there (DNS
rebinding), or post to it unread. A browser says in `Host` which name it used and in `Origin` whose page asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

__all__ = ["LOCAL_NAMES", "LocalOnly"]

_PORTS = {"http": 80, "https": 443}
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAID = b"This page answers on this machine only: open it as http://127.0.0.1 with its port."


class LocalOnly:
    """An ASGI application around another one, which hears only of requests from this machine's own pages."""

    def __init__(self, app: App) -> None:
        """Passes on to `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """403 for another `Host` or `Origin`; a WebSocket is closed before it opens."""
        if scope["type"] not in ("http", "websocket") or _is_local(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(_SAID)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _SAID})


def _is_local(scope: Scope) -> bool:
    hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"origin"]
    return (
        len(hosts) == 1
        and _name_in(f"//{hosts[0]}") in LOCAL_NAMES
        and all(_is_same(origin, hosts[0]) for origin in origins)
    )


def _is_same(origin: str, host: str) -> bool:
    """Whether a page of `origin` was itself served by `host`: another port is another program's page."""
    try:
        asking = urlsplit(origin)
        standard = _PORTS.get(asking.scheme)
        served = urlsplit(f"//{host}")
        return (
            standard is not None
            and asking.hostname == served.hostname
            and (asking.port or standard) == (served.port or standard)
        )
    except ValueError:
        return False


def _name_in(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
