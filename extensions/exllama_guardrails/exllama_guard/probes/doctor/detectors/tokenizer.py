"""Detectors of a tokenizer's files (PC1): is it there, is it whole, does a text come back from it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from exllama_guard.backends import read_json
from exllama_guard.core.measures import Gate
from exllama_guard.probes.doctor.symptoms import Observation, observed, unobserved

__all__ = ["observe_tokenizer"]

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "spiece.model")
_SOURCE = "Copy the tokenizer's files from the model's own source."
_TEXT = "The owner of the mill, a teacher, has 12 maps.\nShe said: do not go alone!"


def observe_tokenizer(folder: Path, tokenizer: Mapping[str, Any]) -> Observation:
    """PC1 from the files of a folder; `tokenizer`: its tokenizer.json, empty where it cannot be read."""
    if not any((folder / name).is_file() for name in _FILES):
        return observed("PC1", Gate.FAIL, f"There is no tokenizer (tokenizer.json) in the folder. {_SOURCE}")
    path = folder / "tokenizer.json"
    if not path.is_file():
        return unobserved("PC1", "the folder has no tokenizer.json, whose ids could be read")
    if not tokenizer:
        sentence = f"tokenizer.json cannot be read: it is cut short or damaged. {_SOURCE}"
        return observed("PC1", Gate.FAIL, sentence)
    clash = _clash(tokenizer) or _other_ids(folder, tokenizer)
    if clash:
        return observed("PC1", Gate.FAIL, f"{clash} {_SOURCE}")
    return _round_trip(path)


def _clash(tokenizer: Mapping[str, Any]) -> str:
    """A sentence where an added token has the id of another word."""
    vocab = (tokenizer.get("model") or {}).get("vocab")
    if not isinstance(vocab, dict):
        return ""
    words = {id_: word for word, id_ in vocab.items()}
    added = [t for t in tokenizer.get("added_tokens") or () if isinstance(t, dict)]
    bad = [t for t in added if words.get(t.get("id"), t.get("content")) != t.get("content")]
    if not bad:
        return ""
    return (
        f"The added tokens are shifted: {len(bad)} of them have ids of other words "
        f"({bad[0].get('content')} has "
        f"{bad[0].get('id')}, which is {words[bad[0].get('id')]!r})."
    )


def _other_ids(folder: Path, tokenizer: Mapping[str, Any]) -> str:
    """A sentence where tokenizer_config.json gives an added token another id than tokenizer.json."""
    told = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if not isinstance(told, dict):
        return ""
    ids = {t["content"]: t["id"] for t in tokenizer.get("added_tokens") or () if isinstance(t, dict)}
    for id_, entry in told.items():
        content = entry.get("content") if isinstance(entry, dict) else None
        if content in ids and str(ids[content]) != str(id_):
            return (
                f"The added token {content} has the id {ids[content]} in tokenizer.json and {id_} in "
                "tokenizer_config.json."
            )
    return ""


def _round_trip(path: Path) -> Observation:
    """FAIL where a plain English text does not come back from its own ids."""
    from tokenizers import Tokenizer

    def back() -> str:
        tokenizer = Tokenizer.from_file(str(path))
        return str(tokenizer.decode(tokenizer.encode(_TEXT).ids, skip_special_tokens=True))

    # The library raises a bare Exception for a file it cannot read, which a future's own record tells.
    with ThreadPoolExecutor(max_workers=1) as pool:
        reading = pool.submit(back)
        failed = reading.exception()
    if failed is not None:
        sentence = f"tokenizer.json cannot be loaded: it is damaged or of another form. {_SOURCE}"
        return observed("PC1", Gate.FAIL, sentence)
    text = reading.result()
    if "".join(text.casefold().split()) == "".join(_TEXT.casefold().split()):
        return observed("PC1", Gate.PASS, "A text comes back from the tokenizer as it was.")
    sentence = (
        f"A text does not come back from the tokenizer: {_TEXT[:24]!r} became {text[:40]!r}. Its "
        "decoder (the "
        f"byte form of its words) was lost or is another one's. {_SOURCE}"
    )
    return observed("PC1", Gate.FAIL, sentence)
