"""Lives through the afternoon of afternoon_texts.py inside a host: `python afternoon_program.py HOST_DIR`.

The host's own code makes each prompt and streams; the model's words are given; the knowledge folder, the
embedder and the verdict are the real ones. Prints what was told of each turn as JSON.
"""

from __future__ import annotations

import copy
import importlib
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "contract"), str(Path(__file__).resolve().parent)]

from afternoon_texts import ATTACHED, DOCUMENTS, TURNS
from scripted_host import Host, LlamaServer, api_state, history

STOPPED_AFTER = 8  # words


class Model(LlamaServer):
    """Answers the question of those that run now that stands last in the prompt."""

    def __init__(self):
        super().__init__()
        self.running = []

    def generate_with_streaming(self, prompt, state):
        if self.running:
            self.answer = max(self.running, key=lambda turn: prompt.rfind(turn.asked)).answer
        yield from super().generate_with_streaming(prompt, state)


Model.__name__ = "LlamaServer"  # by which the host picks its way of generating


class Afternoon(Host):
    """The host with the real parts and the documents as its knowledge folder."""

    def __init__(self, folder, data):
        self.data = data
        super().__init__(folder)
        self.chats = {}
        self.seen = set()

    def load(self):
        documents = self.data / "documents"
        documents.mkdir()
        for name, text in DOCUMENTS.items():
            (documents / name).write_text(text, encoding="utf-8")
        given = {"warmup": False, "traces": False, "knowledge_folder": str(documents), "turns_kept": 100}
        self.shared.settings.update({f"exllama_guardrails-{name}": value for name, value in given.items()})
        self.shared.args.extensions = ["exllama_guardrails"]
        self.extensions.available_extensions[:] = ["exllama_guardrails"]
        self.extensions.load_extensions()
        self.monitor = importlib.import_module("exllama_guard.host.session").session().monitor
        until_s = time.monotonic() + 300
        while not (self.monitor.knowledge and self.monitor.knowledge.index_hash):
            assert time.monotonic() < until_s, "the knowledge folder was not indexed"
            time.sleep(0.05)
        return self.monitor

    def load_model(self):
        """Another model in the place of the one before, as after an unload and a load."""
        self.set_model(None)
        self.model = Model()
        self.set_model(self.model)

    # --- the ways of a turn -------------------------------------------------------------------------------

    def live(self, turn):
        """Carries out a turn, and gives the host's history after it."""
        before = copy.deepcopy(self.chats.get(turn.chat) or history())
        return getattr(self, f"_{turn.way}", self._page)(turn, before)

    def _state(self, turn, before, **changes):
        return self.state(unique_id=f"chat-{turn.chat}", history=before, max_new_tokens=512, **changes)

    def _page(self, turn, before):
        return self.say(turn.asked, self._state(turn, before))

    def _api(self, turn, before):
        return self.say(turn.asked, api_state(self, history=before, max_new_tokens=512))

    def _regenerate(self, turn, before):
        return self.say("", self._state(turn, before), regenerate=True)

    def _continue(self, turn, before):
        return self.say("", self._state(turn, before), _continue=True)

    def _cut(self, turn, before):
        state = self._state(turn, before)
        state["max_new_tokens"] = len(self.model.encode(turn.answer))
        return self.say(turn.asked, state)

    def _stop(self, turn, before):
        def press(count):
            if count == STOPPED_AFTER:
                self.shared.stop_everything = True

        return self.say(turn.asked, self._state(turn, before), on_step=press)

    def _branch(self, turn, before):
        rows = {name: before[name][:-1] for name in ("internal", "visible")}
        kept = {k: v for k, v in before["metadata"].items() if int(k.split("_")[-1]) < len(rows["internal"])}
        state = self._state(turn, {**rows, "metadata": kept})
        state["unique_id"] += "-branch"
        return self.say(turn.asked, state)

    def _reload(self, turn, before):
        self.load_model()
        self.model.running = [turn]
        return self._page(turn, before)

    def _attach(self, turn, before):
        if not hasattr(self.chat, "add_message_attachment"):
            attached = {"name": "ferry.txt", "type": "text/plain", "content": ATTACHED}
            before["metadata"]["user_0"] = {"attachments": [attached]}
            return self._page(turn, before)
        path = self.data / "ferry.txt"
        path.write_text(ATTACHED, encoding="utf-8")
        return self.say({"text": turn.asked, "files": [str(path)]}, self._state(turn, before))

    # --- what was told ------------------------------------------------------------------------------------

    def told(self, turns):
        """What the newest reports say of these turns, each found by its answer."""
        assert self.monitor.wait_until_idle(300)
        new = [r for r in self.monitor.snapshot(None).turns if r.request.turn_id not in self.seen]
        self.seen |= {report.request.turn_id for report in new}
        return [self._one(turn, new) for turn in turns]

    def _one(self, turn, reports):
        report = next((r for r in reports if _is_of(turn, r)), None)
        if report is None:
            return {
                "number": turn.number,
                "gate": None,
                "why": f"not seen; seen: {[r.answer for r in reports]}",
            }
        support = report.support.support
        return {
            "number": turn.number,
            "gate": report.verdict.gate.value,
            "finish": report.finish.value,
            "question": report.request.question,
            "answer": report.answer,
            "reasons": list(report.verdict.reasons),
            "support": support if isinstance(support, float) else None,
            "why": "" if isinstance(support, float) else support.reason.value,
            "snippets": [
                [s.origin.value, s.source_url.rsplit("/", 1)[-1], s.section_id, s.text[:60]]
                for s in report.request.snippets
            ],
        }


def _is_of(turn, report):
    said, given = report.answer.strip(), turn.answer.strip()
    return bool(said) and (given.startswith(said) or said.endswith(given))


def main():
    sys.stdout, out = sys.stderr, sys.stdout  # the host prints; our result stands alone
    folder = Path(sys.argv[1]).resolve()
    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        host = Afternoon(folder, Path(data))
        host.load_model()
        by_number = {turn.number: turn for turn in TURNS}
        done = set()
        for turn in TURNS:
            if turn.number in done:
                continue
            together = [turn, *([by_number[int(turn.beside)]] if turn.beside else [])]
            host.model.running = together
            host.shared.stop_everything = False
            threads = [threading.Thread(target=_keep, args=(host, one)) for one in together]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(300)
            done |= {one.number for one in together}
            results += host.told(together)
    print(json.dumps(results), file=out)


def _keep(host, turn):
    after = host.live(turn)
    if after is not None:
        after = {**after, "internal": [list(row[:2]) for row in after["internal"]]}
        chat = f"{turn.chat}-branch" if turn.way == "branch" else turn.chat
        host.chats[chat] = after


if __name__ == "__main__":
    main()
