"""Serves a page with the panel over a scripted monitor: `python tests/panel/demo.py PORT [SECONDS] [LOGINS]`.

Lines on standard input drive it: `stream N`, `run N good|bad`, `problem TEXT`, `quit`; it prints `ready` once it
serves and `done` after each line.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).parents[2] / "extensions" / "exllama_guardrails"),
    str(Path(__file__).parent),
]

import gradio as gr
from scripted import BAD, GOOD, run_turn, scripted_monitor, stream_turn

from exllama_guard.monitor import Monitor
from exllama_guard.panel.view import build_panel
from exllama_guard.settings import Settings


def serve(monitor: Monitor, port: int, auth: list[tuple[str, str]] | None) -> gr.Blocks:
    with gr.Blocks(title="Guardrails", analytics_enabled=False) as page:
        gr.Markdown("### Chat stands here")
        build_panel(monitor)
    page.queue()
    page.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, quiet=True, auth=auth)
    return page


def obey(monitor: Monitor, line: str) -> None:
    what, *rest = line.split(maxsplit=2)
    if what == "run":
        run_turn(monitor, int(rest[0]), GOOD if rest[1] == "good" else BAD)
    elif what == "stream":
        stream_turn(monitor, int(rest[0]), BAD, pause_s=0.12)
    elif what == "problem":
        monitor.report_problem(" ".join(rest), "demo")


def main() -> None:
    port = int(sys.argv[1])
    folder = sys.argv[2] if len(sys.argv) > 2 else ""
    logins = [tuple(pair.split(":")) for pair in sys.argv[3].split(",")] if len(sys.argv) > 3 else None
    monitor = scripted_monitor(Settings(trace_folder=folder))
    page = serve(monitor, port, logins)  # type: ignore[arg-type]
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        obey(monitor, line.strip())
        print("done", flush=True)
    page.close()


if __name__ == "__main__":
    main()
