"""What the model and the user are told of a call that did not run."""

from __future__ import annotations

import json

from exllama_guard.tools.calls import CallError, CallVerdict
from exllama_guard.tools.origins import ArgumentOrigin

__all__ = ["closed_error", "refusal_text", "repair_message", "unsourced_error"]


def closed_error(limit: int | None) -> CallError:
    """Why a call that fits its schema may not run: the lock had to close it at the reply's limit."""
    most = f" of {limit} tokens" if limit else ""
    return CallError(
        "closed_at_limit",
        "",
        f"a call that ends before the reply's limit{most}",
        "one that was closed there, so its last value may be cut or made up",
        "Write shorter arguments, or raise the most tokens that a reply may have.",
    )


def unsourced_error(found: ArgumentOrigin) -> CallError:
    """Why a call that fits its schema may not run: one of its values stands nowhere."""
    return CallError(
        "no_source",
        found.path,
        "a value that the user, a tool's result, a snippet or the schema names",
        found.value,
        "Nothing said so far holds this value. Ask the user for it, or look it up with a tool.",
    )


def repair_message(verdict: CallVerdict, *, rounds_left: int) -> str:
    """JSON text for the model, as the tool's result: what was wrong where, and what to do now."""
    errors = [error.as_dict() for error in verdict.errors]
    blocked = any(error.code in ("drift", "schema") for error in verdict.errors)
    again = (
        "The tool was not run. Call it again with the errors corrected."
        if rounds_left > 0 and not blocked
        else "The tool was not run and must not be called again now. Tell the user that the call failed."
    )
    return json.dumps(
        {"error": f"invalid call of {verdict.name}", "errors": errors, "next": again}, ensure_ascii=False
    )


def refusal_text(verdict: CallVerdict, rounds: int) -> str:
    """One sentence for the user when no repair round is left."""
    first = verdict.errors[0]
    where = f" at {first.path}" if first.path else ""
    return (
        f"The model's call of the tool '{verdict.name}' was refused {rounds} times and was not run: "
        f"expected {first.expected}{where}, found {first.found}. Rephrase the request, or use a larger model."
    )
