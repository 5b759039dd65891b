"""The hosts that a contract is tried on: the embedded one, and the WebUIs that the environment names.

TEXTGEN_WEBUI_DIR names checkouts, TEXTGEN_WEBUI_PYTHON the Pythons that they run with; several are separated
by the system's path separator. Nothing is written into a checkout.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "extensions" / "exllama_guardrails" / "exllama_guard" / "standalone" / "webui"


def hosts():
    """(folder, Python) of each host, as parameters of a fixture."""
    checkouts = [Path(d) for d in os.environ.get("TEXTGEN_WEBUI_DIR", "").split(os.pathsep) if d]
    pythons = os.environ.get("TEXTGEN_WEBUI_PYTHON", "").split(os.pathsep)
    yield pytest.param((EMBEDDED, sys.executable), id="embedded")
    for number, checkout in enumerate(checkouts):
        named = pythons[number] if number < len(pythons) and pythons[number] else None
        python = named or checkout / "installer_files" / "env" / "bin" / "python"
        yield pytest.param((checkout, str(python)), id=checkout.name, marks=pytest.mark.webui)
    if not checkouts:
        reason = "set TEXTGEN_WEBUI_DIR to a checkout of TextGen WebUI (and TEXTGEN_WEBUI_PYTHON) to run this"
        yield pytest.param(None, id="real", marks=[pytest.mark.webui, pytest.mark.skip(reason=reason)])
