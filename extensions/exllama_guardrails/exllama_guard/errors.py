"""The failure tree. Each message is one sentence for the panel: what is wrong, then what to do."""

from __future__ import annotations

__all__ = [
    "GuardError",
    "UserError",
    "ScoringError",
    "EmbedderError",
    "VerifierError",
    "SourceError",
    "BackendError",
    "TraceError",
    "SchemaError",
    "OutOfTime",
    "ProcessLost",
]


class GuardError(Exception):
    """Base of everything this extension raises on purpose; its text is shown to people as it is."""


class UserError(GuardError):
    """A setting, a file or an argument is not usable; the text names it and the remedy."""


class ScoringError(GuardError):
    """An answer could not be checked because of a fault of ours; the log has the details."""


class EmbedderError(GuardError):
    """The embedding model is missing or failed; distances become NotScored, the chat goes on."""


class VerifierError(GuardError):
    """The optional verifier is missing or failed; support is scored without it."""


class SourceError(GuardError):
    """A place that snippets come from cannot be read (unreadable folder, corrupt PDF)."""


class BackendError(GuardError):
    """A loader's adapter could not do what it was asked (model gone, server unreachable)."""


class TraceError(GuardError):
    """A trace could not be written or a line of it breaks the contract."""


class SchemaError(GuardError):
    """A tool's schema or a call of it is not valid."""


class Stopped(GuardError):
    """Somebody pressed Cancel; what was running has ended and nothing of it is kept."""


class OutOfTime(GuardError):
    """A piece of work took longer than it may; the text says how long that is."""


class ProcessLost(GuardError):
    """The process that scores, embeds and reads ended at a piece of work, or cannot be started."""
