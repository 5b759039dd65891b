"""The embedded default: a small host around the very same script.py, a model, a page on this machine only."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exllama_guard.errors import UserError
from exllama_guard.standalone.places import DOCUMENTS, EXTENSION
from exllama_guard.standalone.settings_file import read_settings

if TYPE_CHECKING:
    from exllama_guard.standalone.loading import ModelLoading

__all__ = ["HOST", "Options", "boot", "check_paths", "free_port", "options_of", "parser", "run"]

HOST = "127.0.0.1"  # never another: the page has no password
DEFAULT_PORT = 7861

log = logging.getLogger("webui")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of the embedded default."""

    port: int = DEFAULT_PORT
    model: str = ""
    documents: Path = DOCUMENTS
    user_data: Path = EXTENSION.parents[1] / "user_data"
    browser: bool = True


def run(options: Options) -> int:
    """Exit status of the embedded default, which runs until it is interrupted.

    Raises:
        UserError: No port is free, or a path is not there.
    """
    loading = boot(options)
    from modules import extensions, shared

    from exllama_guard.standalone.page import build_page

    port = free_port(options.port)
    if port != options.port:
        print(f"Port {options.port} is taken by another program; {port} is used instead (--port names one).")
    loading.start()
    browser = options.browser
    while True:
        if shared.args.extensions:  # an empty list is skipped, as the WebUI does
            extensions.load_extensions()
        page = build_page(loading)
        _serve(page.blocks, port, page.launch_options)
        print(f"\n  ExLlama Guardrails: http://{HOST}:{port}   (Ctrl+C ends it)\n", flush=True)
        if browser:
            _open_browser(f"http://{HOST}:{port}")
            browser = False
        try:
            while not shared.need_restart:
                time.sleep(0.2)
        except KeyboardInterrupt:
            page.blocks.close(verbose=False)
            return 0
        shared.need_restart = False
        page.blocks.close(verbose=False)
        _wait_until_free(port)


def boot(options: Options) -> ModelLoading:
    """Puts the host's `modules` in place and fills its settings; the model is loaded by the result's `start`.

    Raises:
        UserError: The model or the folder of documents is not there.
    """
    check_paths(options)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    for folder in (EXTENSION.parents[1], Path(__file__).with_name("webui")):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    from modules import extensions, shared

    from exllama_guard.standalone.loading import ModelLoading

    shared.user_data_dir = options.user_data
    options.user_data.mkdir(parents=True, exist_ok=True)
    file = options.user_data / "settings.yaml"
    shared.settings.update(read_settings(file, shared.settings))
    shared.settings.setdefault(f"{EXTENSION.name}-knowledge_folder", str(options.documents))
    extensions.available_extensions[:] = extensions.find_extensions(EXTENSION.parent)
    shared.args.extensions = [EXTENSION.name]
    return ModelLoading(options.model, _documents_awaited)


def _documents_awaited() -> str:
    """How far the documents are read; "" once questions find their passages, or where nothing will."""
    from exllama_guard.host.session import session
    from exllama_guard.sources import KnowledgeFolder

    folder = session().monitor.knowledge
    if not isinstance(folder, KnowledgeFolder):
        return ""
    status = folder.status
    return "" if status.ready or status.problems else "Reading the documents"


def check_paths(options: Options) -> None:
    """Nothing, when the model and the documents are there.

    Raises:
        UserError: One of them is not, or the port is no port.
    """
    if options.model and not Path(options.model).expanduser().exists():
        raise UserError(
            f"There is no model at {options.model}; --model takes a Hugging Face folder or a .gguf file."
        )
    if not options.documents.expanduser().is_dir():
        raise UserError(f"There is no folder {options.documents}; --docs takes a folder of .md, .txt, .pdf.")


def free_port(wanted: int) -> int:
    """`wanted`, or the next of 50 ports that is free on this machine.

    Raises:
        UserError: None of them is free, or `wanted` is no port.
    """
    if not 1 <= wanted <= 65535:
        raise UserError(f"--port {wanted} is no port; name one from 1024 to 65535.")
    last = min(wanted + 50, 65536)
    for port in range(wanted, last):
        with socket.socket() as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise UserError(f"No port from {wanted} to {last - 1} is free; name another with --port.")


def _wait_until_free(port: int) -> None:
    for _ in range(50):
        if free_port(port) == port:
            return
        time.sleep(0.1)


def _serve(blocks: Any, port: int, launch_options: dict[str, Any]) -> None:  # noqa: ANN401 - gradio is imported late
    from modules.api.script import router
    from starlette.middleware import Middleware

    from exllama_guard.standalone.local_only import LocalOnly

    blocks.queue(default_concurrency_limit=8)
    app, _, _ = blocks.launch(
        server_name=HOST,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        inbrowser=False,
        share=False,
        app_kwargs={"middleware": [Middleware(LocalOnly)]},
        **launch_options,
    )
    before = len(app.router.routes)
    app.include_router(router)
    added = app.router.routes[before:]
    app.router.routes[:] = added + app.router.routes[:before]  # before Gradio's catch-all


def _open_browser(url: str) -> None:
    import webbrowser

    try:
        webbrowser.open(url)
    except webbrowser.Error:
        log.info("No browser was found; open %s yourself.", url)


def parser() -> argparse.ArgumentParser:
    """The command line of the embedded default."""
    made = argparse.ArgumentParser(
        prog="python3 extensions/exllama_guardrails",
        description="A chat beside the guardrail panel, on this machine only, with a very small model.",
    )
    made.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"port of the page (default {DEFAULT_PORT})"
    )
    made.add_argument("--model", default="", help="a Hugging Face folder or a .gguf file")
    made.add_argument(
        "--docs",
        type=Path,
        default=DOCUMENTS,
        metavar="FOLDER",
        help="documents to answer from (.md .txt .pdf)",
    )
    made.add_argument("--user-data-dir", type=Path, help="settings and traces (default: user_data)")
    made.add_argument("--no-browser", action="store_true", help="open no browser")
    return made


def options_of(given: argparse.Namespace) -> Options:
    """The options that were given on the command line."""
    return Options(
        port=given.port,
        model=given.model,
        documents=given.docs.expanduser().resolve(),
        user_data=(given.user_data_dir or Options().user_data).expanduser().resolve(),
        browser=not given.no_browser,
    )
