"""Answers under a JSON Schema by API, with the extension's real parts: `schema_program.py HOST_DIR`.

Prints as JSON what a client gets, whole and streamed, where the model first misses the schema.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from fault_program import RealHost
from scripted_host import TEMPLATE

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GOOD, BAD = '{"a": 1}', 'Sure, here it is: {"a": "one"}'
ASKED = [{"role": "user", "content": "How many?"}]


def answers(host, *texts):
    """Makes the model write these texts, one a request."""
    left, generate = list(texts), type(host.model).generate_with_streaming

    def next_answer(prompt, state):
        host.model.answer = left.pop(0)
        return generate(host.model, prompt, state)

    host.model.generate_with_streaming = next_answer


def part_of_api(name):
    """A module of the host's API: 4.x, the embedded host, 3.23."""
    try:
        return import_module(f"modules.api.{name}")
    except ModuleNotFoundError:
        return import_module(f"extensions.openai.{name}")


def deltas(host, body):
    """The parts of a streamed response that hold text, and why it ended."""
    api = part_of_api("completions")
    if hasattr(api, "chat_texts"):  # the embedded host gives each text whole; its server sends what is new
        seen, parts = "", []
        for text in api.chat_texts({**body, "stream": True}, None):
            parts += [text[len(seen) :]] if text != seen else []
            seen = text
        return parts, "stop"
    steps = [step["choices"][0] for step in api.stream_chat_completions(request(body)) if step.get("choices")]
    texts = [step["delta"].get("content") or "" for step in steps]
    return [text for text in texts if text], steps[-1]["finish_reason"]


def whole(host, body):
    """A response that is not streamed."""
    api = part_of_api("completions")
    if hasattr(api, "chat_texts"):
        return list(api.chat_texts({**body, "stream": False}, None))[-1]
    return api.chat_completions(request(body))["choices"][0]["message"]["content"]


def request(body):
    """A request as the WebUI's own route hands it on."""
    made = part_of_api("typing").ChatCompletionRequest(**body, mode="instruct", seed=1)
    assert made.response_format, "the request class did not learn response_format"
    return {**made.model_dump(), "instruction_template_str": TEMPLATE}


def main():
    sys.stdout, out = sys.stderr, sys.stdout  # the host prints; our result stands alone
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as data:
        host = RealHost(Path(sys.argv[1]).resolve(), Path(data))
        from exllama_guard.host.session import session

        embedded = hasattr(part_of_api("completions"), "chat_texts")  # it reads no response_format
        pasted = {"answer_schema": json.dumps(SCHEMA)} if embedded else {}
        session().monitor.change_settings(tool_lock="check", **pasted)
        wanted = {"type": "json_schema", "json_schema": {"schema": SCHEMA}}
        body = {"messages": ASKED, "max_tokens": 64, "response_format": wanted}
        results = {}
        answers(host, BAD, GOOD)
        results["whole"] = whole(host, body)
        answers(host, BAD, GOOD)
        results["streamed"] = deltas(host, body)
        answers(host, BAD, BAD, BAD, GOOD)
        results["never right"] = deltas(host, body)
        ledger = session().tools.ledger
        results["outcomes"] = [one.value for key in ledger.answered() for one in ledger.answers(key)]
        print(json.dumps(results), file=out)


if __name__ == "__main__":
    main()
