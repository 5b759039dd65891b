"""Makes every function of ours that a turn reaches raise, one after the other: `fault_program.py HOST_DIR`.

Which functions those are is found by watching turns, so a new one is covered without being named. Prints as
JSON, for each function, what the host got in two turns with the fault, and what was shown and logged of it.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import json
import logging
import os
import sys
import tempfile
import threading
import time
import traceback
import types
from pathlib import Path

from fuzz_program import Records
from scripted_host import ADD, CHUNKS, NOTES, TEMPLATE, Host, api_state, history

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "extensions" / "exllama_guardrails" / "exllama_guard"
HITS = []  # one entry each time that a broken function was called
SAID = "The fence waits."
CALL = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


class RealHost(Host):
    """The host with the extension's real parts but for the embedding model."""

    def __init__(self, folder, data):
        self.data = data
        super().__init__(folder)

    def load(self):
        from exllama_guard import assembly
        from exllama_guard.core.snippets import make_snippet
        from exllama_guard.host.session import session
        from exllama_guard.sources.marked_block import format_block
        from exllama_guard.testing import FakeEmbedder
        from exllama_guard.worker import WorkHere, tasks

        assembly.use_work(WorkHere())  # so that the functions behind it are reached here, too
        tasks.load_embedder = lambda name: FakeEmbedder()
        tasks.load_verifier = lambda name: None
        documents = self.data / "documents"
        documents.mkdir()
        for number, text in enumerate(CHUNKS):
            (documents / f"{number}.md").write_text(f"# Part {number}\n\n{text}\n", encoding="utf-8")
        given = {
            "warmup": False, "trace_folder": str(self.data / "traces"), "knowledge_folder": str(documents),
            "live_updates_per_s": 10.0, "api_report": True,
        }  # fmt: skip
        self.shared.settings.update({f"exllama_guardrails-{name}": value for name, value in given.items()})
        self.shared.args.api = True
        self.block = format_block([make_snippet(CHUNKS[1], position=0)])
        self.tools = importlib_or_none("modules.tool_use")
        if self.tools is not None:
            self.tools.load_tools = lambda selected: ([ADD], {"add": lambda arguments: {"sum": 3}})
            self.chat.save_history = lambda *args: None
        self.shared.args.extensions = ["exllama_guardrails"]
        self.extensions.available_extensions[:] = ["exllama_guardrails"]
        self.extensions.load_extensions()
        monitor = session().monitor
        until_s = time.monotonic() + 300
        while not (monitor.knowledge and monitor.knowledge.index_hash) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert monitor.knowledge.index_hash, "the knowledge folder was not indexed"
        return monitor


def importlib_or_none(name):
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        return None


# --- turns, each gives what the host has of it ------------------------------------------------------------


def shown(said):
    asked, answered = said["internal"][-1][:2]
    return [asked.rpartition("\n")[2], answered, *said["visible"][-1][:2]]


def chat(host):
    host.model.answer = SAID
    attached = [{"name": "notes.txt", "type": "text/plain", "content": NOTES}]
    old = history([f"{host.block}\n\nRead the notes.", "I did [s1]."], user_0={"attachments": attached})
    return shown(host.say("What does the fence do?", host.state(history=old)))


def regenerate(host):
    host.model.answer = SAID
    old = history(["What is it?", "An old answer."], assistant_0={"timestamp": "x"})
    return shown(host.say("", host.state(history=old), regenerate=True))


def api_and_leave(host):
    host.model.answer = SAID
    return shown(host.say("What does the fence do?", api_state(host), limit=2))


def completion(host):
    host.model.answer = SAID
    return host.complete("Read this.\n\nQ: What does the fence do?\nA:")[-1]


def tools(host):
    """The page's own loop: a call, its result, the answer."""
    if host.tools is None:
        return None
    answers = iter([CALL, SAID, SAID, SAID])
    generate = host.model.generate_with_streaming

    def next_answer(prompt, state):
        host.model.answer = next(answers)
        return generate(prompt, state)

    host.model.generate_with_streaming = next_answer
    try:
        state = host.state(selected_tools=["add"], start_with="", chat_style="cai-chat", stream=False)
        steps = list(host.chat.generate_chat_reply_wrapper("How much is 1 + 2?", state))
        return [steps[-1][1]["internal"][-1][1]]
    finally:
        del host.model.generate_with_streaming


def api_tools(host):
    """A request with a tool: the call that the client gets."""
    completions = sys.modules.get("modules.api.completions")
    if not hasattr(completions, "chat_completions_common"):
        return None
    host.model.answer = CALL
    asked = [{"role": "user", "content": "How much is 1 + 2?"}]
    request = importlib_or_none("modules.api.typing").ChatCompletionRequest
    body = request(messages=asked, tools=[ADD], mode="instruct", max_tokens=64, seed=1).model_dump()
    body["instruction_template_str"] = TEMPLATE
    response = None
    for response in completions.chat_completions_common(body):  # noqa: B007 - the last one counts
        pass
    message = response["choices"][0]["message"]
    return [call["function"]["arguments"] for call in message.get("tool_calls") or []]


def api_report(host):
    """A whole and a streamed response of the API, with the report in it."""
    completions = sys.modules.get("modules.api.completions")
    if not hasattr(completions, "stream_chat_completions"):
        return None
    host.model.answer = SAID
    request = importlib_or_none("modules.api.typing").ChatCompletionRequest
    asked = [{"role": "user", "content": "What does the fence do?"}]
    body = request(messages=asked, mode="instruct", max_tokens=64, seed=1).model_dump()
    body["instruction_template_str"] = TEMPLATE
    whole = completions.chat_completions(dict(body))
    steps = list(completions.stream_chat_completions(dict(body)))
    parts = [
        step["choices"][0].get("delta", {}).get("content") or "" for step in steps if step.get("choices")
    ]
    return [whole["choices"][0]["message"]["content"], "".join(parts)]


TURNS = (chat, regenerate, api_and_leave, completion, tools, api_tools, api_report)


# --- watching and breaking --------------------------------------------------------------------------------


class Reached:
    """The package's functions that a turn calls, on any thread, by their code."""

    def __init__(self):
        self.codes = {}
        self.turn = None
        self._package, self._host = str(PACKAGE), str(PACKAGE / "standalone")

    def __call__(self, frame, event, arg):
        code = frame.f_code
        if event == "call" and self.turn is not None and code not in self.codes:
            file = code.co_filename
            ours = file.startswith(self._package) and not file.startswith(self._host)
            if ours and code.co_name[0] != "<" and code.co_flags & inspect.CO_OPTIMIZED:  # no class's body
                self.codes[code] = self.turn


def functions_of(codes):
    """The live functions of each code."""
    found = {}
    for thing in gc.get_objects():
        if type(thing) is types.FunctionType and thing.__code__ in codes:
            found.setdefault(thing.__code__, []).append(thing)
    return found


def raising(code):
    """Code that raises and can stand in for `code`: the same free names, a generator where it is one."""
    lines = ["def outer():", *(f"    {name} = None" for name in code.co_freevars), "    def f(*a, **k):"]
    lines += [f"        {name}" for name in code.co_freevars]
    lines += ["        __import__('sys').modules['__main__'].HITS.append(1)"]
    lines += ["        raise ZeroDivisionError('made to raise')"]
    lines += ["        yield"] if code.co_flags & inspect.CO_GENERATOR else []
    outer = next(
        c for c in compile("\n".join(lines), "<fault>", "exec").co_consts if isinstance(c, types.CodeType)
    )
    return next(c for c in outer.co_consts if isinstance(c, types.CodeType))


@contextlib.contextmanager
def broken(functions):
    """While inside, each of the functions raises; its signature stays, since the host reads it."""
    before = []
    for function in functions:
        function.__signature__ = inspect.signature(function, follow_wrapped=False)
        before.append((function, function.__code__))
    for function, code in before:
        function.__code__ = raising(code)
    try:
        yield
    finally:
        for function, code in before:
            function.__code__ = code
            del function.__signature__


def name_of(code):
    return f"{Path(code.co_filename).relative_to(PACKAGE).with_suffix('').as_posix()}:{code.co_qualname}"


def settle(host):
    assert host.recorder.wait_until_idle(120)
    memory = host.recorder._memory
    for key in tuple(memory._problems):
        memory.clear_problem(key)
    from exllama_guard.host import guard

    guard._faults.forget()
    host.recorder._worker._faults.forget()


def tried(host, functions, turn, records):
    records.lines.clear()
    HITS.clear()
    raised, given = "", []
    with broken(functions):
        for _ in range(2):
            try:
                given.append(turn(host))
            except Exception:  # noqa: BLE001 - the test shows it
                raised = traceback.format_exc(limit=-3)
            if host.shared.generation_lock.locked():
                raised += "the host's generation lock was left taken"
                host.shared.generation_lock.release()
        time.sleep(0.02)
        with contextlib.suppress(ZeroDivisionError):
            host.recorder.wait_until_idle(120)
        with contextlib.suppress(ZeroDivisionError):
            host.recorder._worker._worker.submit(lambda: None).result(30)
    host.recorder.wait_until_idle(120)
    problems = [p for p in host.recorder.snapshot().problems if not p.startswith("Tokens are not counted")]
    return {
        "hits": len(HITS),
        "raised": raised,
        "given": given,
        "problems": problems,
        "log": list(records.lines),
    }


def main():
    sys.stdout, out = sys.stderr, sys.stdout
    records = Records()
    logging.getLogger().addHandler(records)
    reached = Reached()
    threading.setprofile(reached)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        host = RealHost(Path(sys.argv[1]).resolve(), Path(folder))
        good = {}
        sys.setprofile(reached)
        for turn in TURNS:
            reached.turn = turn
            good[turn.__name__] = turn(host)
            host.recorder.wait_until_idle(120)
        reached.turn = None
        sys.setprofile(None)
        threading.setprofile(None)
        clean = list(host.recorder.snapshot().problems)
        live = functions_of(reached.codes)
        settle(host)
        results = {}
        for code, turn in reached.codes.items():
            if code in live:
                result = tried(host, live[code], turn, records)
                result["open"] = len(host.recorder._worker._open)
                results[name_of(code)] = {"turn": turn.__name__, **result}
                host.recorder._worker._open.clear()
                settle(host)
        after = {turn.__name__: turn(host) for turn in TURNS}
        told = {
            "good": good, "after": after, "clean": clean, "results": results,
            "not_live": sorted(name_of(code) for code in reached.codes if code not in live),
        }  # fmt: skip
        print(json.dumps(told), file=out)
        out.flush()
        host.recorder.wait_until_idle(120)
    os._exit(0)  # the threads of a host that was broken on purpose are not waited for


if __name__ == "__main__":
    main()
