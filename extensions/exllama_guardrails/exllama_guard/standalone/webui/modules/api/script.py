"""The stand-in's OpenAI-like API on the page's own server; it listens where the page listens: loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from modules import shared
from modules.api.completions import BadRequest, chat_texts, choice, completion_texts, envelope
from starlette.concurrency import run_in_threadpool

router = APIRouter()
Texts = Callable[[dict[str, Any], object], Iterator[str]]


class _Reply:
    """A reply's generator, stepped on worker threads; the lock keeps `next` and `close` apart."""

    def __init__(self, texts: Texts, body: dict[str, Any]) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._texts = texts(body, self._stop)

    async def each(self, request: Request) -> AsyncIterator[str]:
        """The reply so far, until it ends or the client goes."""
        try:
            while (text := await run_in_threadpool(self._step)) is not None:
                yield text
                if await request.is_disconnected():
                    return
        finally:
            self._stop.set()
            threading.Thread(target=self._close, name="api-close", daemon=True).start()

    def _step(self) -> str | None:
        with self._lock:
            return next(self._texts, None)

    def _close(self) -> None:
        with self._lock:
            self._texts.close()  # type: ignore[attr-defined]


@router.get("/v1/models")
def models() -> dict[str, Any]:
    """The loaded model."""
    loaded = [shared.model_name] if shared.model is not None else []
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in loaded]}


@router.post("/v1/chat/completions")
async def chat_completions(request: Request) -> Response:
    """A chat turn: whole, or as server-sent events."""
    return await _answer(request, chat_texts, chat=True)


@router.post("/v1/completions")
async def completions(request: Request) -> Response:
    """A completion: whole, or as server-sent events."""
    return await _answer(request, completion_texts, chat=False)


async def _answer(request: Request, texts: Texts, chat: bool) -> Response:
    try:
        body = await request.json()
    except ValueError:
        return _refusal(400, "The request's body is not JSON.")
    if not isinstance(body, dict):
        return _refusal(400, "The request's body must be a JSON object.")
    if shared.model is None:
        return _refusal(503, "No model is loaded yet; try again in a moment.")
    reply = _Reply(texts, body)
    if body.get("stream"):
        events = reply.each(request)
        try:
            first = await anext(events, "")
        except BadRequest as error:
            return _refusal(400, str(error))
        return StreamingResponse(_events(first, events, chat), media_type="text/event-stream")
    text = ""
    try:
        async for part in reply.each(request):
            text = part
    except BadRequest as error:
        return _refusal(400, str(error))
    return JSONResponse({**envelope(chat, chunk=False), "choices": [choice(chat, False, text, "stop")]})


async def _events(first: str, rest: AsyncIterator[str], chat: bool) -> AsyncIterator[str]:
    head = envelope(chat, chunk=True)
    sent = ""

    def event(text: str, finish: str | None = None) -> str:
        return f"data: {json.dumps({**head, 'choices': [choice(chat, True, text, finish)]})}\n\n"

    if first:
        yield event(first)
        sent = first
    try:
        async for text in rest:
            if text.startswith(sent) and len(text) > len(sent):
                yield event(text[len(sent) :])
                sent = text
    except asyncio.CancelledError:
        await rest.aclose()  # type: ignore[attr-defined]
        raise
    yield event("", "stop")
    yield "data: [DONE]\n\n"


def _refusal(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status)
