"""Load, unload and reload in the real WebUI, by its API and its page: events, warm-up, freed memory.

How to name the hosts: real_webui.py.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.error

import pytest
import real_browser
from e2e.real_webui import MODEL, copied, hosts, running

pytestmark = pytest.mark.webui


@pytest.fixture(scope="module", params=hosts())
def copy(request, tmp_path_factory):
    checkout, python = request.param
    return copied(checkout, python, tmp_path_factory.mktemp("webui"))


@pytest.fixture(scope="module")
def loras(copy, tmp_path_factory):
    """A folder with one LoRA that changes the model's output a little."""
    folder = tmp_path_factory.mktemp("loras")
    subprocess.run([copy.python, "-c", _MAKE_LORA, str(MODEL), str(folder / "bent")], check=True, timeout=300)
    return folder


_MAKE_LORA = """
import sys, torch, peft, transformers
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1])
bent = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
torch.manual_seed(0)
for name, weight in bent.named_parameters():
    if "lora_B" in name:
        torch.nn.init.normal_(weight, std=0.5)
bent.save_pretrained(sys.argv[2])
"""


@pytest.fixture(scope="module")
def server(copy, loras):
    with running(copy, "--cpu", "--lora-dir", str(loras)) as started:
        yield started


def _warm(known, times):
    return known["state"] == "warm" or (
        known["state"] == "ready, but its speed did not settle"
        and sum(kind == "warm-up" for kind, _ in known["events"]) >= times
    )


def test_a_model_that_was_there_before_the_extension_is_warmed_up(server):
    known = server.wait_for(lambda known: _warm(known, 1) and known["canary"] is None and known["model"])
    assert known["runs"] >= 3
    assert known["own_cost_s"] <= 0.5  # generous: the machine is shared; tests/bench/lifecycle.py measures it
    known = server.wait_for(lambda known: known["model"]["model_hash"])
    assert len(known["model"]["shard_hash"]) == 64
    assert "Paris" in server.chat()
    known = server.wait_for(lambda known: known["tokens"] > 0 and known["turns"] == 1)
    assert known["problems"] == []
    print(
        f"\ncold {known['cold_ttft_s']:.3f} s, warm {known['warm_ttft_s']:.3f} s, {known['runs']} runs,"
        f" own cost {known['own_cost_s'] * 1000:.1f} ms"
    )


def test_an_unload_by_the_api_frees_the_model(server):
    server.ask("/v1/internal/model/unload", {})
    known = server.wait_for(lambda known: not known["loaded"] and known["state"] == "no model")
    known = server.wait_for(lambda known: not any(known["alive"]), limit_s=30)
    assert known["alive"] == [False]


def test_a_request_right_after_a_load_by_the_api_waits_and_is_answered_warm(server):
    server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    assert "Paris" in server.chat()
    known = server.wait_for(lambda known: known["canary"] is True)
    assert known["last_wait_s"] is not None
    assert sum(kind == "warm-up" for kind, _ in known["events"]) == 2
    print(f"\nthe request waited {known['last_wait_s']:.2f} s; own cost {known['own_cost_s'] * 1000:.1f} ms")


def test_a_load_that_fails_is_told_and_the_next_one_works(server):
    with contextlib.suppress(urllib.error.HTTPError):
        server.ask("/v1/internal/model/load", {"model_name": "no-such-model"})
    known = server.wait_for(lambda known: any("could not be loaded" in text for _, text in known["events"]))
    assert any("no-such-model" in text for text in known["problems"])
    server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    assert "Paris" in server.chat()
    known = server.wait_for(
        lambda known: not any("could not be loaded" in text for text in known["problems"])
    )
    assert known["alive"][-1]
    assert known["alive"].count(True) == 1


@pytest.mark.browser
def test_unload_and_reload_by_the_page_are_noticed(server):
    assert server.has_page()
    server.wait_for(lambda known: _warm(known, 1))
    before, warmed = len(server.known()["alive"]), _warm_ups(server.known())
    with real_browser.started() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.page}", wait_until="domcontentloaded", timeout=120_000)
        page.get_by_role("tab", name="Model", exact=True).click(timeout=60_000)
        page.get_by_role("button", name="Unload", exact=True).click()
        server.wait_for(lambda known: not known["loaded"] and known["state"] == "no model")
        server.wait_for(lambda known: not any(known["alive"]), limit_s=30)
        page.get_by_role("button", name="Load", exact=True).click()
        server.wait_for(lambda known: known["loaded"] and _warm(known, warmed + 1))
    assert len(server.known()["alive"]) == before + 1


def _warm_ups(known):
    return sum(kind == "warm-up" for kind, _ in known["events"])


def test_a_lora_of_the_hosts_own_loading_has_the_model_warmed_up_again(server):
    if not server.known()["loaded"]:
        server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    server.wait_for(lambda known: known["card"] and known["state"] != "warming up")
    before = _warm_ups(server.known())
    server.ask("/v1/internal/lora/load", {"lora_names": ["bent"]})
    known = server.wait_for(lambda known: known["card"] and known["card"]["loras"] == ["bent"])
    assert _warm_ups(known) > before  # no request was needed
    assert known["canary"] is None  # with this LoRA it is the first
    server.ask("/v1/internal/lora/unload", {})
    known = server.wait_for(lambda known: known["card"] and known["card"]["loras"] == [] and known["canary"])
    assert known["problems"] == []


def test_an_idle_unload_frees_the_model_and_the_next_request_is_answered_warm(server):
    before = len(server.known()["alive"])
    server.do("idle")
    server.wait_for(lambda known: not known["loaded"] and known["state"] == "no model")
    server.wait_for(lambda known: not any(known["alive"]), limit_s=30)
    assert "Paris" in server.chat()  # the host loads within the request, with its lock held
    known = server.wait_for(lambda known: known["canary"] is True and known["turns"] > 0)
    assert len(known["alive"]) == before + 1
    assert known["last_wait_s"] > 0
    assert known["problems"] == []
    print(f"\nidle reload: the request waited {known['last_wait_s']:.2f} s")


def test_stop_releases_a_request_that_waits_for_the_warm_up(server):
    server.ask("/v1/internal/model/load", {"model_name": MODEL.name})
    answers = []
    started_s = time.monotonic()
    request = threading.Thread(target=lambda: answers.append(server.chat("Tell me a long story.")))
    request.start()
    server.wait_for(lambda known: known["state"] == "warming up")
    time.sleep(0.5)
    pressed_s = time.monotonic()
    server.ask("/v1/internal/stop-generation", {})
    request.join(60)
    released_s = time.monotonic() - pressed_s
    assert answers == [""]  # ended by Stop: a reply that was let through has words
    print(f"\nwaited {pressed_s - started_s:.2f} s, released {released_s:.2f} s after Stop")
    assert "Paris" in server.chat()


def test_a_restart_with_other_settings_of_the_users_has_the_same_canary(copy, server):
    """A settings.yaml that says add_bos_token: false made the canary differ for no reason that was told."""
    server.process.terminate()
    server.process.wait(120)
    settings = copy.user_data / "settings.yaml"
    settings.write_text(
        "add_bos_token: false\nskip_special_tokens: false\nmax_tokens_second: 5\npreset: Creative\n"
        "custom_stopping_strings: '\"the\"'\n",
        encoding="utf-8",
    )
    with running(copy, "--cpu") as again:
        known = again.wait_for(lambda known: known["card"] and known["canary"] is not None)
    assert known["canary"] is True, json.dumps(known["events"], indent=1)
    assert known["problems"] == []
