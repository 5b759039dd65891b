"""HTML of the Probes tab: does the model answer the same when asked again, and reports of the commands."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.panel.markup import Html, badge, el, empty, join
from exllama_guard.panel.markup_report import downloads, problem, progress
from exllama_guard.panel.rows_probes import AnswerCell, ProbeRows

__all__ = ["agreement", "compare_form", "gold_form", "probe_form", "replay_form", "waiting"]

_TONES = {"→": "pass", "<>": "review", "←": "review", "×": "fail"}
_FORM_NAMES = ("The question", "Paraphrase 1", "Paraphrase 2")
_NO_HOST = ("Probes are not running", "They start with the extension; reload the page in a moment.")


def waiting() -> Html:
    """Before the host's adapter has made the probes."""
    return empty(*_NO_HOST)


def probe_form(forms: Sequence[str], snippets: int, rows: ProbeRows, question_known: bool) -> Html:
    """The forms of the question, editable, and the button that asks them; while it runs, how far it is."""
    head = join(
        el("h4", "λ: does the model answer the same when asked again?"),
        el(
            "p",
            "Three forms of one question, two seeds each: six answers are grouped by what they mean. "
            "It takes six replies; people in the chat go first.",
            cls="eg-note",
        ),
    )
    if rows.can_stop:
        return join(head, progress(rows.share, rows.progress, "λ probe", "stop-probe"))
    about = (
        f"From the newest answer, with its {snippets} snippets." if snippets else "Asked without snippets."
    )
    if not question_known:
        about = "There is no answer to ask again yet. Type a question; its paraphrases are made from it."
    fields = [_form_field(place, form) for place, form in enumerate(forms or ("",))]
    return join(
        head,
        problem(rows.problem),
        el(
            "form",
            fields,
            el("p", about, cls="eg-note"),
            el(
                "div",
                el("button", "Ask six times", type="submit", cls="eg-btn eg-primary"),
                el(
                    "label",
                    el("input", type="checkbox", name="strict", data_kind="bool"),
                    " strict: all six must agree",
                    cls="eg-inline",
                ),
                cls="eg-row",
            ),
            data_form="probe",
            cls="eg-form eg-tight",
        ),
    )


def _form_field(place: int, text: str) -> Html:
    return el(
        "label",
        el("span", _FORM_NAMES[min(place, 2)], cls="eg-field-name"),
        el("textarea", text, name=f"form_{place}", rows=2),
        cls="eg-field",
    )


def agreement(rows: ProbeRows) -> Html:
    """The verdict, its numbers, and the grid of answers."""
    if rows.badge is None:
        return Html("")
    sign = el("b", f"λ {rows.symbol}", cls="eg-sign") if rows.symbol else None
    return join(
        el(
            "div",
            el("p", badge(rows.badge.word, rows.badge.tone), " ", sign, " ", " ".join(rows.reasons)),
            downloads("probe"),
            cls="eg-ev-head eg-outcome",
        ),
        el("dl", [_number(*number) for number in rows.numbers], cls="eg-about eg-numbers"),
        _grid(rows.grid),
        el(
            "p",
            "The same letter means the same meaning. → agrees, <> agrees in part, × says something else, "
            "← gives up or cites nothing.",
            cls="eg-note",
        ),
    )


def _number(name: str, value: str, explanation: str) -> Html:
    return el(
        "div",
        el("dt", name),
        el(
            "dd",
            el("span", value, cls="eg-missing")
            if value.startswith("not measured")
            else el("b", value, cls="eg-num"),
            el("span", f" {explanation}", cls="eg-note"),
        ),
    )


def _grid(grid: Sequence[tuple[str, Sequence[AnswerCell]]]) -> Html:
    seeds = list(dict.fromkeys(cell.seed for _, cells in grid for cell in cells))
    head = el(
        "tr",
        el("th", "Form", scope="col"),
        [el("th", f"Seed {seed}", scope="col") for seed in seeds],
    )
    body = [_grid_row(form, {cell.seed: cell for cell in cells}, seeds) for form, cells in grid]
    table = el("table", el("thead", head), el("tbody", body), cls="eg-grid")
    return el("div", table, cls="eg-table", tabindex="0", role="region", aria_label="Answers")


def _grid_row(form: str, cells: dict[str, AnswerCell], seeds: Sequence[str]) -> Html:
    return el("tr", el("th", form, scope="row"), [_cell(cells.get(seed), seed) for seed in seeds])


def _cell(cell: AnswerCell | None, seed: str) -> Html:
    if cell is None:
        return el("td", el("span", "not run", cls="eg-note"), data_label=f"Seed {seed}")
    group = el("span", cell.group, cls="eg-group", title=f"Meaning {cell.group}") if cell.group else None
    return el(
        "td",
        el(
            "div",
            group,
            badge(cell.word or "not judged", _TONES.get(cell.symbol, "none")),
            el("span", cell.symbol, cls="eg-note", aria_hidden="true"),
            cls="eg-cell-head",
        ),
        el("p", cell.text or "(empty)", cls="eg-cell-text"),
        el("p", f"cites {cell.cites}", cls="eg-note") if cell.cites else None,
        data_label=f"Seed {seed}",
    )


def gold_form(share: float | None, text: str, sentence: str, running: bool) -> Html:
    """The form that runs a gold set, or how far it is."""
    head = join(
        el("h4", "Gold set: is what is known still found and answered?"),
        el(
            "p",
            "One JSON object a line with a question and its anchor, the passage that answers it. Each is "
            "asked in three forms; ΔS and coverage must hold in all three.",
            cls="eg-note",
        ),
    )
    if running:
        return join(head, progress(share, text, "Gold set", "stop-verify"))
    return join(
        head,
        problem(sentence),
        el(
            "form",
            el(
                "div",
                el("input", type="file", name="gold", accept=".jsonl,.json,.txt", aria_label="Gold set"),
                el("button", "Run", type="submit", cls="eg-btn"),
                el(
                    "label",
                    el("input", type="checkbox", name="answers", data_kind="bool"),
                    " with answers of the model (slow)",
                    cls="eg-inline",
                ),
                cls="eg-row",
            ),
            data_form="verify",
            cls="eg-form",
        ),
    )


def replay_form(share: float | None, text: str, sentence: str, running: bool) -> Html:
    """The button that asks again with other extensions on and off, or how far it is."""
    head = join(
        el("h4", "Extensions: does another one change the answer?"),
        el(
            "p",
            "Your last three questions are asked again with each other extension on alone and with all off; "
            "prompt, citations and ΔS are compared.",
            cls="eg-note",
        ),
    )
    if running:
        return join(head, progress(share, text, "Replay", "stop-replay"))
    ask = el("div", el("button", "Ask again", type="submit", cls="eg-btn"), cls="eg-row")
    return join(head, problem(sentence), el("form", ask, data_form="replay", cls="eg-form"))


def compare_form(opened: bool) -> Html:
    """The form that opens a report file, and how such a file is made."""
    told = (
        "Two quantisations of one model, or two cache types, are compared outside the chat, because each "
        "must be loaded in turn."
    )
    return join(
        el("h4", "Reports: compare modes, and others"),
        el("p", told, cls="eg-note"),
        None
        if opened
        else el(
            "p",
            el("code", "python3 extensions/exllama_guardrails compare A=models/… B=models/… --json out.json"),
            cls="eg-command",
        ),
        el(
            "form",
            el(
                "div",
                el("input", type="file", name="report", accept=".json", aria_label="Report file"),
                el("button", "Open", type="submit", cls="eg-btn"),
                cls="eg-row",
            ),
            data_form="report",
            cls="eg-form",
        ),
    )
