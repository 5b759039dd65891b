"""Whose fault it is that a model does not read English: its tokenizer's, or its weights'.

A model with whole weights understands what it writes itself, whatever its tokenizer makes of it: its own
tokens in their order cost it far less than the same ones shuffled. Damaged weights show no such difference.
"""

from __future__ import annotations

import numpy as np

from exllama_guard.core.measures import NotScored
from exllama_guard.probes.doctor.reading import Budget, Reading

__all__ = ["weights_are_whole"]

_TOKENS = 40
_OWN_NATS = 5.0  # what a whole model's own sampled text costs it at most; about 3 in the models at hand
_SHUFFLED_NATS = 1.0  # more than that, the shuffled one costs


def weights_are_whole(model: Reading, start: tuple[int, ...], budget: Budget) -> bool | None:
    """Whether the model's own text means something to it; None where that cannot be seen.

    Args:
        model: It tells whole distributions, else None.
        start: Ids to begin with, at least one.
        budget: Stops with None where the time is over.
    """
    draw = np.random.default_rng(0)
    ids = list(start)
    for _ in range(_TOKENS):
        if budget.cancel.is_set() or not budget.left_s():
            return None
        logs = model.distributions((*ids, ids[-1]))
        budget.tokens += len(ids) + 1
        if isinstance(logs, NotScored):
            return None
        weights = np.exp(logs[-1].astype(np.float64))
        if not np.isfinite(weights).all() or weights.sum() <= 0.0:
            return False
        ids.append(int(draw.choice(len(weights), p=weights / weights.sum())))
    made = ids[len(start) :]
    own = model.logprobs(tuple(ids))
    shuffled = model.logprobs((*start, *draw.permutation(made).tolist()))
    if isinstance(own, NotScored) or isinstance(shuffled, NotScored):
        return None
    cost, apart = float(-own[-len(made) :].mean()), float((own - shuffled)[-len(made) :].mean())
    return cost < _OWN_NATS and apart > _SHUFFLED_NATS
