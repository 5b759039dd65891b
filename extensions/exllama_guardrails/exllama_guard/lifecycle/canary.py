"""The canary: a digest of what a model writes greedily, kept across restarts and compared on each load."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from exllama_guard.core.private_file import replacing
from exllama_guard.errors import TraceError

__all__ = ["Canary", "CanaryFinding", "CanaryStore", "compare", "digest_of", "recipe_of"]


@dataclass(frozen=True, slots=True)
class Canary:
    """What a loaded model wrote greedily, and under which circumstances."""

    model_hash: str
    loader: str
    digest: str  # 64 hex digits of the greedy text
    text: str  # the greedy text itself, some ten tokens of a fixed prompt
    cache_type: str = ""
    shard_hash: str = ""
    context_tokens: int | None = None
    loras: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)  # torch, CUDA, the loader's library
    options: Mapping[str, str] = field(default_factory=dict)  # how it was loaded, and what else may matter
    recipe: str = ""  # 64 hex digits over prompt, length and sampling: only equal recipes are compared
    variants: tuple[str, ...] = ()  # digests of other texts that it wrote after the same prompt
    at_s: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class CanaryFinding:
    """Outcome of a comparison. `same` is None where nothing can be said; `changed` in plain words."""

    same: bool | None
    changed: tuple[str, ...] = ()
    shards_before: str | None = None  # shard hash of the load before
    runs: int = 1  # runs within this load that wrote the same new text
    note: str = ""  # why nothing can be said, where there is more to say than that it is the first

    def sentence(self) -> str:
        """One sentence for the panel."""
        if self.same is None:
            return self.note or "First canary of this model; it is kept and compared on the next load."
        if self.same:
            return "The canary is the same as on the load before."
        what = "; ".join(self.changed) or "nothing that is recorded here; check drivers, clocks and memory"
        times = f"in {self.runs} of {self.runs} runs" if self.runs > 1 else "in 1 run, which was not repeated"
        return (
            f"The same model now writes something else than on the load before ({times}). "
            f"What changed: {what}."
        )


def digest_of(texts: Iterable[str]) -> str:
    """64 hex digits over the texts in order."""
    joined = json.dumps(list(texts), ensure_ascii=True)
    return hashlib.sha256(joined.encode()).hexdigest()


def recipe_of(prompt: str, n_tokens: int, settings: Mapping[str, object]) -> str:
    """64 hex digits over everything that a canary was asked with."""
    asked = {"prompt": prompt, "n_tokens": n_tokens, "settings": dict(settings)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def compare(before: Canary | None, now: Canary, repeats: Sequence[str] = ()) -> CanaryFinding:
    """Whether `now` wrote what `before` wrote; when not, every recorded circumstance that differs.

    `repeats` are more texts of the same prompt from the same load. One of them that was written before is
    enough for "same"; where they differ among themselves, the model's own noise hides any change.
    """
    if before is None:
        return CanaryFinding(None)
    if before.recipe != now.recipe:
        return CanaryFinding(
            None,
            shards_before=before.shard_hash,
            note="The canary is taken in another way than on the load before (another version of the "
            "guardrails or of the WebUI), so the two are not compared; this one is kept for the next load.",
        )
    texts = {now.text, *repeats}
    if {before.digest, *before.variants} & {now.digest, *(digest_of([text]) for text in repeats)}:
        return CanaryFinding(True, shards_before=before.shard_hash)
    if len(texts) > 1:
        return CanaryFinding(
            None,
            shards_before=before.shard_hash,
            note=f"Within this load the model wrote {len(texts)} different texts in {len(repeats) + 1} "
            "greedy runs of one prompt. Its own noise hides whether it changed since the load before; fewer "
            "parallel requests, or deterministic kernels, make it repeat itself.",
        )
    return CanaryFinding(False, tuple(_changes(before, now)), before.shard_hash, len(repeats) + 1)


def _changes(before: Canary, now: Canary) -> list[str]:
    labels = {
        "cache_type": "cache type",
        "shard_hash": "devices or split",
        "context_tokens": "context",
        "loras": "LoRAs",
    }
    changes = [
        f"{label} {_shown(getattr(before, name))} → {_shown(getattr(now, name))}"
        for name, label in labels.items()
        if getattr(before, name) != getattr(now, name)
    ]
    for old, new in ((before.versions, now.versions), (before.options, now.options)):
        for name in sorted({*old, *new}):
            was, became = old.get(name, "absent"), new.get(name, "absent")
            if was != became:
                changes.append(f"{name} {was or 'none'} → {became or 'none'}")
    return changes


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    text = str(value) if value not in (None, "") else "none"
    return text[:12] if len(text) == 64 else text


class CanaryStore:
    """The last canary of each model and loader, in one JSON file that only its owner can read."""

    _KEPT = 200  # models; the oldest is dropped first

    def __init__(self, path: Path) -> None:
        """Keeps canaries in `path`; nothing is read or made before the first use."""
        self._path = path

    def before(self, model_hash: str, loader: str, loras: tuple[str, ...] = ()) -> Canary | None:
        """The canary kept for this model, loader and LoRAs, or None.

        Raises:
            TraceError: The file cannot be read; it is set aside, so that the next load starts anew.
        """
        return self._read().get(_key(model_hash, loader, loras))

    def keep(self, canary: Canary) -> None:
        """Stores `canary` in place of the one before; the file is replaced whole, mode 0600.

        Raises:
            TraceError: The file cannot be written.
        """
        kept = self._read()
        kept[_key(canary.model_hash, canary.loader, canary.loras)] = canary
        newest = sorted(kept.values(), key=lambda one: one.at_s)[-self._KEPT :]
        self._write(json.dumps({"version": 1, "canaries": [asdict(one) for one in newest]}, indent=1))

    def _read(self) -> dict[str, Canary]:
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            canaries = [_canary(entry) for entry in raw["canaries"]]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise TraceError(
                f"The file of canaries {self._path} cannot be read ({error}); make its folder readable and "
                "writable."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            aside = self._path.with_suffix(".unreadable")
            with contextlib.suppress(OSError):
                self._path.replace(aside)
            raise TraceError(
                f"The file of canaries {self._path} cannot be read ({error}); it was set aside as "
                f"{aside.name}, and the next load starts a new one."
            ) from error
        return {_key(one.model_hash, one.loader, one.loras): one for one in canaries}

    def _write(self, text: str) -> None:
        try:
            with replacing(self._path) as file:
                file.write(text.encode())
        except OSError as error:
            raise TraceError(
                f"The canary could not be stored in {self._path} ({error}); make the folder writable."
            ) from error


def _key(model_hash: str, loader: str, loras: tuple[str, ...]) -> str:
    return "|".join((model_hash, loader, *loras))


def _canary(entry: object) -> Canary:
    """A canary from its JSON.

    Raises:
        TypeError: A field is missing or of another type.
    """
    if not isinstance(entry, Mapping):
        raise TypeError("an entry is no object")
    lists: dict[str, tuple[str, ...]] = {}
    for name in ("loras", "variants"):
        value = entry.get(name, [])
        if not isinstance(value, list):
            raise TypeError(f"{name} is no list")
        lists[name] = tuple(map(str, value))
    canary = Canary(**{**entry, **lists})
    for name in ("model_hash", "loader", "digest", "text", "recipe"):
        if not isinstance(getattr(canary, name), str):
            raise TypeError(f"{name} is no text")
    if not isinstance(canary.versions, Mapping) or not isinstance(canary.options, Mapping):
        raise TypeError("versions or options is no object")
    if not isinstance(canary.at_s, (int, float)):
        raise TypeError("at_s is no number")
    return canary
