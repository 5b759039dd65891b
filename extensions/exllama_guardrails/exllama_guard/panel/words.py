"""Every sentence and word that explains a number: short, plain, and also what the number does not mean."""

from __future__ import annotations

from exllama_guard.core.measures import Gate, Reason, Zone

GATE_WORDS = {
    Gate.PASS: "Pass",
    Gate.REVIEW: "Review",
    Gate.FAIL: "Fail",
    Gate.NOT_MEASURED: "Not measured",
}

GATE_TONES = {Gate.PASS: "pass", Gate.REVIEW: "review", Gate.FAIL: "fail", Gate.NOT_MEASURED: "none"}

CLAIM_WORDS = {
    Gate.PASS: "supported by the snippets",
    Gate.REVIEW: "only partly supported",
    Gate.FAIL: "not supported by the snippets",
    Gate.NOT_MEASURED: "not checked",
}

ZONE_TONES = {Zone.SAFE: "pass", Zone.TRANSIT: "review", Zone.RISK: "fail", Zone.DANGER: "fail"}

EXPLANATIONS = {
    "question_context": "How far the question lies from the retrieved text: 0 is the same meaning. "
    "It judges the retrieval, not whether the answer is true.",
    "answer_context": "How far the answer lies from its nearest snippet. "
    "A changed number hardly moves it, so a low value proves nothing.",
    "answer_anchor": "How far the answer lies from the passage it should rest on. "
    "Close in meaning is not the same as correct.",
    "context_anchor": "How far the nearest snippet lies from the passage the answer should rest on. "
    "It says nothing about the answer.",
    "question_answer": "How far the answer lies from the question. "
    "Low means on topic; it does not mean right.",
    "support": "How likely the snippets support the weakest sentence of the answer, from 0 to 1. "
    "It checks against the snippets, not against the world.",
    "relevance": "How likely the answer speaks of what was asked, from 0 to 1. "
    "A relevant answer can still be wrong.",
    "coverage": "Share of the needed passage that was really in front of the model. "
    "High coverage does not mean the model used it.",
    "bleed": "Share of the cited text that comes from other sections than the needed one. "
    "Some bleed is harmless.",
    "resonance": "Mean ΔS of the last answers to their snippets. "
    "0.10 above that of the first five, answers drift away; it does not say why.",
}

NAMES = {
    "question_context": "ΔS question to snippets",
    "answer_context": "ΔS answer to snippets",
    "answer_anchor": "ΔS answer to anchor",
    "context_anchor": "ΔS snippets to anchor",
    "question_answer": "ΔS question to answer",
    "support": "Support",
    "relevance": "Relevance",
    "coverage": "Coverage",
    "bleed": "Bleed",
    "resonance": "E_resonance",
}

PROXY_NOTE = "No anchor was given, so the best supporting snippet stands in."

REASON_WORDS = {
    Reason.NO_QUESTION: "there was no question",
    Reason.NO_SNIPPETS: "nothing was retrieved",
    Reason.INDEXING: "the documents are still being indexed",
    Reason.NO_ANCHOR: "no passage to compare with",
    Reason.NO_CITATIONS: "the answer cites nothing",
    Reason.NO_CLAIMS: "the reply states nothing to check",
    Reason.EMPTY_ANSWER: "the reply is empty",
    Reason.ZERO_VECTOR: "the text has no content for the embedder",
    Reason.EMBEDDER_MISSING: "no embedding model is installed",
    Reason.EMBEDDER_FAILED: "the embedding model failed",
    Reason.STOPPED: "stopped by the user",
    Reason.NO_SECOND_MODE: "there is no second mode to compare with",
    Reason.DETERMINISTIC_SAMPLER: "the sampler is deterministic",
    Reason.NOT_ENOUGH_DATA: "not enough data yet",
    Reason.TOOL_CALL: "the reply is a tool call",
    Reason.NO_MODEL: "no model is loaded",
    Reason.NOT_SUPPORTED: "not possible with this loader",
    Reason.SWITCHED_OFF: "switched off",
    Reason.SHED: "dropped, too much was waiting",
    Reason.FAILED: "it failed; the log has the details",
}

SETTING_GROUPS = (
    (
        "Limits",
        (
            "distance_pass",
            "distance_fail",
            "coverage_pass",
            "bleed_pass",
            "support_pass",
            "support_fail",
            "relevance_limit",
        ),
    ),
    (
        "Act on the verdict",
        (
            "on_fail",
            "on_review",
            "annotate_citations",
            "act_wait_ms",
            "refuse_unchecked",
            "repair_tries",
            "repair_temperature",
            "repair_seed",
            "repair_limit_s",
            "repair_others_wait_s",
            "hold_api_stream",
            "api_report",
        ),
    ),
    ("Live and memory", ("live_updates_per_s", "turns_kept", "resonance_window", "queue_limit")),
    (
        "Models",
        (
            "embedder",
            "verifier",
            "reader",
            "second_reader",
            "second_reader_wait_s",
            "second_reader_limit_s",
        ),
    ),
    ("Knowledge folder", ("knowledge_folder", "knowledge_snippets")),
    ("After a model load", ("warmup", "warmup_limit_s", "rotation", "rotation_tokens")),
    ("Tools", ("tool_lock", "invented_arguments")),
    ("Traces", ("traces", "trace_text", "trace_folder", "trace_file_bytes", "trace_files_kept")),
)

# Settings that have a form of their own elsewhere in the panel.
SETTINGS_ELSEWHERE = ("enabled", "answer_schema")

CHOICE_WORDS = {
    "off": "off: calls run unchecked",
    "check": "check before a call runs",
    "enforce-calls": "enforce inside calls",
    "enforce-always": "every reply is a call",
    "show": "show: only in this panel",
    "annotate": "annotate: one line under the answer",
    "repair": "repair: one new try from the snippets",
    "refuse": "refuse: what is missing instead",
    "block": "block: the call does not run, the model is told why",
}

# Where a word means something else in one setting.
CHOICES_OF = {
    "second_reader": {
        "off": "off: it is not asked",
        "on": "on: where it was measured and is of use",
        "auto": "auto: measured by itself, too, when idle",
    },
}

SETTING_HINTS = {
    "distance_pass": ("ΔS passes up to", "Questions nearer to their snippets than this pass."),
    "distance_fail": ("ΔS fails from", "From here on, the snippets are about something else."),
    "coverage_pass": ("Coverage passes from", "Share of the needed passage that must be there."),
    "bleed_pass": ("Bleed passes up to", "Share of cited text that may come from other sections."),
    "support_pass": ("Support passes from", "Empty: the value that was fitted on public data."),
    "relevance_limit": ("Relevance passes from", "Empty: the value that was fitted on public data."),
    "on_fail": (
        "An answer that fails",
        "Is shown, annotated, tried once more, or replaced by what is missing.",
    ),
    "on_review": ("An answer to review", "The same, for answers that need a second look."),
    "annotate_citations": ("Name the snippets", "The line also says which snippet supports each statement."),
    "act_wait_ms": (
        "Wait for the verdict",
        "Milliseconds after the last word, at most; then a line says that the answer was not checked.",
    ),
    "refuse_unchecked": (
        "Refuse what was not checked",
        "Where refusing is set and no verdict comes in time. Off: the answer stands with a line.",
    ),
    "repair_tries": ("Tries of a repair", "One or two; the better supported answer is kept."),
    "repair_temperature": ("Temperature of a repair", "At most 0.2, so that the new try keeps to the text."),
    "repair_seed": ("Seed of a repair", "The same each time, so that a repair can be repeated."),
    "repair_limit_s": ("Longest repair", "Seconds for all tries; then the first answer stands."),
    "repair_others_wait_s": ("Others wait at most", "No repair starts when somebody has waited longer."),
    "hold_api_stream": (
        "Hold API streams",
        "A streamed answer is sent once it is checked. Off: only annotated.",
    ),
    "api_report": ("Report in API responses", "Adds an object “guardrails” with the verdict."),
    "support_fail": ("Support fails below", "Empty: the value that was fitted on public data."),
    "live_updates_per_s": ("Updates while streaming", "Times a second that the growing reply is scored."),
    "turns_kept": ("Turns in the panel", "Kept in memory; the traces keep all."),
    "resonance_window": ("Window of E_resonance", "Number of turns that the rolling mean looks back."),
    "queue_limit": ("Replies that may wait", "Beyond this the oldest waiting check is dropped and counted."),
    "embedder": ("Embedding model", "A folder or a name; empty: the small one that is installed."),
    "reader": ("Reader", "built-in: a small model reads each finished answer again; empty: none."),
    "second_reader": (
        "Loaded model as second reader",
        "The model that chats is asked about undecided statements while it is idle; see the Model tab.",
    ),
    "second_reader_wait_s": ("Ask it after", "Seconds without any reply; who asks something goes first."),
    "second_reader_limit_s": (
        "Wait for its opinion",
        "Seconds that an answer waits where something is done because of its verdict; 0: not at all.",
    ),
    "verifier": ("Verifier", "A cross-encoder folder or name; empty: the built-in checks."),
    "knowledge_folder": ("Folder of documents", "Text, Markdown and PDF files to answer from; empty: none."),
    "knowledge_snippets": ("Snippets a question", "How many passages go into the prompt."),
    "warmup": ("Warm up", "Short runs after a load, so that the first real answer is not the slow one."),
    "warmup_limit_s": ("Longest wait for it", "Seconds that a request waits; then it goes on unwarmed."),
    "rotation": ("Rotate the cache", "Empties the KV cache between answers; never inside one."),
    "rotation_tokens": ("Rotate after", "Tokens read and written since the last time."),
    "tool_lock": ("Tool calls", "What happens to a call that does not fit its tool's schema."),
    "invented_arguments": (
        "Values from nowhere",
        "A value in a call that stands neither in the chat nor in the tool's schema.",
    ),
    "traces": ("Write traces", "One line a turn, in a file only you can read."),
    "trace_text": ("With texts", "Off: only hashes and numbers are written."),
    "trace_folder": ("Trace folder", "Empty: a folder in the host's user data."),
    "trace_file_bytes": ("Size of a trace file", "Bytes; then a new file begins."),
    "trace_files_kept": ("Trace files kept", "The oldest is deleted beyond this."),
}
