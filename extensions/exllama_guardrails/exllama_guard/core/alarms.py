"""Warnings of libraries that only sound like faults: they are left out of what a program says."""

from __future__ import annotations

import logging

__all__ = ["without_alarms"]

# What these warn of while they are imported (compiled parts for other GPUs) does not concern what runs here.
_ALARMING = ("torchao", "torch.utils._pytree")


def without_alarms() -> None:
    """Has this process leave them out; to be called before the libraries are imported."""
    for name in _ALARMING:
        logging.getLogger(name).setLevel(logging.ERROR)
