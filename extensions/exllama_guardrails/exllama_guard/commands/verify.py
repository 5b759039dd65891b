"""`verify`: checks a gold set in three forms of each question, for a build server if wanted."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as Xml

from exllama_guard.commands import command_parser
from exllama_guard.commands.probing import (
    add_report_options,
    add_run_options,
    opened,
    questions,
    report_command,
    running,
)
from exllama_guard.core.measures import Gate
from exllama_guard.errors import UserError
from exllama_guard.probes import GoldSet, Sampling, VerifyJob, run_verify
from exllama_guard.probes.measures import ItemResult, RetrievalLimits
from exllama_guard.probes.reports import environment_rows, verify_report
from exllama_guard.report import Report

if TYPE_CHECKING:
    from exllama_guard.core.ports import Embedder, Retriever

_HELP = """\
Each line of the gold set is one JSON object:
  {"id": "1", "question": "How large is the cache?", "anchor": "The cache holds 8192 tokens.",
   "snippets": ["..."], "forms": ["What is the size of the cache?"]}
An item passes when ΔS(question, snippet) and coverage of the anchor pass in all three forms. Without
'snippets' they are retrieved from --knowledge. Without --model only retrieval is measured. An item
without an anchor is NOT_MEASURED, never PASS.

Exit status: 0 every item passes, 1 one does not (or a line is not usable), 2 could not run.

example:
  python3 extensions/exllama_guardrails verify gold.jsonl --knowledge docs --junit verify.xml
"""


def run(argv: Sequence[str]) -> int:
    """Exit status: 0 every item passes, 1 not, 2 could not run."""
    return report_command("verify", _parser().parse_args(argv), _report, _whole_and_passed)


def _report(options: argparse.Namespace) -> Report:
    gold = questions("verify", options.gold)
    results = _verified(options, gold)
    if options.junit is not None:
        _write_junit(options.junit, results, gold)
    environment = environment_rows(model=options.model or "none: retrieval only")
    return verify_report(results, gold.problems, environment, planned=len(gold.items))


def _whole_and_passed(report: Report) -> bool:
    """Every item passed, and nothing was left out: no stop, no line that could not be used."""
    return not report.not_measured and all(line.gate is Gate.PASS for line in report.lines)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("verify", "Checks a gold set.", _HELP)
    parser.add_argument("gold", type=Path, metavar="GOLD", help="file of JSON lines")
    parser.add_argument("--model", help="[LABEL=]PATH[@PRECISION]: lets this model answer each form")
    parser.add_argument("--knowledge", type=Path, help="folder to retrieve from, for items without snippets")
    parser.add_argument("--snippets", type=int, default=4, help="how many to retrieve (4)")
    parser.add_argument("--max-tokens", type=int, default=96, help="of one answer (96)")
    parser.add_argument("--distance-pass", type=float, default=0.45, help="ΔS limit (0.45)")
    parser.add_argument("--distance-fail", type=float, default=0.60, help="ΔS from here fails (0.60)")
    parser.add_argument("--coverage-pass", type=float, default=0.70, help="coverage limit (0.70)")
    parser.add_argument("--junit", type=Path, help="write JUnit XML")
    add_run_options(parser)
    add_report_options(parser)
    return parser


def _verified(options: argparse.Namespace, gold: GoldSet) -> tuple[ItemResult, ...]:
    from exllama_guard.assembly import embedder_for

    embedder = embedder_for(options.embedder)
    retriever = _retriever(options.knowledge, embedder)
    limits = RetrievalLimits(options.distance_pass, options.distance_fail, options.coverage_pass)
    job = VerifyJob(
        gold.items,
        snippets=options.snippets,
        sampling=Sampling(0.0, 1.0, 0, options.max_tokens),
        limits=limits,
    )
    model = opened(options.model) if options.model else nullcontext()
    with model as mode, running(options.keep, options.quiet) as runner:
        return run_verify(job, runner, embedder=embedder, generator=mode, retriever=retriever)


def _retriever(folder: Path | None, embedder: Embedder) -> Retriever | None:
    if folder is None:
        return None
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; name the folder that holds the documents.")
    from exllama_guard.assembly import documents_reader
    from exllama_guard.sources import KnowledgeFolder

    return KnowledgeFolder(str(folder), embedder, read=documents_reader())


def _write_junit(path: Path, results: Sequence[ItemResult], gold: GoldSet) -> None:
    failed = sum(result.gate in (Gate.FAIL, Gate.REVIEW) for result in results) + len(gold.problems)
    skipped = sum(result.gate is Gate.NOT_MEASURED for result in results)
    suite = Xml.Element(
        "testsuite",
        name="exllama_guardrails verify",
        tests=str(len(results) + len(gold.problems)),
        failures=str(failed),
        skipped=str(skipped),
    )
    for result in results:
        case = Xml.SubElement(suite, "testcase", classname="gold", name=_printable(result.id))
        if result.gate is Gate.NOT_MEASURED:
            Xml.SubElement(case, "skipped", message=_printable(result.reason))
        elif result.gate is not Gate.PASS:
            Xml.SubElement(case, "failure", message=_printable(f"{result.gate.value}: {result.reason}"))
    for number, problem in enumerate(gold.problems, start=1):
        case = Xml.SubElement(suite, "testcase", classname="gold", name=f"unusable line {number}")
        Xml.SubElement(case, "failure", message=_printable(problem))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Xml.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); name another file.") from error


def _printable(text: str) -> str:
    """`text` without the characters that XML 1.0 does not allow."""
    return "".join(c if c.isprintable() or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
