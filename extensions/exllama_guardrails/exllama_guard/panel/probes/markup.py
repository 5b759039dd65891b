"""HTML of the Probes tab: does the model answer the same when asked again, and reports of the commands."""

from __future__ import annotations

from collections.abc import Sequence

from exllama_guard.core.html import Html, el, join
from exllama_guard.panel.forms import GOLD_FILES, field, file_row, submit
from exllama_guard.panel.html import badge, empty, table
from exllama_guard.panel.probes.rows import AnswerCell, ProbeRows
from exllama_guard.panel.report.markup import downloads, work_card
from exllama_guard.panel.report.rows import WorkRow

__all__ = ["agreement", "gold_form", "probe_form", "replay_form", "waiting"]

_TONES = {"→": "pass", "<>": "review", "←": "review", "×": "fail"}
_FORM_NAMES = ("The question", "Paraphrase 1", "Paraphrase 2")
_NO_HOST = ("Probes are not running", "They start with the extension; reload the page in a moment.")


def waiting() -> Html:
    """Before the host's adapter has made the probes."""
    return empty(*_NO_HOST)


def probe_form(forms: Sequence[str], snippets: int, work: WorkRow, question_known: bool) -> Html:
    """The forms of the question, editable, and the button that asks them; while it runs, how far it is."""
    about = (
        f"From the newest answer, with its {snippets} snippets." if snippets else "Asked without snippets."
    )
    if not question_known:
        about = "There is no answer to ask again yet. Type a question; its paraphrases are made from it."
    fields = [_form_field(place, form) for place, form in enumerate(forms or ("",))]
    return work_card(
        "λ: does the model answer the same when asked again?",
        "Three forms of one question, two seeds each: six answers are grouped by what they mean. "
        "It takes six replies; people in the chat go first.",
        work,
        el(
            "form",
            fields,
            el("p", about, cls="eg-note"),
            el(
                "div",
                submit("Ask six times", primary=True),
                _tick("strict", " strict: all six must agree"),
                cls="eg-row",
            ),
            data_form="probe",
            cls="eg-form eg-tight",
        ),
        label="λ probe",
        stop="stop-probe",
    )


def _tick(name: str, text: str) -> Html:
    return el("label", el("input", type="checkbox", name=name, data_kind="bool"), text, cls="eg-inline")


def _form_field(place: int, text: str) -> Html:
    return field(_FORM_NAMES[min(place, 2)], el("textarea", text, name=f"form_{place}", rows=2))


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
    body = [_grid_row(form, {cell.seed: cell for cell in cells}, seeds) for form, cells in grid]
    return table(("Form", *(f"Seed {seed}" for seed in seeds)), body, cls="eg-grid", label="Answers")


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


def gold_form(work: WorkRow) -> Html:
    """The form that runs a gold set, or how far it is."""
    return work_card(
        "Gold set: is what is known still found and answered?",
        "One JSON object a line with a question and its anchor, the passage that answers it. Each is "
        "asked in three forms; ΔS and coverage must hold in all three.",
        work,
        el(
            "form",
            file_row(
                "gold", "Gold set", GOLD_FILES, "Run", _tick("answers", " with answers of the model (slow)")
            ),
            data_form="verify",
            cls="eg-form",
        ),
        label="Gold set",
        stop="stop-verify",
    )


def replay_form(work: WorkRow) -> Html:
    """The button that asks again with other extensions on and off, or how far it is."""
    ask = el("div", submit("Ask again"), cls="eg-row")
    return work_card(
        "Extensions: does another one change the answer?",
        "Your last three questions are asked again with each other extension on alone and with all off; "
        "prompt, citations and ΔS are compared.",
        work,
        el("form", ask, data_form="replay", cls="eg-form"),
        label="Replay",
        stop="stop-replay",
    )
