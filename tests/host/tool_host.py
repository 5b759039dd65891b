"""A small host with the names and the order of calls of WebUI 4.7.3 that tools go through."""

from __future__ import annotations

import json
import types

from contract.scripted_host import ADD
from host_modules import host_modules


class Host:
    """What the fake modules share: the model's next replies, what ran, what the model was shown."""

    def __init__(self):
        self.replies = []
        self.ran = []
        self.shown = []
        self.offered = [ADD]
        self.requests = []

    def reply(self, state):
        self.shown.append([tool["function"]["name"] for tool in state.get("tools") or []])
        return self.replies.pop(0) if self.replies else "Done."


def parse(answer, names, return_prefix=False, parsers=None):
    calls = []
    for part in answer.split("<tool_call>")[1:]:
        try:
            value = json.loads(part.split("</tool_call>")[0])
        except ValueError:
            continue
        for entry in value if isinstance(value, list) else [value]:
            if entry.get("name") in names:
                function = {"name": entry["name"], "arguments": entry["arguments"]}
                calls += [{"type": "function", "function": function}]
    return (calls, "") if return_prefix else calls


def tool_host(monkeypatch):  # noqa: C901 - one function a name of the host
    host = Host()
    names = ("shared", "chat", "tool_use", "tool_parsing", "api", "api.typing", "api.completions")
    shared, chat, use, parsing, _, typing, api, _ = host_modules(monkeypatch, *names, "text_generation")
    shared.args = types.SimpleNamespace(api=True, public_api=False, loader="Transformers")
    shared.model, shared.model_name = None, "None"
    parsing.parse_tool_call = api.parse_tool_call = parse
    typing.ChatCompletionRequest = type("ChatCompletionRequest", (), {"__module__": "modules.api.typing"})

    def load_tools(_selected):
        return list(host.offered), {tool["function"]["name"]: host.ran.append for tool in host.offered}

    def execute_tool(name, arguments, executors):
        executors[name](arguments)
        return json.dumps({"ok": True})

    def generate_chat_reply(text, state, regenerate=False, _continue=False):
        reply = host.reply(state)
        for end in (len(reply) // 2, len(reply)):
            yield {"internal": [[text, reply[:end]]], "visible": [[text, reply[:end]]]}

    def generate_chat_reply_wrapper(text, state, regenerate=False, _continue=False):
        definitions, executors = use.load_tools(state.get("selected_tools", []))
        state["tools"] = definitions
        known = [tool["function"]["name"] for tool in definitions]
        for _turn in range(8):
            history = None
            for history in chat.generate_chat_reply(text, state):
                yield history
            answer = history["internal"][-1][1]
            calls, _ = parsing.parse_tool_call(answer, known, return_prefix=True)
            if not calls:
                return
            for call in calls:
                function = call["function"]
                yield {"result": use.execute_tool(function["name"], function["arguments"], executors)}

    def chat_completions_common(body, is_legacy=False, stream=False, prompt_only=False, stop_event=None):
        host.requests.append(body)
        known = [tool["function"]["name"] for tool in body.get("tools") or []]
        state = {"tools": body.get("tools"), "mode": "instruct", "instruction_template_str": "<tool_call>"}
        answer, calls = "", []
        if stream:
            yield {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
        for history in api.generate_chat_reply(body["messages"][-1]["content"], state):
            new, answer = history["internal"][-1][1][len(answer) :], history["internal"][-1][1]
            calls = api.parse_tool_call(answer, known) if known else []
            if calls:
                break
            if stream:
                yield {"choices": [{"delta": {"content": new}, "finish_reason": None}]}
        end = "tool_calls" if calls else "stop"
        message = {"content": None if calls else answer, **({"tool_calls": calls} if calls else {})}
        key = "delta" if stream else "message"
        yield {"choices": [{key: message if not stream else {"tool_calls": calls}, "finish_reason": end}]}

    use.load_tools, use.load_mcp_tools, use.execute_tool = load_tools, lambda _servers: ([], {}), execute_tool
    chat.generate_chat_reply = api.generate_chat_reply = generate_chat_reply
    chat.generate_chat_reply_wrapper = generate_chat_reply_wrapper
    api.chat_completions_common = chat_completions_common
    host.chat, host.api, host.use, host.typing = chat, api, use, typing
    return host
