"""The tasks of the process of its own, without a network, and what they tried over it."""

from __future__ import annotations

from no_network import refused

_refused = refused()
_tried = _refused.__enter__()

from exllama_guard.worker import tasks  # noqa: E402 - after the network is gone


def tried() -> list[str]:
    return list(_tried)


TASKS = {**tasks.TASKS, "tried": tried}
