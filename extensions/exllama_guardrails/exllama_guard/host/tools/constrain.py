"""Puts a compiled lock where the loaded model's loader takes one."""

from __future__ import annotations

import http.client
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from exllama_guard.errors import SchemaError
from exllama_guard.host.guard import guarded
from exllama_guard.host.patches import Patches
from exllama_guard.host.tools.turn import ToolTurn
from exllama_guard.loaders import LockPlace, loader_of
from exllama_guard.tools.locks import (
    Ask,
    CompiledLock,
    LockPlan,
    ServerLock,
    filter_for_exllamav2,
    filter_for_exllamav3,
    lock_for_server,
)

__all__ = ["Constrainer", "ReportPlan", "model_key"]

# Told of each plan: why its tools are checked only, by name, and why nothing of it is enforced, or "".
ReportPlan = Callable[[LockPlan, Mapping[str, str], str], None]

# The server converts a schema in some 10 ms when no slot is busy; a reply waits no longer than this for it.
_SERVER_S = 3.0
_MAX_SERVER_LOCKS = 64


def model_key(shared: ModuleType) -> str:
    """Key of the loaded model: another one after every load."""
    return f"{getattr(shared, 'model_name', '')}:{id(getattr(shared, 'model', None))}"


class Constrainer:
    """Patches the loaders' classes once, as they are met. `current` gives the turn of the running reply."""

    def __init__(
        self, current: Callable[[], ToolTurn | None], patches: Patches, report_plan: ReportPlan
    ) -> None:
        self._current = current
        self._patches = patches
        self._report_plan = report_plan
        self._server_locks: OrderedDict[tuple[str, str], ServerLock | None] = OrderedDict()

    def meet(self, model: object) -> None:
        """Prepares the loader of `model`; does nothing where that is done, or is not needed."""
        kind: Any = type(model)
        module = sys.modules.get(kind.__module__)
        loader = loader_of(model)
        if module is None or loader is None:
            return
        if loader.lock is LockPlace.REQUEST:
            self._patches.replace(kind, "prepare_payload", self._payload)
        elif loader.lock is LockPlace.JOB:
            self._patches.replace(module, "Job", self._job)
        elif loader.lock is LockPlace.STREAM:
            generator: Any = getattr(model, "generator", None)
            if generator is not None:
                owner: Any = type(generator)
                self._patches.replace(owner, "begin_stream_ex", self._begin)

    def _lock(self) -> tuple[ToolTurn, CompiledLock] | None:
        turn = self._current()
        if turn is None or turn.reply.outcome is None or turn.reply.outcome.lock is None:
            return None
        return turn, turn.reply.outcome.lock

    def _payload(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_payload(server: Any, state: Any) -> Any:  # noqa: ANN401 - the host's signature
            payload = original(server, state)
            return self._locked_payload(payload, server)

        return prepare_payload

    @guarded(lambda self, payload, server: payload)
    def _locked_payload(self, payload: dict[str, Any], server: Any) -> dict[str, Any]:  # noqa: ANN401 - the host's
        """The request with the lock of the reply that starts; a user's own grammar for free text stays."""
        turn = self._current()
        plan = turn.reply.plan if turn is not None else None
        if turn is None or plan is None or (payload.get("grammar") and not plan.always):
            return payload
        lock = self._server_lock(plan, server)
        if lock is None:
            return payload
        turn.held_by(None, None, whole=lock.holds_all)
        kept = {key: value for key, value in payload.items() if key not in ("grammar", "json_schema")}
        return {**kept, **lock.fields}

    def _server_lock(self, plan: LockPlan, server: Any) -> ServerLock | None:  # noqa: ANN401 - the host's
        """The lock as this server takes it, asked for once; None where it takes none, and that is told."""
        key = (plan.key, f"{id(server)}:{server.port}")
        if key not in self._server_locks:
            reason, lock = "", None
            try:
                lock = lock_for_server(plan, _asking(int(server.port)))
            except SchemaError as error:
                reason = str(error)
            except OSError as error:
                self._report_plan(plan, {}, f"The llama.cpp server could not be asked ({error}).")
                return None  # asked again at the next reply
            self._report_plan(plan, lock.unenforced if lock is not None else {}, reason)
            self._server_locks[key] = lock
            while len(self._server_locks) > _MAX_SERVER_LOCKS:
                self._server_locks.popitem(last=False)
        return self._server_locks[key]

    def _job(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def job(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's signature
            return original(*args, **self._with_filter_v3(args, kwargs))

        return job

    def _begin(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def begin_stream_ex(generator: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the library's
            return original(generator, *args, **self._with_filter_v2(generator, args, kwargs))

        return begin_stream_ex

    @guarded(lambda self, args, kwargs: kwargs)
    def _with_filter_v3(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """A job's arguments with the filter of the reply that starts, if it has a lock."""
        held = self._lock()
        if held is None:
            return kwargs
        from exllama_guard.host.webui import shared_module

        turn, lock = held
        tokenizer = shared_module().model.tokenizer
        ids = kwargs.get("input_ids", args[0] if args else None)
        end = b"" if ids is None else _bytes_of(lock, ids[0, -256:].tolist())
        limit = kwargs.get("max_new_tokens")
        filter_ = filter_for_exllamav3(lock, tokenizer, end, limit=limit)
        turn.held_by(filter_, limit, whole=lock.holds_all)
        return {**kwargs, "filters": [*(kwargs.get("filters") or []), filter_]}

    @guarded(lambda self, generator, args, kwargs: kwargs)
    def _with_filter_v2(
        self,
        generator: Any,  # noqa: ANN401 - the library's
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> dict[str, Any]:
        """The same for ExLlamaV2's generator."""
        held = self._lock()
        if held is None:
            return kwargs

        turn, lock = held
        ids = kwargs.get("input_ids", args[0] if args else None)
        limit = None if ids is None else turn.reply.room(int(ids.shape[-1]))
        filter_ = filter_for_exllamav2(lock, generator, limit=limit)
        turn.held_by(filter_, limit, whole=lock.holds_all)
        return {**kwargs, "filters": [*(kwargs.get("filters") or []), filter_]}


def _bytes_of(lock: CompiledLock, ids: Sequence[int]) -> bytes:
    tokens = lock.vocabulary.tokens
    return b"".join(tokens[token] for token in ids if 0 <= token < len(tokens))


def _asking(port: int) -> Ask:
    """Asks the server on this machine what it makes of some fields, without generating."""

    def ask(fields: Mapping[str, Any]) -> Mapping[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SERVER_S)
        try:
            body = json.dumps({"prompt": "", "n_predict": 0, **fields})
            connection.request("POST", "/completion", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())
        except (http.client.HTTPException, ValueError) as error:
            raise SchemaError(f"The llama.cpp server gave no readable answer: {error}.") from error
        finally:
            connection.close()
        if answer.status != 200 or not isinstance(value, Mapping):
            fault = value.get("error") if isinstance(value, Mapping) else None
            message = fault.get("message") if isinstance(fault, Mapping) else value
            raise SchemaError(f"llama.cpp cannot hold a reply to this schema: {str(message)[:240]}")
        return value

    return ask
