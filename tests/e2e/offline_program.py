"""Starts the embedded default, real models and all, without a network: `offline_program.py DATA`.

Prints as JSON what was tried over the network and what worked without it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "extensions" / "exllama_guardrails")]

from no_network import refused  # noqa: E402 - needs the path


def main() -> None:
    sys.stdout, out = sys.stderr, sys.stdout
    for name in [name for name in os.environ if "OFFLINE" in name or name.lower().endswith("_proxy")]:
        del os.environ[name]
    worked: dict[str, object] = {}
    with refused(loopback=True) as tried:
        from exllama_guard import assembly
        from exllama_guard.standalone import run
        from exllama_guard.worker import Worker

        assembly.use_work(Worker("e2e.offline_tasks"))

        options = run.Options(port=run.free_port(7990), user_data=Path(sys.argv[1]), browser=False)
        loading = run.boot(options)
        if "--no-switch" in sys.argv:  # as in a WebUI, which sets no such variable
            os.environ.pop("HF_HUB_OFFLINE", None)
        from exllama_guard.standalone.page import build_page
        from modules import extensions, shared

        extensions.load_extensions()
        page = build_page(loading)
        run._serve(page.blocks, options.port, page.launch_options)
        loading.start()
        worked["page"] = urllib.request.urlopen(f"http://127.0.0.1:{options.port}/", timeout=60).status
        worked["model"] = loading.done.wait(300) and shared.model is not None
        from exllama_guard.host.session import session

        monitor = session().monitor
        monitor.warm()
        monitor.wait_until_idle(120)
        until_s = time.monotonic() + 240
        while not (monitor.knowledge and monitor.knowledge.index_hash) and time.monotonic() < until_s:
            time.sleep(0.1)
        report = monitor.check_pasted(
            "How many tokens?",
            ["The cache is rotated after 8192 tokens."],
            "The cache is rotated after 4096 tokens.",
        )
        worked["verdict"] = report.verdict.gate.value
        worked["distance"] = isinstance(report.distances.question_answer, float)
        body = {
            "messages": [{"role": "user", "content": "After how many tokens is the cache rotated?"}],
            "max_tokens": 8,
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{options.port}/v1/chat/completions", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=300) as said:  # noqa: S310 - our own page
            answer = json.loads(said.read())
        worked["answer"] = bool(answer["choices"][0]["message"]["content"])
        worked["traced"] = monitor.wait_until_idle(60) and len(monitor.snapshot().turns) == 1
        worked["problems"] = list(monitor.snapshot().problems)
        tried += assembly.work().call("tried", limit_s=60).value
    print(json.dumps({"tried": tried, "worked": worked}), file=out, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
