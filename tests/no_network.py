"""Refuses and notes every connection and every look-up of a name, in this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOOPBACK = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", None)  # noqa: S104 - compared with, not bound to


class NoNetworkError(OSError):
    """Something tried to reach another machine."""


@contextmanager
def refused(*, loopback: bool = False) -> Iterator[list[str]]:
    """Connections and look-ups fail meanwhile; gives what was tried. `loopback` lets this machine pass."""
    tried: list[str] = []
    before = {
        (owner, name): getattr(owner, name)
        for owner, name in (
            (socket.socket, "connect"),
            (socket.socket, "connect_ex"),
            (socket.socket, "sendto"),
            (socket, "getaddrinfo"),
            (socket, "gethostbyname"),
        )
    }

    def guard(original: Any, kind: str, host_of: Any) -> Any:
        def asked(*args: Any, **kwargs: Any) -> Any:
            host = host_of(args)
            if loopback and host in LOOPBACK:
                return original(*args, **kwargs)
            if (
                args
                and isinstance(args[0], socket.socket)
                and args[0].family == getattr(socket, "AF_UNIX", None)
            ):
                return original(*args, **kwargs)
            tried.append(f"{kind} {host}")
            raise NoNetworkError(f"{kind} {host}: there is no network in this test")

        return asked

    def of_address(args: Any) -> Any:
        address = args[-1]
        return address[0] if isinstance(address, tuple) else address

    def of_name(args: Any) -> Any:
        return args[0].decode() if isinstance(args[0], bytes) else args[0]

    for (owner, name), original in before.items():
        where = of_address if owner is socket.socket else of_name
        setattr(owner, name, guard(original, name, where))
    try:
        yield tried
    finally:
        for (owner, name), original in before.items():
            setattr(owner, name, original)
