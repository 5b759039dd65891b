"""What the extension generates in a host for itself: probes and replays, for host_scenarios.py."""

from __future__ import annotations

import sys
import threading
import time
import types


def our_probe(host):
    state = host.state(exllama_guardrails_probe=True)
    return {"steps": list(host.text_generation.generate_reply("Say.", state, is_chat=True))}


def probe_writes(host):
    """Two generations of a probe; a user who asks during the first goes before the second."""
    from exllama_guard.host.probes.generator import HostGenerator, users_first
    from exllama_guard.probes.generation import DRAWN
    from exllama_guard.probes.run import Job, Runner

    host.model.answer = "word " * 150 + "&amp; end."
    host.model.prompts.clear()

    def ask():
        while not host.model.prompts:
            time.sleep(0.002)
        list(host.text_generation.generate_reply("A user asks.", host.state(), is_chat=True))

    user = threading.Thread(target=ask)
    user.start()
    runner = Runner(users_first=users_first)
    jobs = [Job(f"Probe {number}?", DRAWN, number) for number in (1, 2)]
    texts = [written.text for _, written in runner.run(HostGenerator(), jobs)]
    user.join()
    return {
        "texts": texts,
        "order": [name for prompt in host.model.prompts for name in _named_in(prompt)],
        "prompt": host.model.prompts[0],
        "id": HostGenerator().id,
        "lock_free": not host.shared.generation_lock.locked(),
    }


def replayed(host):
    """A question asked with another extension off and on, while a user, for whom it is on, asks too."""
    from exllama_guard.core.measures import Reason
    from exllama_guard.core.turns import Finish
    from exllama_guard.grounding.scoring import unscored_turn
    from exllama_guard.host.probes.replay import ReplayingHost
    from exllama_guard.host.session import session
    from exllama_guard.probes.generation import GREEDY
    from exllama_guard.trace.record import record_of

    extensions = sys.modules["modules.extensions"]
    noise = types.ModuleType("noise_script")
    noise.input_modifier = lambda string, state, is_chat=False: f"Noise. {string}"
    extensions.state["noise"] = [True, 9, noise]
    host.recorder.measure = lambda request, answer: unscored_turn(
        request, answer, Finish.COMPLETE, Reason.SWITCHED_OFF
    )
    host.model.answer = "word " * 150 + "end."
    host.model.prompts.clear()

    def ask():
        while not host.model.prompts:
            time.sleep(0.002)
        list(host.chat.generate_chat_reply("A user asks.", host.state()))

    user = threading.Thread(target=ask)
    user.start()
    before = extensions.iterator
    replaying, cancel = ReplayingHost(host.recorder, session().notes), threading.Event()
    turns = [replaying.ask("Probe 1?", frozenset(on), GREEDY, 0, cancel) for on in ((), ("noise",))]
    user.join()
    records = [record_of(turn) for turn in turns]
    cancel.set()
    stopped = replaying.ask("Probe 2?", frozenset(), GREEDY, 0, cancel)
    del extensions.state["noise"]
    return {
        "noisy": ["Noise." in turn.request.prompt for turn in turns],
        "extensions": [record.extensions for record in records],
        "answers": [len(turn.answer.split()) for turn in turns],
        "prompts_differ": records[0].prompt_hash != records[1].prompt_hash,
        "user_noisy": ["Noise." in prompt for prompt in host.model.prompts if "A user asks." in prompt],
        "stopped": stopped is None,
        "put_back": extensions.iterator is before,
        "lock_free": not host.shared.generation_lock.locked(),
    }


def _named_in(prompt):
    return [name for name in ("Probe 1?", "Probe 2?", "A user asks.") if name in prompt]
