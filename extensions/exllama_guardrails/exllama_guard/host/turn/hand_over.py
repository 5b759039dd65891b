"""The call by which another extension hands over snippets for the turn that comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exllama_guard.core.snippets import Snippet
from exllama_guard.host.turn.reader import current_identity
from exllama_guard.sources import Inbox, snippets_from

__all__ = ["hand_over", "taken_for"]

_inbox = Inbox()
_ANYONE = "anyone"


def hand_over(snippets: Iterable[str | Mapping[str, Any]], chat_id: str | None = None) -> int:
    """Gives the next turn these snippets to be checked against; returns how many were taken.

    Call it from a hook or a page's handler and they wait for the reader being served; from a thread of your
    own, name the chat (`state["unique_id"]`). Otherwise they go to the next turn on a host for one person,
    and on a host with logins or --multi-user to the next turn without a reader, such as one of the API: they
    never reach another reader.

    Args:
        snippets: Strings, or dictionaries with `text` and any of `snippet_id`, `section_id`, `source_url`,
            `offsets` {start, end, unit}, `score`, `index_hash`, `analyzer`.
        chat_id: The chat that they are for.

    Raises:
        UserError: An entry is not usable; the text says which and why.
    """
    made = tuple(snippets_from(snippets))
    _inbox.put(_addresses(chat_id, *current_identity())[0], made)
    return len(made)


def taken_for(
    chat_id: object, username: str | None, session: str | None, *, shared_host: bool
) -> tuple[Snippet, ...]:
    """The snippets that wait for this chat or reader; they are handed out once."""
    addresses = _addresses(str(chat_id) if chat_id else None, username, session)
    if _ANYONE not in addresses and not (shared_host and (username or session)):
        addresses.append(_ANYONE)
    return _inbox.take(addresses)


def _addresses(chat_id: str | None, username: str | None, session: str | None) -> list[str]:
    """Where a hand-over waits, most particular first."""
    found = [f"chat {chat_id}"] if chat_id else []
    if username:
        found.append(f"user {username} {session}")
    elif session:
        found.append(f"session {session}")
    return found or [_ANYONE]
