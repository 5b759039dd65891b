"""What a repair brings and costs: 40 questions on the shipped documents, the small model, the embedded host.

    python tests/bench/acting.py run --results FILE.jsonl [--first 0 --count 8]    asks and appends
    python tests/bench/acting.py table --results FILE.jsonl                         prints the table
    python tests/bench/acting.py speed [--rounds 40]            what annotate and refuse add

Each question is asked once with `on_fail` and `on_review` set to repair. Its first try is what *show* gives,
the kept one what *repair* gives, so both columns are of the same answers. Supported is a verdict PASS;
32 questions are answered in the documents and 8 are not. Greedy sampling, so a run can be repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
sys.path.insert(0, str(EXTENSION))

IN_DOCUMENTS = (
    "How many bytes of cache does a model with 32 layers need for each token?",
    "After how many tokens is the cache rotated by default?",
    "What are the four actions on the cache?",
    "What forces a reset of the cache?",
    "What can a reset of the cache not cure?",
    "What does a reset of the cache cost?",
    "Up to which distance is a turn a pass?",
    "What are the four zones?",
    "How many of the correct pairs had a distance above 0.45?",
    "Who chose the model of the Harbour Library?",
    "When did the Harbour Library set up its assistant?",
    "How many questions a week does the assistant of the Harbour Library answer?",
    "What did the assistant tell a visitor on 2 June 2025?",
    "To what did the share of failed answers fall in the Harbour Library?",
    "How many GPUs does the machine of the Harbour Library have?",
    "Which format belongs to ExLlamaV2?",
    "How much memory does a model with 7 billion weights take at 4 bits per weight?",
    "What is the reference of a comparison of quantisations?",
    "When do two modes count as flat?",
    "In which version did TextGen WebUI remove the ExLlamaV2 loaders?",
    "Which files may a knowledge folder hold?",
    "How many words does a snippet of the knowledge folder have?",
    "How many snippets go into the prompt?",
    "When does the index hash change?",
    "How many word pieces does the embedder read at most?",
    "What is coverage?",
    "From which value on is coverage a pass?",
    "What is a citation?",
    "When is a tool's schema locked?",
    "Which parse rate is reported as a broken tool schema?",
    "How many new tokens has the dummy batch of the warm-up fence?",
    "What happens to a request that arrives while the fence is up?",
)
NOT_IN_DOCUMENTS = (
    "How many books does the Harbour Library own?",
    "In which city is the Harbour Library?",
    "What does a graphics card for a 7 billion model cost?",
    "Who invented the embedder all-MiniLM-L6-v2?",
    "How many people use TextGen WebUI?",
    "Which operating system does the machine of the Harbour Library run?",
    "How long did Ana Ribeiro work at the library?",
    "What colour is the warm-up fence?",
)
QUESTIONS = (*IN_DOCUMENTS, *NOT_IN_DOCUMENTS)


def started() -> Any:
    """The embedded host with its model loaded and its folder indexed; gives its chat module."""
    from exllama_guard.standalone.run import Options, boot

    loading = boot(Options(browser=False, user_data=Path("/tmp/exllama_guardrails_bench")))  # noqa: S108
    loading.start()
    from modules import chat, extensions, shared

    extensions.load_extensions()
    assert loading.done.wait(300), "the model did not load"
    from exllama_guard.host.session import session

    monitor = session().monitor
    problems = monitor.change_settings(
        on_fail="repair", on_review="repair", act_wait_ms=10_000.0, repair_limit_s=300.0, traces=False
    )
    assert not problems, problems
    assert monitor.wait_until_idle(300)
    deadline = time.monotonic() + 300
    while monitor.knowledge is None or not monitor.knowledge.index_hash:
        assert time.monotonic() < deadline, "the documents were not indexed"
        time.sleep(0.5)
    return chat, shared, monitor


def run(results: Path, first: int, count: int) -> None:
    """Asks the questions of this chunk that the file does not have yet."""
    done = (
        {json.loads(line)["question"] for line in results.read_text("utf-8").splitlines()}
        if results.exists()
        else set()
    )
    chunk = [question for question in QUESTIONS[first : first + count] if question not in done]
    if not chunk:
        return
    chat, shared, monitor = started()
    from exllama_guard.trace.line import to_line
    from exllama_guard.trace.record import record_of

    with results.open("a", encoding="utf-8") as out:
        for question in chunk:
            state = {
                **shared.settings,
                "history": {"internal": [], "visible": [], "metadata": {}},
                "unique_id": f"bench-{QUESTIONS.index(question)}",
            }
            began = time.monotonic()
            for _history in chat.generate_chat_reply(question, state, loading_message=False, for_ui=True):
                pass
            took_s = time.monotonic() - began
            assert monitor.wait_until_idle(120)
            record = json.loads(to_line(record_of(monitor.snapshot(None).turns[0])))
            row = {
                "question": question,
                "took_s": took_s,
                "in_documents": question in IN_DOCUMENTS,
                **shortened(record),
            }
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            out.flush()
            print(f"{took_s:6.1f} s  {row['verdict']:<12} {row['why'] or '-':<70.70} {question}")


def shortened(record: dict[str, Any]) -> dict[str, Any]:
    """What the table needs of a trace record."""
    acted = record["acted"]
    return {
        "verdict": record["verdict"]["gate"],
        "support": record["support"]["support"],
        "relevance": record["relevance"]["relevance"],
        "answer": record["answer"],
        "why": acted["why"] if acted else "",
        "waited_ms": acted["waited_ms"] if acted else None,
        "tries": acted["tries"] if acted else [],
    }


def table(results: Path) -> None:
    """Prints the two columns, all and by kind of question."""
    rows = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    for name, wanted in (("all", (True, False)), ("in the documents", (True,)), ("not in them", (False,))):
        of = [row for row in rows if row["in_documents"] in wanted]
        shown = [row["tries"][0] if row["tries"] else row_as_try(row) for row in of]
        kept = [next((one for one in row["tries"] if one["kept"]), row_as_try(row)) for row in of]
        print(f"\n{name}: {len(of)} questions, {sum(len(row['tries']) > 1 for row in of)} repaired at all")
        for label, tries in (("show", shown), ("repair", kept)):
            gates = {
                g: sum(one["gate"] == g for one in tries) for g in ("PASS", "REVIEW", "FAIL", "NOT_MEASURED")
            }
            support = numbers(one["support"] for one in tries)
            relevance = numbers(one["relevance"] for one in tries)
            print(
                f"  {label:<7} {gates}  mean support {mean(support)}  mean relevance {mean(relevance)} "
                f"(n={len(support)}, {len(relevance)})"
            )
        added = [sum(one["took_s"] for one in row["tries"][1:]) for row in of if len(row["tries"]) > 1]
        if added:
            print(f"  added by a repair: median {statistics.median(added):.1f} s, most {max(added):.1f} s")
        changed = [row for row in of if row["tries"] and not row["tries"][0]["kept"]]
        print(f"  another try kept: {len(changed)}")


def speed(rounds: int) -> None:
    """Milliseconds from the last token until the line or the refusal is there; no model runs beside it.

    An answer of 8 sentences over 5 snippets of 120 words grows word by word, 50 a second, and is scored live
    meanwhile, as in a chat.
    """
    from exllama_guard.acting.texts import annotation, refusal
    from exllama_guard.assembly import build_monitor
    from exllama_guard.core.snippets import make_snippet
    from exllama_guard.core.turns import Finish, TurnRequest
    from exllama_guard.settings import Settings

    documents = [path.read_text("utf-8") for path in sorted((EXTENSION / "docs_example").glob("*.md"))]
    sentences = [
        part.strip() + "." for text in documents for part in text.split(".") if len(part.split()) > 6
    ]
    monitor = build_monitor(Settings(traces=False, on_fail="annotate", on_review="annotate"))
    monitor.check_pasted("warm", ["warm up text"], "A warm-up answer that says something.")
    times: dict[str, list[float]] = {"annotate": [], "refuse": []}
    for number in range(rounds):
        for name, write in (("annotate", annotation), ("refuse", refusal)):
            words = [" ".join(text.split()[:120]) for text in documents[number % 4 :][:5]]
            snippets = tuple(make_snippet(text, position=place) for place, text in enumerate(words))
            start = number * 8 % (len(sentences) - 8)
            answer = " ".join(sentences[start : start + 8])
            handle = monitor.open_turn(TurnRequest(f"{name}{number}", QUESTIONS[number % 40], snippets))
            so_far = ""
            for word in answer.split():
                so_far += f"{word} "
                handle.chunk(so_far)
                time.sleep(0.02)
            began = time.perf_counter()
            write(handle.score(answer, Finish.COMPLETE).result())
            times[name].append((time.perf_counter() - began) * 1e3)
            handle.close(answer, Finish.COMPLETE)
            monitor.wait_until_idle(30)
    for name, of in times.items():
        cuts = statistics.quantiles(of, n=20, method="inclusive")
        over = sum(value > 100 for value in of)
        print(
            f"{name:<9} added ms: median {cuts[9]:.1f}, p95 {cuts[18]:.1f}, most {max(of):.1f}, "
            f"over 100: {over} of {len(of)}"
        )


def row_as_try(row: dict[str, Any]) -> dict[str, Any]:
    """A turn without tries as its only one."""
    return {"gate": row["verdict"], "support": row["support"], "relevance": row["relevance"], "kept": True}


def numbers(values: Any) -> list[float]:
    """Those that were scored."""
    return [value for value in values if isinstance(value, float)]


def mean(values: list[float]) -> str:
    """Two digits, or a dash."""
    return f"{statistics.mean(values):.2f}" if values else "-"


def main() -> None:
    """Runs a chunk or prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table", "speed"))
    parser.add_argument("--results", type=Path, default=Path("acting.jsonl"))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=len(QUESTIONS))
    options = parser.parse_args()
    if options.what == "run":
        run(options.results, options.first, options.count)
    elif options.what == "table":
        table(options.results)
    else:
        speed(options.rounds)


if __name__ == "__main__":
    main()
