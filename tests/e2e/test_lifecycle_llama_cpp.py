"""llama.cpp in the real WebUI: warm-up, canary, slots, and its process killed at the worst moments.

How to name the hosts: real_webui.py. LLAMA_SERVER names a `llama-server`; the host asks the package
llama_cpp_binaries for its path, and a module of that name says it here.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.error

import pytest
from contract.llama_server import binary
from e2e.real_webui import copied, hosts, is_v4, running
from exllama_guard.backends.bundled import bundled_gguf

pytestmark = [
    pytest.mark.webui,
    pytest.mark.skipif(binary() is None, reason="no llama-server: set LLAMA_SERVER to its path"),
]
FLAGS = ("--nowebui", "--ctx-size", "2048", "--gpu-layers", "0", "--threads", "2")


@pytest.fixture(scope="module", params=hosts())
def copy(request, tmp_path_factory):
    checkout, python = request.param
    made = copied(checkout, python, tmp_path_factory.mktemp("llama"))
    settings = "exllama_guardrails-warmup_limit_s: 600\n"  # on a crowded machine it writes a token a second
    (made.user_data / "settings.yaml").write_text(settings, encoding="utf-8")
    stand_in = made.folder.parent / "binaries"
    stand_in.mkdir()
    (stand_in / "llama_cpp_binaries.py").write_text(f"def get_binary_path():\n    return {binary()!r}\n")
    return made


def llama(copy, *flags):
    """The host with the small GGUF on llama.cpp."""
    binaries = str(copy.folder.parent / "binaries")
    return running(copy, *FLAGS, *flags, model=bundled_gguf(), loader="llama.cpp", python_path=binaries)


@pytest.fixture(scope="module")
def server(copy):
    parallel = ("--parallel", "2") if is_v4(copy.folder) else ()  # 3.23 knows no such flag
    with llama(copy, *parallel) as started:
        yield started


def ready(known):
    return known.get("card") and known["state"] not in {"warming up", "no model"}


def load(server):
    server.ask("/v1/internal/model/load", {"model_name": bundled_gguf().name})


def test_the_model_is_warmed_up_and_its_card_is_complete(copy, server):
    known = server.wait_for(ready, limit_s=480)
    assert known["problems"] == []
    assert known["runs"] >= 3
    assert known["own_cost_s"] <= 0.5  # generous: the machine is shared; tests/bench/lifecycle.py measures it
    card = known["card"]
    assert card["loader"] == "llama.cpp"
    assert card["quantisation"]["label"] == "Q4_1"
    assert card["context_tokens"] > 0
    assert card["chat_template"] is True
    assert len(card["model_hash"]) == 64
    assert known["can"]["parallel"] is is_v4(copy.folder)
    print(f"\n{known['state']}: cold {known['cold_ttft_s']:.3f} s, warm {known['warm_ttft_s']:.3f} s")


def test_replies_are_counted_and_a_reset_empties_the_slots(server):
    assert server.chat()
    server.wait_for(lambda known: known["tokens"] > 0)
    used = server.known()["used_tokens"]
    assert used > 10
    server.do("rotate")
    known = server.wait_for(lambda known: known["tokens"] == 0)
    reset = [text for kind, text in known["events"] if kind == "cache"][-1]
    assert reset.startswith("RESET of the cache after")
    assert (
        known["used_tokens"] <= 2 * 4
    )  # a server without --slot-save-path: one token, one written, in each slot
    assert server.chat()


def test_two_requests_right_after_a_load_wait_and_are_answered_at_once(server):
    load(server)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(server.chat())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    assert len(answers) == 2
    assert all(answers)
    known = server.wait_for(lambda known: ready(known) and known["canary"] is not None)
    assert known["canary"] is True, known["canary_says"]
    assert known["last_wait_s"] > 0


def test_killed_during_a_warm_up_it_is_told_and_nobody_waits(server):
    load(server)
    known = server.wait_for(lambda known: known["state"] == "warming up" and known["server_pid"])
    os.kill(known["server_pid"], signal.SIGKILL)
    known = server.wait_for(lambda known: known["state"] == "warm-up failed", limit_s=60)
    known = server.wait_for(lambda known: any("may have ended" in text for text in known["problems"]))
    assert not any("fault in the guardrails" in text for text in known["problems"])
    with pytest.raises(urllib.error.HTTPError):  # refused, and not given up after a wait
        server.chat()
    load(server)
    known = server.wait_for(lambda known: ready(known) and known["state"] != "warm-up failed")
    assert server.chat()
    assert known["problems"] == []


def test_killed_during_a_chat_it_is_told_with_the_remedy(server):
    server.wait_for(ready)
    pid = server.known()["server_pid"]
    outcome = []

    def ask():
        try:
            body = {"messages": [{"role": "user", "content": "Count to a thousand."}], "max_tokens": 600}
            outcome.append(server.ask("/v1/chat/completions", body))
        except (urllib.error.HTTPError, OSError) as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(2)
    os.kill(pid, signal.SIGKILL)
    thread.join(120)
    assert outcome  # the host's own error or what had come; no request is stuck
    known = server.wait_for(lambda known: any("may have ended" in text for text in known["problems"]))
    assert not any("fault in the guardrails" in text for text in known["problems"])
    load(server)
    server.wait_for(lambda known: ready(known) and known["state"] != "warm-up failed")
    assert server.chat()
    known = server.wait_for(lambda known: known["tokens"] > 0)
    assert not any("may have ended" in text for text in known["problems"])


def test_after_a_restart_the_canary_is_the_same_and_slots_are_erased(copy, server, tmp_path):
    server.process.terminate()
    server.process.wait(120)
    with llama(copy, "--extra-flags", f"slot-save-path={tmp_path}") as again:
        known = again.wait_for(lambda known: ready(known) and known["canary"] is not None, limit_s=480)
        assert known["canary"] is True, known["canary_says"]
        assert again.chat()
        again.wait_for(lambda known: known["tokens"] > 0)
        again.do("rotate")
        known = again.wait_for(lambda known: known["tokens"] == 0)
        assert known["used_tokens"] == 0
        assert known["problems"] == []
