"""Serves the embedded host's API with a scripted model: `load_program.py PORT TRACES OPTIONS_AS_JSON`.

Options: `token_ms` between two words, `guard` on, off or absent (the host without the extension), `embedder`
fake or real, `embed_ms` that a fake one takes at least, `queue_limit`. Prints `up`, then a JSON object of
what the monitor holds whenever a line comes.
"""

from __future__ import annotations

import json
import re
import sys
import time
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "extensions" / "exllama_guardrails"
MARKER = re.compile(r"m\d+n\d+m")


class Tokenizer:
    """Renders a chat as role and content, counts tokens by length."""

    chat_template = ""
    eos_token_id = 0

    def encode(self, text, **_):
        return list(range(len(text) // 4))


def scripted(text_generation, token_s):
    def generate_reply_HF(question, original_question, state, stopping_strings=None, is_chat=False):
        marker = MARKER.findall(question)[-1]
        text = ""
        for word in f"The passage says that {marker} holds 8192 tokens. It is about {marker}.".split():
            time.sleep(token_s)
            text += word if not text else f" {word}"
            yield text

    text_generation.generate_reply_HF = generate_reply_HF
    text_generation.encode = lambda text, *_, **__: types.SimpleNamespace(shape=(1, len(text) // 4))


def main():
    port, folder, options = int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    sys.path[:0] = [str(EXTENSION)]
    from exllama_guard.standalone import run

    sys.stdout, out = sys.stderr, sys.stdout
    run.boot(run.Options(port=port, user_data=folder))
    from modules import extensions, shared, text_generation

    scripted(text_generation, options.get("token_ms", 1) / 1000)
    shared.model, shared.tokenizer, shared.model_name = object(), Tokenizer(), "scripted"
    name = EXTENSION.name
    given = {"warmup": False, "knowledge_folder": "", "queue_limit": options.get("queue_limit", 64)}
    shared.settings.update({f"{name}-{key}": value for key, value in given.items()})
    guard = options.get("guard", "on")
    monitor = None
    if guard != "absent":
        if options.get("embedder", "fake") == "fake":
            from exllama_guard import assembly
            from exllama_guard.testing import FakeEmbedder
            from exllama_guard.worker import WorkHere, tasks

            class Slow(FakeEmbedder):
                def embed(self, texts):
                    time.sleep(options.get("embed_ms", 0) / 1000)
                    return super().embed(texts)

            assembly.use_work(WorkHere())
            tasks.load_embedder = lambda name: Slow()
        from exllama_guard.host.session import session

        extensions.load_extensions()
        monitor = session().monitor
        monitor.set_enabled(guard == "on")
        monitor.warm()
        monitor.wait_until_idle(120)
    import threading

    import uvicorn
    from fastapi import FastAPI
    from modules.api.script import router

    app = FastAPI()
    app.include_router(router)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    print("up", file=out, flush=True)
    for _ in sys.stdin:
        told = {}
        if monitor is not None:
            told["idle"] = monitor.wait_until_idle(120)
            shown = monitor.snapshot()
            told |= {
                "open": len(monitor._worker._open), "shed": shown.shed, "waiting": shown.waiting,
                "problems": shown.problems, "turns": [t.request.question for t in shown.turns],
            }  # fmt: skip
        print(json.dumps(told), file=out, flush=True)
    server.should_exit = True


if __name__ == "__main__":
    main()
