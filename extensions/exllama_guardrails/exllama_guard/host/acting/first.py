"""Which sets of models have given a verdict already: the first one waits until they are loaded."""

from __future__ import annotations

from exllama_guard.settings import Settings

__all__ = ["FirstVerdicts"]


class FirstVerdicts:
    """Remembers what has judged once. Adding to a set is one step in Python, so it is thread-safe."""

    def __init__(self) -> None:
        """Nothing has given a verdict yet."""
        self._seen: set[tuple[str, str, str]] = set()

    def is_first(self, settings: Settings) -> bool:
        """Whether no verdict came yet with the models of these settings, which may still be loading."""
        return _models(settings) not in self._seen

    def came(self, settings: Settings) -> None:
        """Notes that a verdict came."""
        self._seen.add(_models(settings))


def _models(settings: Settings) -> tuple[str, str, str]:
    return settings.embedder, settings.verifier, settings.reader
