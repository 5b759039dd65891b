"""Reading a text twice as long takes about twice the time, whatever stands in it.

A pattern or a library that takes the square of a text's length holds Python's lock for seconds, and with it
every chat of the host. Each function that reads what a user, a model, a tool or a file wrote is given hostile
texts in growing sizes, and each regular expression of the package the texts that make it give up.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import gc
import importlib
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache

import pytest
from conftest import EXTENSION
from exllama_guard.acting import texts as acting_texts
from exllama_guard.core import snippets as records
from exllama_guard.core.measures import Gate
from exllama_guard.core.snippets import Span, make_snippet
from exllama_guard.grounding import addressed, citations, passages, relevance, reply_text
from exllama_guard.grounding.support import claims, clock, dates, language, markup, quantities, text
from exllama_guard.grounding.support.answer_checks import citation_findings
from exllama_guard.grounding.support.scorer import AnswerScorer
from exllama_guard.host.turn.question import question_of_prompt
from exllama_guard.panel.html import el
from exllama_guard.panel.turn.evidence import matching_spans
from exllama_guard.probes.doctor.detectors import text as detect_text
from exllama_guard.probes.measures import agreement, paraphrase, repetition
from exllama_guard.report.markdown import as_markdown
from exllama_guard.report.values import Line, Report
from exllama_guard.sources import attachments, injected, knowledge_split, knowledge_text, marked_block, pieces
from exllama_guard.tools import attempts as tool_attempts
from exllama_guard.tools import strict_json as json_strict
from exllama_guard.trace import secrets
from pumped import attacks

# Growth of the time when the size is doubled: 2 is linear, 4 the square. Between them lies the noise.
MOST_GROWTH = 2.6
FLOOR_S = 0.002  # below, the clock's and the machine's noise is what is measured
SIZE = 10_000  # where the square of a compiled loop over the text is well above the floor
SMALLER_SIZE = 1_500  # for what costs many times as much and is made of parts that are read at full size
# Here an exponent shows, one step before it would never end.
SMALL = (10, 14, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 64, 256, 1024)
MOST_SMALL_S = 0.5
CERTAIN_S = 1.0  # no noise is so long
TRIES = 8  # a busy machine spoils single measurements; it cannot make a text quicker to read

SNIPPETS = tuple(
    make_snippet(body, position=index)
    for index, body in enumerate(
        ("The cache holds 8,192 tokens. It was opened on 3 May 2019 at 9:30.", "Bern has 134,000 people.")
    )
)

# --- the texts: what comes before, what is repeated, what comes after ---------------------------------------

HOSTILE: dict[str, tuple[str, str, str]] = {
    "digits": ("", "1", ""),
    "digits in brackets": ("[", "1", " in the log"),
    "open list of numbers": ("[", "1, ", "and"),
    "list of numbers": ("", "[0, 1, 1, 2, 3, 5, 8, 13, ...] ", ""),
    "log line": ("", "[20240131 120501 123456 INFO] ", ""),
    "numbers with spaces": ("[", "12 ", "x]"),
    "numbers with commas": ("", "1,234,567,", ""),
    "number then commas": ("1", ",123", ""),
    "dots and digits": ("", "1.1", ""),
    "number and spaces": ("5", " ", "!"),
    "range of numbers": ("", "1-1-", ""),
    "currency": ("", "$1 ", ""),
    "percent": ("", "3 % ", ""),
    "citations": ("", "[s1]", ""),
    "citations with lists": ("", "[1, 2; 3-5] ", ""),
    "lone brackets": ("", "[", ""),
    "closing brackets": ("", "]", ""),
    "round brackets": ("", "(", ""),
    "nested brackets": ("", "[(【", ""),
    "brackets of spaces": ("", "[" + " " * 190 + "]", ""),
    "bracketed words": ("", "(source one) ", ""),
    "double quotes": ("", '"', ""),
    "opening quotes": ("", "“", ""),
    "opening single quotes": ("", "‘", ""),
    "angle quotes": ("", "«", ""),
    "low quotes": ("", "„", ""),
    "apostrophes": ("", "It‘s ", ""),
    "typographic apostrophes": ("", "isn’t ", ""),
    "quotes and words": ("", "“word. ", ""),
    "spaces": ("", " ", ""),
    "spaces then a word": ("a", " ", "b"),
    "tabs": ("", "\t", "x"),
    "newlines": ("", "\n", ""),
    "newlines then a word": ("a", "\n", "b"),
    "spaces and newlines": ("", " \n", "x"),
    "carriage returns": ("", "\r\n", "x"),
    "ideographic spaces": ("", "\u3000", "字"),
    "full stops": ("", ".", ""),
    "ends of sentences": ("", "A. ", ""),
    "end marks and quotes": (".", '"', ""),
    "ideographic full stops": ("", "。", ""),
    "pipes": ("", "|", ""),
    "table rows": ("", "| a | 1 |\n", ""),
    "backticks": ("", "`", ""),
    "pairs of backticks": ("", "`a` ", ""),
    "fences": ("", "```\n", ""),
    "open fence": ("```", "x\n", ""),
    "dashes": ("", "-", ""),
    "bullets": ("", "- a\n", ""),
    "stars": ("", "**a", ""),
    "underscores": ("", "_", ""),
    "hashes": ("# ", "#", ""),
    "heading with spaces": ("# a", " #", "b"),
    "equals signs": ("", "=", "\n"),
    "html tags": ("", "<b>", ""),
    "open tags": ("", "<a ", ""),
    "nested markup": ("", "<div><p>", ""),
    "thinking": ("", "<think>a</think>", "b"),
    "open thinking": ("", "<think>", ""),
    "clock times": ("", "10 am ", ""),
    "clock times with minutes": ("", "9:30 ", ""),
    "dates": ("", "3 May 2019 ", ""),
    "numeric dates": ("", "2024-01-31 ", ""),
    "months": ("", "May ", ""),
    "month and spaces": ("May 5", " ", "x"),
    "number words": ("", "twenty one ", ""),
    "ordinals": ("", "twentieth ", ""),
    "capitals": ("", "Bern ", ""),
    "shouting": ("", "A.B.", ""),
    "one long word": ("", "a", ""),
    "one long German word": ("", "ä", ""),
    "Chinese": ("", "文字", ""),
    "mixed scripts": ("", "aя文é🙂 ", ""),
    "combining marks": ("", "e\u0301\u0301", ""),
    "zero width": ("", "\u200b", ""),
    "lone surrogates": ("", "\ud800", ""),
    "conjunctions": ("", "when it ", ","),
    "clauses": ("", "it holds one, and it ", ""),
    "keys": ("", "key=", ""),
    "passwords": ("", "password: ", ""),
    "addresses": ("", "https://a:", ""),
    "half tokens": ("", "-eyJabcdefgh", ""),
    "private keys": ("", "-----BEGIN PRIVATE KEY-----\n", ""),
    "open objects": ("", '{"a":', ""),
    "open lists": ("", "[1,", ""),
    "keys of one object": ("{", '"a":1,', '"b":2}'),
    "tagged calls": ("", "<tool_call>{", ""),
    "calls in brackets": ("", "[TOOL_CALLS]x[ARGS]{", ""),
    "heads of calls": ("", "<｜tool▁call▁begin｜>", ""),
    "channels": ("", "to=functions.", ""),
    "Kimi's calls": ("", "<|tool_call_begin|>functions.", ""),
    "parameters": ("lookup", "<parameter=a>", ""),
    "argument keys": ("lookup", "<arg_key>a</arg_key>", ""),
    "bare calls": ("", "lookup{", ""),
    "marked blocks": ("", "<<<GUARDRAIL_SNIPPETS\n[s1]\nx\nGUARDRAIL_SNIPPETS>>>\n", ""),
    "open blocks": ("", "<<<GUARDRAIL_SNIPPETS\n", ""),
    "block headers": ("<<<GUARDRAIL_SNIPPETS\n", '[s1] source="', "\nGUARDRAIL_SNIPPETS>>>"),
    "attachments": ("ATTACHMENTS:\n", "Name: a\nContents:\n\n=====\nb\n=====\nc", ""),
    "names on one line": ("ATTACHMENTS:\n", "Name: ", ""),
    "notes of ours": ("a", "\n\n⚠ Guardrails: b", ""),
    "page numbers": ("", "page 1 of 2\n", ""),
    "templates": ("", "{{ a ", ""),
    "chunks": ("", "<<document chunk>>", ""),
    "loop of a phrase": ("", "the same again and ", ""),
}


def written(name: str, size: int) -> str:
    before, unit, after = HOSTILE[name]
    return before + unit * max(1, (size - len(before) - len(after)) // len(unit)) + after


# --- what reads them ------------------------------------------------------------------------------------


def _score(answer: str) -> None:
    AnswerScorer(SNIPPETS, "How many tokens does the cache hold?").score(answer)


def _score_snippet(body: str) -> None:
    snippets = (make_snippet(body, position=0), *SNIPPETS)
    AnswerScorer(snippets, "How many tokens does the cache hold?").score("The cache holds 8,192 tokens [s2].")


def _markdown(body: str) -> None:
    as_markdown(Report("t", "s", (Line(body, Gate.PASS, "y"),)))


def _knowledge(body: str) -> None:
    for section in knowledge_text._markdown_sections(body):
        knowledge_split.snippet_spans(body, section.span)


READERS: dict[str, Callable[[str], object]] = {
    "words": records.words,
    "words with places": text.words_of,
    "sentences": text.sentences_of,
    "passages": passages.split_passages,
    "numbers": lambda body: quantities.quantities_of.__wrapped__(body),
    "numbers, German": lambda body: quantities.quantities_of.__wrapped__(body, "de"),
    "numbers and years": quantities.with_years,
    "dates": lambda body: dates.dates_of.__wrapped__(body),
    "times": clock.clock_times,
    "language": language.language_of,
    "claims": claims.pieces_of,
    "markup": lambda body: markup.without_markup(body, SNIPPETS),
    "citations": lambda body: citations.find_citations(body, SNIPPETS),
    "findings of citations": lambda body: citation_findings(body, SNIPPETS, ()),
    "answer of a reply": reply_text.answer_of,
    "is a call": reply_text.is_tool_call,
    "calls": lambda body: tool_attempts.find_attempts(body, ("lookup",)),
    "prose beside calls": tool_attempts.prose_beside,
    "values of a call": lambda body: tool_attempts.restore_text(body, "lookup", {"a": 1}, lambda *_: False),
    "strict JSON": json_strict.read_json,
    "JSON in a text": lambda body: list(json_strict.json_spans(body)),
    "secrets": secrets.masked,
    "line of ours": lambda body: acting_texts.plain(body, 80),
    "without our line": acting_texts.without_annotation,
    "loops": detect_text.loops,
    "system prompt": lambda body: detect_text.system_prompt_leak(body, body),
    "repetition": repetition.repetition_of,
    "numbers of an answer": agreement.numbers_of,
    "polarity": agreement.polarity_of,
    "refusal": agreement.is_refusal,
    "other forms": paraphrase.forms_of,
    "shared words": lambda body: relevance.shared_words(body, body),
    "marked blocks": marked_block.find_blocks,
    "without marked blocks": marked_block.without_blocks,
    "a block written": lambda body: marked_block.format_block((make_snippet(body, position=0),)),
    "attachments": attachments.in_prompt,
    "what speaks to the model": lambda body: addressed.addressed_findings((make_snippet(body, position=0),)),
    "sources in a prompt": lambda body: pieces.pieces_of(body, {"internal": [[body, body]]}, continued=body),
    "injected text": lambda body: injected.injected_snippets(body, (), ()),
    "question of a prompt": question_of_prompt,
    "sentences of a document": knowledge_split.sentence_spans,
    "snippets of a document": _knowledge,
    "matching words": lambda body: matching_spans(body, body, Span(0, len(body))),
    "markup of the panel": lambda body: el("p", body, title=body),
    "report": _markdown,
    "support of an answer": _score,
    "support by a snippet": _score_snippet,
}
COMPOUND = {
    "numbers, German", "numbers and years", "numbers of an answer", "claims", "refusal", "shared words",
    "polarity",
    "support of an answer", "support by a snippet",
}  # fmt: skip
CACHES = (quantities.quantities_of, dates.dates_of, text.stem_of)


def seconds_of(read: Callable[[str], object], body: str) -> float:
    """Processor time of reading `body` for the first time."""
    for cached in CACHES:
        cached.cache_clear()
    gc.disable()
    try:
        started_s = time.process_time()
        read(body)
        return time.process_time() - started_s
    finally:
        gc.enable()


def assert_linear(read: Callable[[str], object], write: Callable[[int], str], start: int = SIZE) -> None:
    """The time grows less than it may at one doubling of two: noise spoils one, the square shows at both."""
    for size in SMALL:
        body = write(size)
        assert seconds_of(read, body) < MOST_SMALL_S, f"{size} characters take too long: {body[:60]!r}"
    bodies = [write(start * factor) for factor in (1, 2, 4)]
    if seconds_of(read, bodies[0]) < FLOOR_S:
        return
    best_s = [float("inf")] * len(bodies)
    for _ in range(TRIES):
        for index, body in enumerate(bodies):
            best_s[index] = min(best_s[index], seconds_of(read, body))
            if index and best_s[index] <= MOST_GROWTH * max(best_s[index - 1], FLOOR_S):
                return
        if min(best_s[1:]) > CERTAIN_S:
            break
    told_s = ", ".join(f"{len(body)}: {took_s:.4f}" for body, took_s in zip(bodies, best_s, strict=True))
    raise AssertionError(f"characters and the seconds they take: {told_s}; {bodies[0][:60]!r}")


def test_there_are_texts_enough():
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", READERS)
def test_reading_twice_the_text_takes_about_twice_the_time(name):
    READERS[name]("One first, for what is imported and loaded: 2 May 2019, 9:30, twenty.")
    for hostile in HOSTILE:
        with told(f"{name}, {hostile}"):
            size = SMALLER_SIZE if name in COMPOUND else SIZE
            assert_linear(READERS[name], lambda size, hostile=hostile: written(hostile, size), size)


def test_what_looks_for_growth_finds_it():
    with pytest.raises(AssertionError, match="the seconds they take"):
        assert_linear(lambda body: re.findall(r"\s*\n", body), lambda size: " " * size)
    with pytest.raises(AssertionError, match="too long"):
        assert_linear(lambda body: re.match(r"(?:\s?\d{1,3})+\]", body), lambda size: "1" * size)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from None


# --- each regular expression by itself -------------------------------------------------------------------

# Files whose expressions read no text of a user, a model, a tool or a document.
NOT_OVER_TEXT = {
    "tools/locks/llamacpp_grammar.py": "reads the grammar that llguidance's own converter wrote",
    "standalone/webui": "imports the host's modules",
    "standalone/page.py": "imports the host's modules",
}


def expressions() -> Iterator[tuple[str, re.Pattern[str], str]]:
    """(name, pattern, how it is asked: `match`, `fullmatch` or `search`) of each expression over text."""
    for path in sorted((EXTENSION / "exllama_guard").rglob("*.py")):
        shown = path.relative_to(EXTENSION / "exllama_guard").as_posix()
        if shown.startswith(tuple(NOT_OVER_TEXT)) or path.name == "__init__.py":
            continue
        source = path.read_text(encoding="utf-8")
        if "re." not in source:
            continue
        module = importlib.import_module(".".join(path.relative_to(EXTENSION).with_suffix("").parts))
        for name, value in vars(module).items():
            methods = set(re.findall(rf"\b{re.escape(name)}\.(\w+)", source))
            how = next(iter(methods)) if methods in ({"match"}, {"fullmatch"}) else "search"
            for pattern in _patterns(value):
                yield f"{shown} {name}", pattern, how
        for call in ast.walk(ast.parse(source)):
            if (literal := _literal(call)) is not None:
                yield f"{shown} line {call.lineno}", *literal


def _patterns(value: object, depth: int = 0) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif depth < 4 and isinstance(value, (tuple, list)):
        for part in value:
            yield from _patterns(part, depth + 1)
    elif depth < 4 and dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _patterns(getattr(value, field.name, None), depth + 1)


def _literal(call: ast.AST) -> tuple[re.Pattern[str], str] | None:
    """The expression of `re.sub("...", ...)` and its like, and how it is asked."""
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
        return None
    of_re = isinstance(call.func.value, ast.Name) and call.func.value.id == "re"
    first = call.args[0] if call.args else None
    if (
        call.func.attr in ("compile", "escape")
        or not of_re
        or not isinstance(first, ast.Constant)
        or not isinstance(first.value, str)
    ):
        return None
    return re.compile(first.value), call.func.attr if call.func.attr in ("match", "fullmatch") else "search"


@lru_cache(maxsize=1)
def distinct() -> dict[tuple[str, int, str], str]:
    return {(pattern.pattern, pattern.flags, how): name for name, pattern, how in expressions()}


def test_the_expressions_are_found():
    assert len(distinct()) > 90
    files = {name.partition(" ")[0] for name in distinct().values()}
    assert {"grounding/support/quantities.py", "tools/grammar/formats.py", "trace/secrets.py"} <= files


@pytest.mark.parametrize(
    "source",
    [
        r"\[(?:\s?\d{1,3}[,;]?)+\]",
        r"\s*\n\s*",
        r"<b>(\S+?)</b>",
        r"# (.+?) *#* *\Z",
        r"(?:a|b|ab)+!",
        r"“[^”]*”",
    ],
)
def test_an_expression_that_may_take_its_time_is_found(source):
    pattern = re.compile(source)
    with pytest.raises(AssertionError, match="take"):
        for attack in attacks(pattern):
            assert_linear(_reader(pattern, "search"), attack.write)


def test_each_regular_expression_gives_up_in_the_time_of_the_text():
    for (source, flags, how), name in distinct().items():
        pattern = re.compile(source, flags)
        with told(name):
            for attack in attacks(pattern):
                assert_linear(_reader(pattern, how), attack.write)


def _reader(pattern: re.Pattern[str], how: str) -> Callable[[str], object]:
    if how == "search":
        return lambda body: sum(1 for _ in pattern.finditer(body))
    return pattern.match if how == "match" else pattern.fullmatch
